//! Concurrency and throughput over time.

use std::collections::HashMap;

use serde::Serialize;

use crate::fold::{Invocation, Outcome};
use crate::statistics::round_up;
use crate::time::Clock;

/// The most points of a series.
const MOST_POINTS: f64 = 240.0;

/// Concurrency and throughput by steps of time at work.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    /// The length of a step in seconds; the last one may be shorter.
    pub step_seconds: f64,
    /// One for each step.
    pub points: Vec<SeriesPoint>,
}

/// A step of a series.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct SeriesPoint {
    /// Its beginning, in seconds at work.
    pub seconds: f64,
    /// The mean number of functions at work.
    pub functions: f64,
    /// The most functions at work.
    pub most_functions: u64,
    /// Records per second. The records of an invocation count evenly over its time.
    pub records_per_second: f64,
}

impl Series {
    /// The series, and the most functions at work at a time.
    pub(crate) fn of(invocations: &[Invocation], clock: &Clock) -> (Self, u64) {
        let all = clock.seconds();
        let Some(step) = round_up(all / MOST_POINTS) else {
            return Default::default();
        };
        let count = ((all / step) - 1e-9).ceil().max(1.0) as usize;
        let mut points = vec![SeriesPoint::default(); count];
        let place = |seconds: f64| ((seconds / step) as usize).min(count - 1);
        let mut changes = Vec::new();
        let mut ended: HashMap<&str, f64> = HashMap::new();
        for invocation in invocations {
            let Some((from, to)) = invocation.span_ms() else {
                continue;
            };
            let (mut from, to) = (clock.at(from), clock.at(to));
            if !invocation.environment.is_empty() {
                let end = ended.entry(&invocation.environment).or_default();
                // An environment runs one invocation at a time, whatever the times of clocks and late events are.
                from = from.max(end.min(to));
                *end = end.max(to);
            }
            // Records count once, with the invocation whose part is in the output.
            let records = match invocation.outcome {
                Outcome::Done => invocation.records() as f64,
                _ => 0.0,
            };
            changes.extend([(from, 1_i64), (to, -1)]);
            let took = to - from;
            if took <= 0.0 {
                points[place(from)].records_per_second += records;
                continue;
            }
            let (first, last) = (place(from), place(to));
            for (index, point) in points.iter_mut().enumerate().take(last + 1).skip(first) {
                let begins = index as f64 * step;
                let within = (to.min(begins + step) - from.max(begins)).max(0.0);
                point.functions += within;
                point.records_per_second += records * within / took;
            }
        }
        // An invocation that begins where another ends does not overlap with it.
        changes.sort_unstable_by(|one, other| one.partial_cmp(other).expect("times are numbers"));
        let (mut at_work, mut peak) = (0_i64, 0_i64);
        let ends = changes.iter().skip(1).map(|change| change.0).chain([all]);
        for (&(from, change), to) in changes.iter().zip(ends) {
            at_work += change;
            if to > from {
                peak = peak.max(at_work);
                let (first, mut last) = (place(from), place(to));
                if last > first && to <= last as f64 * step {
                    last -= 1;
                }
                for point in &mut points[first..=last] {
                    point.most_functions = point.most_functions.max(at_work as u64);
                }
            }
        }
        for (index, point) in points.iter_mut().enumerate() {
            point.seconds = index as f64 * step;
            let lasts = (all - point.seconds).min(step);
            point.functions /= lasts;
            point.records_per_second /= lasts;
        }
        let series = Self {
            step_seconds: step,
            points,
        };
        (series, peak as u64)
    }
}
