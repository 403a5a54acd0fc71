//! A pending call, and times with a total order.

/// A time in seconds, 0 or more, with a total order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn at(seconds: f64) -> Self {
        // The bit patterns of floats from 0.0 up have the order of the floats. Adding 0.0 turns
        // -0.0 into 0.0.
        Self((seconds + 0.0).to_bits())
    }

    pub(super) fn seconds(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// A batch, or the remainder of one, for one attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) batch: u64,
    /// From 1, restarting for each remainder.
    pub(super) attempt: u32,
    /// Number of previous invocations that processed a part of the batch.
    pub(super) range: u32,
    /// Remaining work of the batch, in seconds on a warm environment.
    pub(super) seconds: f64,
    /// When it may begin.
    pub(super) due: f64,
    /// When the batch's first invocation began.
    pub(super) first_start: f64,
    /// Set if this is a second attempt while the first is active.
    pub(super) second: Option<Second>,
    /// Whether the batch already had its second attempt.
    pub(super) had_second: bool,
}

/// Properties of a second attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Second {
    /// Environment of the first attempt.
    pub(super) first_environment: u64,
    /// Limit of its work, in seconds.
    pub(super) limit_seconds: f64,
}
