//! Assigns calls to environments, or throttles them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Counts, Settings};

/// The environments of one function.
#[derive(Debug)]
pub(crate) struct Environments {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    first_call: Option<Instant>,
    /// Idle environments, the most recently used last.
    idle: Vec<usize>,
}

/// An environment that is busy until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy<'a> {
    environments: &'a Environments,
    pub(crate) number: usize,
    /// Whether this is its first call.
    pub(crate) cold: bool,
}

impl Environments {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connected(&self) {
        self.state().counts.connections += 1;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// An environment for a call, or `None` if the call is throttled.
    pub(crate) fn take(&self, now: Instant) -> Option<Busy<'_>> {
        let mut state = self.state();
        let first_call = *state.first_call.get_or_insert(now);
        let State { counts, idle, .. } = &mut *state;
        let (number, cold) = match idle.pop() {
            Some(number) => (number, false),
            None if counts.environments < self.allowed(now - first_call) => {
                counts.environments += 1;
                (counts.environments - 1, true)
            }
            None => {
                counts.throttled += 1;
                return None;
            }
        };
        counts.taken += 1;
        counts.running += 1;
        counts.most_running = counts.most_running.max(counts.running);
        Some(Busy {
            environments: self,
            number,
            cold,
        })
    }

    /// The maximum number of environments at this time after the first call.
    fn allowed(&self, since: Duration) -> usize {
        let ramp = self.settings.ramp.map_or(usize::MAX, |ramp| {
            let steps = since.as_millis() / u128::from(ramp.every_ms.max(1));
            let steps = usize::try_from(steps).unwrap_or(usize::MAX);
            ramp.start.saturating_add(steps.saturating_mul(ramp.step))
        });
        ramp.min(self.settings.concurrency)
    }
}

impl Busy<'_> {
    /// The duration of the call.
    pub(crate) fn duration(&self) -> Duration {
        let Settings {
            cold_ms, call_ms, ..
        } = self.environments.settings;
        Duration::from_millis(call_ms + if self.cold { cold_ms } else { 0 })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut state = self.environments.state();
        state.counts.running -= 1;
        state.idle.push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ramp;

    #[test]
    fn environments_follow_the_ramp_and_stay_warm() {
        let environments = Environments::new(Settings {
            concurrency: 5,
            cold_ms: 100,
            call_ms: 7,
            ramp: Some(Ramp {
                start: 2,
                step: 2,
                every_ms: 10_000,
            }),
        });
        let now = Instant::now();
        let first = environments.take(now).unwrap();
        let second = environments.take(now).unwrap();
        assert!(first.cold && second.cold);
        assert_eq!(first.duration(), Duration::from_millis(107));
        assert!(environments.take(now).is_none());
        drop(first);
        let again = environments.take(now).unwrap();
        assert!(!again.cold && again.number == 0);
        assert_eq!(again.duration(), Duration::from_millis(7));
        let later = now + Duration::from_secs(20);
        let more: Vec<_> = (0..3).map_while(|_| environments.take(later)).collect();
        assert_eq!(more.len(), 3);
        assert!(environments.take(later).is_none(), "the limit is 5");
        let counts = environments.counts();
        assert_eq!((counts.taken, counts.throttled), (6, 2));
        assert_eq!((counts.environments, counts.most_running), (5, 5));
    }
}
