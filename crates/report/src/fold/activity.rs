//! What a run did at every moment between its first and its last event.

use serde::Serialize;
use shoal_job::Event;

use crate::fold::{Phase, RunState};

/// What a run does or waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "activity", rename_all = "snake_case")]
pub enum Activity {
    /// Reading the input and cutting it into batches.
    Planning,
    /// Planned, and preparing the backend: asking workers and platforms for their settings.
    Preparing,
    /// Calling functions.
    Dispatching {
        /// Calls in flight; 0 on a platform that fans out by itself.
        in_flight: u64,
    },
    /// No call is in flight, and the next attempts wait for their time.
    Waiting,
    /// No call is in flight, because the platform throttled them.
    Throttled,
    /// Checking the parts against their receipts.
    Verifying,
    /// Joining the parts into the output.
    Collecting,
    /// Between two starts of the run: the earlier one ended, or was killed at an unknown time.
    Idle,
}

/// A period in which a run did one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// Its beginning, in milliseconds since 1970.
    pub from_unix_ms: u64,
    /// Its end, in milliseconds since 1970.
    pub to_unix_ms: u64,
    /// What the run did.
    #[serde(flatten)]
    pub activity: Activity,
}

/// Divides the time from the first of `events` to the last into intervals without a gap. Neighbouring intervals differ.
pub fn activities(events: &[(u64, Event)]) -> Vec<Interval> {
    let mut events: Vec<&(u64, Event)> = events.iter().collect();
    // Segments of two commands on one run are read one after the other.
    events.sort_by_key(|(at, _)| *at);
    let mut state = RunState::default();
    let mut intervals = Vec::new();
    for (at, event) in events {
        let mut now = state.last_unix_ms.unwrap_or(*at);
        while now < *at {
            // No event marks the end of a wait.
            let until = state.next_timer(now).unwrap_or(*at).min(*at);
            extend(&mut intervals, now, until, state.activity(now));
            now = until;
        }
        let _ = state.apply(*at, event);
    }
    intervals
}

fn extend(intervals: &mut Vec<Interval>, from: u64, to: u64, activity: Activity) {
    match intervals.last_mut() {
        Some(last) if last.activity == activity => last.to_unix_ms = to,
        _ => intervals.push(Interval {
            from_unix_ms: from,
            to_unix_ms: to,
            activity,
        }),
    }
}

impl RunState {
    /// What the run does at `now`, if no other event comes before.
    pub fn activity(&self, now: u64) -> Activity {
        let in_flight = self.in_flight.len() as u64;
        match self.phase {
            Phase::Planning => Activity::Planning,
            Phase::Preparing => Activity::Preparing,
            Phase::Verifying => Activity::Verifying,
            Phase::Collecting => Activity::Collecting,
            Phase::New | Phase::Ended(_) => Activity::Idle,
            Phase::Dispatching if in_flight > 0 => Activity::Dispatching { in_flight },
            Phase::Dispatching if self.held_until > now => Activity::Throttled,
            Phase::Dispatching if self.waiting_until.iter().any(|end| *end > now) => {
                Activity::Waiting
            }
            Phase::Dispatching => Activity::Dispatching { in_flight },
        }
    }

    /// The first moment after `now` at which a wait is over.
    fn next_timer(&self, now: u64) -> Option<u64> {
        let ends = self.waiting_until.iter().chain([&self.held_until]);
        ends.copied().filter(|end| *end > now).min()
    }
}

#[cfg(test)]
mod tests {
    use shoal_job::wire::FailureKind;

    use super::*;
    use crate::fixture::{NOON, Scene, receipt};

    /// What the run did, with the times from noon.
    fn intervals(scene: &Scene) -> Vec<(u64, u64, Activity)> {
        let intervals = activities(&scene.events).into_iter();
        intervals
            .map(|interval| {
                let Interval {
                    from_unix_ms,
                    to_unix_ms,
                    activity,
                } = interval;
                (from_unix_ms - NOON, to_unix_ms - NOON, activity)
            })
            .collect()
    }

    #[test]
    fn every_moment_of_a_run_with_faults_has_an_activity() {
        let mut scene = Scene::new(3, 10);
        scene
            .emit(0, Event::Planning { records: 0 })
            .emit(
                500,
                Event::Planned {
                    records: 30,
                    batches: 3,
                },
            )
            .started(700, "lambda", 2)
            .called(710, 0, 1, 0)
            .called(720, 1, 1, 1)
            // Throttled while the other call is in flight, and then without one.
            .failed(900, 1, 1, FailureKind::Throttled, "429")
            .emit(900, Event::Held { ms: 400 })
            .finished(1_000, 0, receipt(0, "a", 710, 290.0))
            .called(1_350, 1, 1, 0)
            .failed(1_400, 1, 1, FailureKind::Retryable, "500")
            .emit(
                1_400,
                Event::Waiting {
                    batch: 1,
                    attempt: 2,
                    ms: 600,
                },
            )
            .called(2_050, 1, 2, 0)
            .finished(2_500, 0, receipt(1, "a", 2_050, 450.0))
            .emit(
                2_600,
                Event::Stopped {
                    reason: "disk full".into(),
                },
            )
            // Resumed after a minute.
            .emit(
                62_600,
                Event::Planned {
                    records: 30,
                    batches: 3,
                },
            )
            .started(62_700, "lambda", 2)
            .called(62_710, 2, 1, 0)
            .finished(62_900, 0, receipt(2, "b", 62_710, 190.0))
            .emit(62_910, Event::Verifying { parts: 3 })
            .emit(62_950, Event::Collecting { parts: 0, of: 3 })
            .emit(
                63_000,
                Event::Completed {
                    results: 30,
                    failed: 0,
                },
            );
        let dispatching = |in_flight| Activity::Dispatching { in_flight };
        assert_eq!(
            intervals(&scene),
            [
                (0, 500, Activity::Planning),
                (500, 700, Activity::Preparing),
                (700, 710, dispatching(0)),
                (710, 720, dispatching(1)),
                (720, 900, dispatching(2)),
                (900, 1_000, dispatching(1)),
                (1_000, 1_300, Activity::Throttled),
                (1_300, 1_350, dispatching(0)),
                (1_350, 1_400, dispatching(1)),
                (1_400, 2_000, Activity::Waiting),
                (2_000, 2_050, dispatching(0)),
                (2_050, 2_500, dispatching(1)),
                (2_500, 2_600, dispatching(0)),
                (2_600, 62_600, Activity::Idle),
                (62_600, 62_700, Activity::Preparing),
                (62_700, 62_710, dispatching(0)),
                (62_710, 62_900, dispatching(1)),
                (62_900, 62_910, dispatching(0)),
                (62_910, 62_950, Activity::Verifying),
                (62_950, 63_000, Activity::Collecting),
            ]
        );
    }

    #[test]
    fn without_events_there_is_no_interval() {
        assert_eq!(activities(&[]), []);
        assert_eq!(activities(&[(NOON, Event::Cancelled)]), []);
    }
}
