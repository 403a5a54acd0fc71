//! When a batch is tried again.

use shoal_job::wire::FailureKind;

/// How often a batch may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at a batch, at least 1.
    pub attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 3 }
    }
}

impl RetryPolicy {
    /// Whether to try again after attempt number `attempt` ended in a failure of this kind.
    pub fn tries_again(self, attempt: u32, kind: FailureKind) -> bool {
        kind.may_retry() && attempt < self.attempts
    }
}
