//! How many calls may be in flight: what the user asked for, as fast as the platform grows, and less where it throttles.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait after a call was throttled; it doubles while nothing succeeds.
const FIRST_HOLD: Duration = Duration::from_millis(100);
/// The longest wait after a call was throttled.
const LONGEST_HOLD: Duration = Duration::from_secs(10);
/// After throttling, the limit grows again by this share of itself with each second, and by one at least.
const GROWTH_PER_SECOND: f64 = 0.1;

/// A platform's rule for new environments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// Calls that may be in flight from the start.
    pub start: usize,
    /// How many more after each step of time.
    pub step: usize,
    /// The step of time.
    pub every: Duration,
}

/// The number of calls that may be in flight, over time.
#[derive(Debug)]
pub(crate) struct Pace {
    most: usize,
    ramp: Option<Ramp>,
    started: Instant,
    /// What the platform took when it throttled last, and since when that grows; no limit where it never did.
    limit: Option<(f64, Instant)>,
    hold: Duration,
    held_until: Instant,
}

impl Pace {
    pub(crate) fn new(most: usize, ramp: Option<Ramp>, now: Instant) -> Self {
        Self {
            most,
            ramp,
            started: now,
            limit: None,
            hold: FIRST_HOLD,
            held_until: now,
        }
    }

    /// Calls that may be in flight at `now`, at least 1, or 0 where it is time to wait.
    pub(crate) fn allowed(&self, now: Instant) -> usize {
        if now < self.held_until {
            return 0;
        }
        let mut allowed = self.most;
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

    /// Whether, and until when, nothing may be called.
    pub(crate) fn held_until(&self) -> Instant {
        self.held_until
    }

    /// A call was throttled, while `running` others were not.
    pub(crate) fn throttled(&mut self, running: usize, now: Instant) {
        let running = running.max(1) as f64;
        // Calls that were sent together are throttled together: they count once, and only when the last of them is back
        // is it known how many were taken.
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

    /// A call was taken and answered.
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
    fn the_ramp_is_the_platforms_rule() {
        let now = Instant::now();
        let ramp = Ramp {
            start: 1000,
            step: 1000,
            every: seconds(10.0),
        };
        let pace = Pace::new(3500, Some(ramp), now);
        let allowed = |at: f64| pace.allowed(now + seconds(at));
        assert_eq!(allowed(0.0), 1000);
        assert_eq!(allowed(9.9), 1000);
        assert_eq!(allowed(10.0), 2000);
        assert_eq!(allowed(29.0), 3000);
        assert_eq!(allowed(1e6), 3500);
    }

    #[test]
    fn throttling_goes_down_to_what_is_taken_and_grows_again() {
        let now = Instant::now();
        let mut pace = Pace::new(1000, None, now);
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
    fn waits_double_until_something_succeeds() {
        let mut now = Instant::now();
        let mut pace = Pace::new(10, None, now);
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
