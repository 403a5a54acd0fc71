//! Plots, drawn twice: for a page and for a phone.

use crate::run::{Pause, Series, Timeline};
use crate::statistics::{Distribution, Histogram};

/// What is drawn.
#[derive(Debug)]
pub(crate) enum Plot<'a> {
    /// Invocations by environment.
    Timeline(&'a Timeline, TimeAxis<'a>),
    /// Functions at work over time, and how many were asked for.
    Functions(&'a Series, TimeAxis<'a>, u64),
    /// Records a second over time, and their mean.
    Throughput(&'a Series, TimeAxis<'a>, f64),
    /// How many batches took how long.
    Histogram(&'a Histogram, &'a Distribution),
    /// Both ways over batch sizes.
    OverBatchSize(Lines),
}

/// The axis of time at work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeAxis<'a> {
    pub(crate) seconds: f64,
    pub(crate) pauses: &'a [Pause],
}

/// A quantity over batch sizes.
#[derive(Debug)]
pub(crate) struct Lines {
    /// What goes up, with its unit.
    pub(crate) title: &'static str,
    pub(crate) batch_sizes: Vec<u64>,
    pub(crate) lines: Vec<Line>,
    /// Powers of ten at equal distances rather than equal amounts.
    pub(crate) is_logarithmic: bool,
    /// How its values are written.
    pub(crate) words: fn(f64) -> String,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// One a batch size.
    pub(crate) values: Vec<f64>,
}
