//! What a run did at every moment between its first and its last event.

use serde::Serialize;
use shoal_job::Event;

/// What was done, or waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "doing", rename_all = "snake_case")]
pub enum Doing {
    /// The input was read and cut.
    Planning,
    /// The plan stood, and the backend was made ready: workers and platforms are asked what they are.
    Preparing,
    /// Batches were worked on; by a platform that fans out by itself, nobody knows how many.
    Dispatching {
        /// Calls that were made and not answered.
        in_flight: u64,
    },
    /// No call was under way, since the next attempts wait for their time.
    Waiting,
    /// No call was under way, since the platform took no more of them.
    Throttled,
    /// Parts were held against their receipts.
    Verifying,
    /// The parts were joined into the output.
    Collecting,
    /// Between two starts of the run: it had ended, or was killed at some time in between.
    Away,
}

/// A stretch of time in which a run did one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// Its beginning, in milliseconds since 1970.
    pub from_unix_ms: u64,
    /// Its end, in milliseconds since 1970.
    pub to_unix_ms: u64,
    /// What was done in it.
    #[serde(flatten)]
    pub doing: Doing,
}

/// Explains all the time from the first of `events` to the last, which are told in milliseconds since 1970, without a gap:
/// each interval begins where the one before it ends, and no two that follow each other are alike.
pub fn explain(events: &[(u64, Event)]) -> Vec<Interval> {
    let mut events: Vec<&(u64, Event)> = events.iter().collect();
    // Segments of two commands on one run are read one after the other.
    events.sort_by_key(|(at, _)| *at);
    let mut story = Story::default();
    for (at, event) in events {
        story.go_on_to(*at);
        story.hear(*at, event);
    }
    story.intervals
}

#[derive(Default)]
struct Story {
    intervals: Vec<Interval>,
    /// Where the last interval ends; nowhere before the first event.
    now: Option<u64>,
    phase: Phase,
    in_flight: u64,
    held_until: u64,
    /// When attempts that wait may be made.
    waiting_until: Vec<u64>,
}

#[derive(Default, Clone, Copy)]
enum Phase {
    Planning,
    Preparing,
    Dispatching,
    Verifying,
    Collecting,
    #[default]
    Away,
}

impl Story {
    /// Explains the time until `to`, before what happens then is heard.
    fn go_on_to(&mut self, to: u64) {
        while let Some(now) = self.now
            && now < to
        {
            // Waiting ends by the clock, and nothing is told of it.
            let ends = self.waiting_until.iter().chain([&self.held_until]);
            let next = ends.copied().filter(|end| *end > now).min();
            let until = next.unwrap_or(to).min(to);
            self.emit(now, until);
            self.now = Some(until);
        }
        self.now = Some(to);
    }

    fn emit(&mut self, from: u64, to: u64) {
        let doing = self.doing(from);
        match self.intervals.last_mut() {
            Some(last) if last.doing == doing => last.to_unix_ms = to,
            _ => self.intervals.push(Interval {
                from_unix_ms: from,
                to_unix_ms: to,
                doing,
            }),
        }
    }

    fn doing(&self, now: u64) -> Doing {
        match self.phase {
            Phase::Planning => Doing::Planning,
            Phase::Preparing => Doing::Preparing,
            Phase::Verifying => Doing::Verifying,
            Phase::Collecting => Doing::Collecting,
            Phase::Away => Doing::Away,
            Phase::Dispatching if self.in_flight > 0 => Doing::Dispatching {
                in_flight: self.in_flight,
            },
            Phase::Dispatching if self.held_until > now => Doing::Throttled,
            Phase::Dispatching if self.waiting_until.iter().any(|end| *end > now) => Doing::Waiting,
            Phase::Dispatching => Doing::Dispatching { in_flight: 0 },
        }
    }

    fn hear(&mut self, at: u64, event: &Event) {
        self.phase = match event {
            Event::Planning { .. } => Phase::Planning,
            Event::Planned { .. } => Phase::Preparing,
            Event::Started { .. } => {
                // What was under way when an earlier start was killed is not under way here.
                self.in_flight = 0;
                self.held_until = 0;
                self.waiting_until.clear();
                Phase::Dispatching
            }
            Event::Dispatched { .. } => {
                self.in_flight += 1;
                Phase::Dispatching
            }
            Event::Finished { .. } | Event::Failed { .. } | Event::Superseded { .. } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                Phase::Dispatching
            }
            Event::Waiting { ms, .. } => {
                self.waiting_until.retain(|end| *end > at);
                self.waiting_until.push(at.saturating_add(*ms));
                self.phase
            }
            Event::Held { ms } => {
                self.held_until = at.saturating_add(*ms);
                self.phase
            }
            Event::Verifying { .. } => Phase::Verifying,
            Event::Collecting { .. } => Phase::Collecting,
            Event::Cancelled
            | Event::Stopped { .. }
            | Event::Completed { .. }
            | Event::Detached { .. } => Phase::Away,
            _ => self.phase,
        };
    }
}

#[cfg(test)]
mod tests {
    use shoal_job::wire::FailureKind;

    use super::*;
    use crate::fixture::{NOON, Scene, receipt};

    /// What was done, with the times from noon.
    fn told(scene: &Scene) -> Vec<(u64, u64, Doing)> {
        let intervals = explain(&scene.events).into_iter();
        intervals
            .map(|interval| {
                let Interval {
                    from_unix_ms,
                    to_unix_ms,
                    doing,
                } = interval;
                (from_unix_ms - NOON, to_unix_ms - NOON, doing)
            })
            .collect()
    }

    #[test]
    fn every_moment_of_a_run_with_faults_is_explained() {
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
            // Throttled while the other one works on, and then alone.
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
            // Gone on with after a minute.
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
        let dispatching = |in_flight| Doing::Dispatching { in_flight };
        assert_eq!(
            told(&scene),
            [
                (0, 500, Doing::Planning),
                (500, 700, Doing::Preparing),
                (700, 710, dispatching(0)),
                (710, 720, dispatching(1)),
                (720, 900, dispatching(2)),
                (900, 1_000, dispatching(1)),
                (1_000, 1_300, Doing::Throttled),
                (1_300, 1_350, dispatching(0)),
                (1_350, 1_400, dispatching(1)),
                (1_400, 2_000, Doing::Waiting),
                (2_000, 2_050, dispatching(0)),
                (2_050, 2_500, dispatching(1)),
                (2_500, 2_600, dispatching(0)),
                (2_600, 62_600, Doing::Away),
                (62_600, 62_700, Doing::Preparing),
                (62_700, 62_710, dispatching(0)),
                (62_710, 62_900, dispatching(1)),
                (62_900, 62_910, dispatching(0)),
                (62_910, 62_950, Doing::Verifying),
                (62_950, 63_000, Doing::Collecting),
            ]
        );
    }

    #[test]
    fn nothing_is_explained_by_nothing() {
        assert_eq!(explain(&[]), []);
        assert_eq!(explain(&[(NOON, Event::Cancelled)]), []);
    }
}
