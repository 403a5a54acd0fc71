//! Plots. Each is drawn in two sizes: for a wide page and for a phone.

mod axes;
mod canvas;
mod histogram;
mod over_batch_size;
mod over_time;
mod timeline;

use canvas::Ink;
use over_time::OverTime;

use crate::numbers;
use crate::statistics::{Distribution, Histogram};
use crate::time::{Pause, Series, Timeline};

/// A plot.
#[derive(Debug)]
pub(crate) enum Plot<'a> {
    /// Invocations by environment.
    Timeline(&'a Timeline, TimeAxis<'a>),
    /// Functions at work over time, and the requested concurrency.
    Functions(&'a Series, TimeAxis<'a>, u64),
    /// Records per second over time, and their mean.
    Throughput(&'a Series, TimeAxis<'a>, f64),
    /// The distribution of batch times.
    Histogram(&'a Histogram, &'a Distribution),
    /// Both approaches over batch sizes.
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
    /// The title of the y axis, with its unit.
    pub(crate) title: &'static str,
    pub(crate) batch_sizes: Vec<u64>,
    pub(crate) lines: Vec<Line>,
    /// Whether the y axis is logarithmic.
    pub(crate) is_logarithmic: bool,
    /// Formats a value.
    pub(crate) format: fn(f64) -> String,
}

/// The values of one approach.
#[derive(Debug)]
pub(crate) struct Line {
    /// One for each batch size.
    pub(crate) values: Vec<f64>,
}

pub(crate) use canvas::{Drawing, Frame};

impl Plot<'_> {
    pub(crate) fn draw(&self, frame: Frame) -> Drawing {
        match self {
            Self::Timeline(timeline, axis) => timeline::draw_timeline(timeline, *axis, frame),
            Self::Functions(series, axis, limit) => OverTime {
                axis: *axis,
                title: "functions",
                is_count: true,
                step: series.step_seconds,
                values: series.points.iter().map(|point| point.functions).collect(),
                line: Ink::Work,
                area: Ink::WorkArea,
                // A limit far above the values would flatten them.
                level: Some(*limit as f64)
                    .filter(|limit| *limit > 0.0 && *limit <= 2.0 * most(series))
                    .map(|limit| (limit, format!("requested {}", numbers::number(limit)))),
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
                level: Some((*mean, format!("mean {}", numbers::number(*mean)))),
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
