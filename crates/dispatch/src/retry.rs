//! When to retry a failed call.

use std::time::Duration;

/// The number of attempts at a batch, the delays between them, and the time after which a call counts as lost.
/// [`FailureKind::remedy`](shoal_job::wire::FailureKind::remedy) says which failures are retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The maximum number of attempts at a batch, at least 1.
    pub attempts: u32,
    /// The upper bound of the delay before the second attempt; it doubles with each further attempt.
    pub delay: Duration,
    /// The upper bound of the delay before any attempt.
    pub longest_delay: Duration,
    /// No attempt starts later than this after the first failure.
    pub time: Duration,
    /// How much longer than the function's time limit a call may take, for transfer in both directions.
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
    /// Whether to retry after `failures` failures, the first of them `since` ago.
    pub fn allows_retry(self, failures: u32, since: Duration) -> bool {
        failures < self.attempts && since < self.time
    }

    /// A random delay after attempt number `attempt`, below an upper bound that doubles with each attempt. The jitter
    /// keeps calls that failed together from being retried together ("full jitter",
    /// <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
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
        assert!(policy.allows_retry(1, soon) && policy.allows_retry(2, soon));
        assert!(!policy.allows_retry(3, soon) && !policy.allows_retry(1, policy.time));
    }

    #[test]
    fn delays_grow_to_a_bound() {
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
