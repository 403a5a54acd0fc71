//! Plots. Each is drawn in two sizes: for a wide page and for a phone.

mod axes;
mod canvas;
mod curves;
mod histogram;
mod over_time;
mod timeline;

pub(crate) use axes::TimeAxis;
pub(crate) use canvas::{Anchor, Drawing, Frame, draw};
pub(crate) use curves::{Curve, Curves, Panel, Scale, X};
pub(crate) use histogram::draw_histogram;
pub(crate) use over_time::OverTime;
pub(crate) use timeline::draw_timeline;

/// Draws a plot into a frame.
pub(crate) type Plot<'a> = Box<dyn Fn(Frame) -> Drawing + 'a>;
