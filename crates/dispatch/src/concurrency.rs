//! The limit on calls in flight: the user's maximum, the platform's ramp, and back-off after throttling.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause after a throttled call; it doubles until a call succeeds.
const FIRST_HOLD: Duration = Duration::from_millis(100);
/// The longest pause after a throttled call.
const LONGEST_HOLD: Duration = Duration::from_secs(10);
/// After throttling, the limit grows by this fraction per second, and by at least 1.
const GROWTH_PER_SECOND: f64 = 0.1;

/// The rate at which a platform adds environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// Calls that may be in flight from the start.
    pub start: usize,
    /// The increase after each interval.
    pub step: usize,
    /// The interval.
    pub every: Duration,
}

/// The number of calls that may be in flight, as a function of time.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    max: usize,
    ramp: Option<Ramp>,
    started: Instant,
    /// The calls that the platform accepted when it last throttled, and the time since which this limit grows.
    limit: Option<(f64, Instant)>,
    hold: Duration,
    held_until: Instant,
}

impl ConcurrencyLimit {
    pub(crate) fn new(max: usize, ramp: Option<Ramp>, now: Instant) -> Self {
        Self {
            max,
            ramp,
            started: now,
            limit: None,
            hold: FIRST_HOLD,
            held_until: now,
        }
    }

    /// The calls that may be in flight at `now`: at least 1, or 0 during a pause.
    pub(crate) fn allowed(&self, now: Instant) -> usize {
        if now < self.held_until {
            return 0;
        }
        let mut allowed = self.max;
        if let Some(ramp) = self.ramp {
            let steps = (now - self.started).as_nanos() / ramp.every.as_nanos().max(1);
            let grown = usize::try_from(steps)
                .unwrap_or(usize::MAX)
                .saturating_mul(ramp.step);
            allowed = allowed.min(ramp.start.saturating_add(grown));
        }
        if let Some((limit, since)) = self.limit {
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            let grown = limit * (1.0 + GROWTH_PER_SECOND).powf(seconds);
            allowed = allowed.min(grown.max(limit + seconds) as usize);
        }
        allowed.max(1)
    }

    /// The end of the current or last pause.
    pub(crate) fn held_until(&self) -> Instant {
        self.held_until
    }

    /// Records that a call was throttled while `running` others were in flight.
    pub(crate) fn throttled(&mut self, running: usize, now: Instant) {
        let running = running.max(1) as f64;
        // A burst of throttled calls counts once. How many calls of the burst were accepted is known only when the last
        // answer has arrived.
        if now < self.held_until {
            if let Some((limit, _)) = &mut self.limit {
                *limit = limit.min(running);
            }
            return;
        }
        self.held_until = now + self.hold.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.limit = Some((running, self.held_until));
        self.hold = (self.hold * 2).min(LONGEST_HOLD);
    }

    /// Records that the platform accepted and answered a call.
    pub(crate) fn answered(&mut self) {
        self.hold = FIRST_HOLD;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn the_limit_follows_the_ramp() {
        let now = Instant::now();
        let ramp = Ramp {
            start: 1000,
            step: 1000,
            every: seconds(10.0),
        };
        let pace = ConcurrencyLimit::new(3500, Some(ramp), now);
        let allowed = |at: f64| pace.allowed(now + seconds(at));
        assert_eq!(allowed(0.0), 1000);
        assert_eq!(allowed(9.9), 1000);
        assert_eq!(allowed(10.0), 2000);
        assert_eq!(allowed(29.0), 3000);
        assert_eq!(allowed(1e6), 3500);
    }

    #[test]
    fn throttling_lowers_the_limit_to_the_accepted_calls_and_it_grows_again() {
        let now = Instant::now();
        let mut pace = ConcurrencyLimit::new(1000, None, now);
        assert_eq!(pace.allowed(now), 1000);
        pace.throttled(53, now);
        pace.throttled(50, now); // the same burst
        assert_eq!(pace.allowed(now), 0);
        let later = pace.held_until();
        assert!(later <= now + FIRST_HOLD);
        assert_eq!(pace.allowed(later), 50);
        assert_eq!(pace.allowed(later + seconds(1.0)), 55);
        assert_eq!(pace.allowed(later + seconds(10.0)), 129); // 50 · 1.1¹⁰
        assert_eq!(pace.allowed(later + seconds(1000.0)), 1000);
    }

    #[test]
    fn pauses_double_until_a_call_succeeds() {
        let mut now = Instant::now();
        let mut pace = ConcurrencyLimit::new(10, None, now);
        let mut waits = Vec::new();
        for _ in 0..12 {
            pace.throttled(0, now);
            waits.push(pace.held_until() - now);
            now = pace.held_until();
            assert_eq!(pace.allowed(now), 1);
        }
        assert!(waits[0] <= FIRST_HOLD && waits[0] >= FIRST_HOLD / 2);
        assert!(waits[11] <= LONGEST_HOLD && waits[11] >= LONGEST_HOLD / 2);
        pace.answered();
        pace.throttled(0, now);
        assert!(pace.held_until() - now <= FIRST_HOLD);
    }
}
