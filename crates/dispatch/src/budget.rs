//! A limit on what calls may cost.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_job::wire::{Failure, FailureKind, Receipt};

/// Tolerance for rounding errors, in USD: a limit that is exactly enough must suffice.
const TOLERANCE_USD: f64 = 1e-9;

/// Computes the cost of a call in USD from its receipt and its duration.
pub type Cost = dyn Fn(&Receipt, Duration) -> f64 + Send + Sync;

/// A spending limit for calls. Before each call the maximum that it can cost is reserved; its answer releases what it did
/// not cost. The sum of all calls therefore never exceeds the limit.
///
/// ```
/// # use shoal_dispatch::{Budget, Ledger};
/// let budget = Budget {
///     max_usd: 5.0,
///     most_per_call_usd: 0.002,
///     cost: Box::new(|receipt, elapsed| 0.00003 * elapsed.as_secs_f64()),
///     ledger: Ledger::after(1.25),
/// };
/// assert!(budget.affords(1875) && !budget.affords(1876));
/// ```
pub struct Budget {
    /// The limit for all starts of the run together.
    pub max_usd: f64,
    /// The maximum cost of one call, whether it succeeds or fails.
    pub most_per_call_usd: f64,
    /// The cost of a call that returned a receipt, capped at `most_per_call_usd`.
    pub cost: Box<Cost>,
    /// The spending so far.
    pub ledger: Ledger,
}

/// The amount spent and the number of calls in flight. It outlives a single [`Backend::run`](crate::Backend::run),
/// because repeating the batch of a damaged part costs money too.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Debug, Default, Clone, Copy)]
struct Entries {
    spent_usd: f64,
    /// A count rather than an amount, so that reserving and releasing leaves no rounding error.
    in_flight: u64,
}

impl Ledger {
    /// Creates a ledger for a run whose earlier starts spent `spent_usd`.
    pub fn after(spent_usd: f64) -> Self {
        Self(Mutex::new(Entries {
            spent_usd,
            in_flight: 0,
        }))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// The amount spent in USD, without calls in flight. A failed call counts with its maximum cost.
    pub fn spent_usd(&self) -> f64 {
        self.ledger.entries().spent_usd
    }

    /// The amount spent plus the maximum cost of calls in flight, in USD. Never exceeds the limit. Abandoned calls stay
    /// in flight.
    pub fn committed_usd(&self) -> f64 {
        self.committed_after(0)
    }

    /// Whether the budget covers `calls` more calls.
    pub fn affords(&self, calls: u64) -> bool {
        self.committed_after(calls) <= self.max_usd + TOLERANCE_USD
    }

    /// The committed amount after `calls` more calls.
    fn committed_after(&self, calls: u64) -> f64 {
        let entries = self.ledger.entries();
        let calls = entries.in_flight.saturating_add(calls) as f64;
        entries.spent_usd + calls * self.most_per_call_usd
    }

    /// Reserves the maximum cost of `calls` calls.
    pub fn reserve(&self, calls: u64) {
        self.ledger.entries().in_flight += calls;
    }

    /// Settles a call that was answered after `elapsed`, or that turned out to be unnecessary if `elapsed` is `None`.
    pub(crate) fn settle(&self, answer: &Result<Receipt, Failure>, elapsed: Option<Duration>) {
        let cost_usd = match (answer, elapsed) {
            (_, None) => 0.0,
            (Ok(receipt), Some(elapsed)) => (self.cost)(receipt, elapsed)
                .min(self.most_per_call_usd)
                .max(0.0),
            (Err(failure), Some(_)) => match failure.kind {
                // The platform rejected the call.
                FailureKind::Throttled | FailureKind::Refused => 0.0,
                // It is unknown how long the function ran.
                _ => self.most_per_call_usd,
            },
        };
        let mut entries = self.ledger.entries();
        entries.in_flight -= 1;
        entries.spent_usd += cost_usd;
    }

    /// The error data for `calls` more calls that the budget does not cover, with `left` open batches.
    pub fn shortage(&self, calls: u64, left: u64) -> Shortage {
        Shortage {
            max_usd: self.max_usd,
            spent_usd: self.committed_usd(),
            call_usd: self.most_per_call_usd,
            calls,
            left,
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("max_usd", &self.max_usd)
            .field("most_per_call_usd", &self.most_per_call_usd)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

/// The data of an exhausted budget: the remainder is less than the maximum cost of the next calls.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Shortage {
    /// The limit.
    pub max_usd: f64,
    /// The amount that all starts of the run spent or reserved.
    pub spent_usd: f64,
    /// The maximum cost of one call.
    pub call_usd: f64,
    /// Calls that must be covered at once: 1, except on platforms with their own fan-out.
    pub calls: u64,
    /// The number of open batches.
    pub left: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, left, .. } = *self;
        let (spent, max) = (usd(self.spent_usd), usd(self.max_usd));
        let next = usd(calls as f64 * self.call_usd);
        let batches = if left == 1 { "batch is" } else { "batches are" };
        let who = match calls {
            1 => "the next call".into(),
            _ => format!("the platform may make up to {calls} calls that"),
        };
        write!(
            f,
            "{spent} of {max} USD are spent, {left} {batches} left, and {who} can cost up to {next} USD"
        )
    }
}

/// Rounds an amount to a millionth.
fn usd(amount: f64) -> f64 {
    (amount * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_names_limit_spending_and_next_cost() {
        let budget = Budget {
            max_usd: 0.5,
            most_per_call_usd: 0.026_55,
            cost: Box::new(|_, _| 0.0),
            ledger: Ledger::after(0.1 + 0.2),
        };
        assert_eq!(
            budget.shortage(1, 1).to_string(),
            "0.3 of 0.5 USD are spent, 1 batch is left, and the next call can cost up to 0.02655 USD"
        );
        assert_eq!(
            budget.shortage(30, 10).to_string(),
            "0.3 of 0.5 USD are spent, 10 batches are left, and the platform may make up to 30 calls that can cost up to \
             0.7965 USD"
        );
    }

    #[test]
    fn a_nan_budget_affords_nothing() {
        let budget = |max_usd, most_per_call_usd| Budget {
            max_usd,
            most_per_call_usd,
            cost: Box::new(|_, _| 0.0),
            ledger: Ledger::default(),
        };
        assert!(!budget(f64::NAN, 0.1).affords(1));
        assert!(!budget(1.0, f64::NAN).affords(1));
        assert!(!budget(-1.0, 0.0).affords(1));
        assert!(budget(f64::INFINITY, 0.1).affords(u64::MAX));
    }
}
