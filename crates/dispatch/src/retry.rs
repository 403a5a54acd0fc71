//! When a batch is tried again.

use std::time::Duration;

/// How often, and after what time, a batch may be tried again, and when a call counts as lost. Which failures are worth
/// it, they say themselves: [`FailureKind::remedy`](shoal_job::wire::FailureKind::remedy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at a batch, at least 1.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each further one.
    pub delay: Duration,
    /// The longest wait before any attempt.
    pub longest_delay: Duration,
    /// The time from the first failure in which further attempts begin.
    pub time: Duration,
    /// What a call may take beyond the time that the function was given, for the way there and back.
    pub grace: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            delay: Duration::from_millis(200),
            longest_delay: Duration::from_secs(20),
            time: Duration::from_secs(3600),
            grace: Duration::from_secs(10),
        }
    }
}

impl RetryPolicy {
    /// Whether to try again what failed `failures` times, for the first time `since`.
    pub fn tries_again(self, failures: u32, since: Duration) -> bool {
        failures < self.attempts && since < self.time
    }

    /// How long to wait after attempt number `attempt`: anything up to a bound that doubles, so that what failed together
    /// does not come back together ("full jitter", <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
    pub fn wait(self, attempt: u32) -> Duration {
        let bound = self
            .delay
            .saturating_mul(1 << attempt.saturating_sub(1).min(16))
            .min(self.longest_delay);
        bound.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_time_are_bounded() {
        let policy = RetryPolicy::default();
        let soon = Duration::ZERO;
        assert!(policy.tries_again(1, soon) && policy.tries_again(2, soon));
        assert!(!policy.tries_again(3, soon) && !policy.tries_again(1, policy.time));
    }

    #[test]
    fn waits_grow_to_a_bound() {
        let policy = RetryPolicy::default();
        for (attempt, bound) in [
            (1, 200),
            (2, 400),
            (4, 1600),
            (9, 20_000),
            (u32::MAX, 20_000),
        ] {
            let longest = (0..200).map(|_| policy.wait(attempt)).max().unwrap();
            assert!(
                longest <= Duration::from_millis(bound),
                "{attempt}: {longest:?}"
            );
            assert!(
                longest > Duration::from_millis(bound / 2),
                "{attempt}: {longest:?}"
            );
        }
    }
}
