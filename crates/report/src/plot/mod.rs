//! Plots. Each is drawn in two sizes: for a wide page and for a phone.

mod axes;
mod canvas;
mod histogram;
mod over_batch_size;
mod over_time;
mod timeline;

pub(crate) use axes::TimeAxis;
pub(crate) use canvas::{Drawing, Frame};
pub(crate) use histogram::draw_histogram;
pub(crate) use over_batch_size::{CLASSES, Lines};
pub(crate) use over_time::OverTime;
pub(crate) use timeline::draw_timeline;

/// Draws a plot into a frame.
pub(crate) type Plot<'a> = Box<dyn Fn(Frame) -> Drawing + 'a>;
