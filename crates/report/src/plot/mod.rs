//! Plots, drawn twice: for a page and for a phone.

mod axes;
mod canvas;
mod histogram;
mod over_batch_size;
mod over_time;
mod timeline;

use canvas::Ink;
use over_time::OverTime;

use crate::run::{Pause, Series, Timeline};
use crate::statistics::{Distribution, Histogram};
use crate::words;

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
    /// One a batch size.
    pub(crate) values: Vec<f64>,
}

pub(crate) use canvas::{Drawing, Frame};

impl Plot<'_> {
    pub(crate) fn draw(&self, frame: Frame) -> Drawing {
        match self {
            Self::Timeline(timeline, axis) => timeline::draw_timeline(timeline, *axis, frame),
            Self::Functions(series, axis, limit) => OverTime {
                axis: *axis,
                title: "functions at work",
                is_count: true,
                step: series.step_seconds,
                values: series.points.iter().map(|point| point.functions).collect(),
                line: Ink::Work,
                area: Ink::WorkArea,
                // A limit far away would press the rest to the ground.
                level: Some(*limit as f64)
                    .filter(|limit| *limit > 0.0 && *limit <= 2.0 * most(series))
                    .map(|limit| (limit, format!("asked for {}", words::number(limit)))),
            }
            .draw(frame),
            Self::Throughput(series, axis, mean) => OverTime {
                axis: *axis,
                title: "records/s",
                is_count: false,
                step: series.step_seconds,
                values: series
                    .points
                    .iter()
                    .map(|point| point.records_per_second)
                    .collect(),
                line: Ink::Records,
                area: Ink::RecordsArea,
                level: Some((*mean, format!("mean {}", words::number(*mean)))),
            }
            .draw(frame),
            Self::Histogram(histogram, spread) => {
                histogram::draw_histogram(histogram, spread, frame)
            }
            Self::OverBatchSize(lines) => lines.draw(frame),
        }
    }
}

fn most(series: &Series) -> f64 {
    series
        .points
        .iter()
        .map(|point| point.functions)
        .fold(0.0, f64::max)
}
