//! A limit to what calls may cost.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shoal_job::wire::{Failure, FailureKind, Receipt};

/// What sums of floating-point numbers may drift, in USD: a limit that is just enough is enough.
const DRIFT_USD: f64 = 1e-9;

/// What a call cost, in USD, by its receipt and the time from the call to the answer.
pub type Cost = dyn Fn(&Receipt, Duration) -> f64 + Send + Sync;

/// What calls may cost. Before each call the most that it can cost is set aside, and its answer gives back what it did not
/// cost, so that what is spent never passes the limit.
///
/// ```
/// # use shoal_dispatch::{Budget, Ledger};
/// let budget = Budget {
///     max_usd: 5.0,
///     most_per_call_usd: 0.002,
///     cost: Box::new(|receipt, took| 0.00003 * took.as_secs_f64()),
///     ledger: Ledger::after(1.25),
/// };
/// assert!(budget.affords(1875) && !budget.affords(1876));
/// ```
pub struct Budget {
    /// The limit, over all starts of the run.
    pub max_usd: f64,
    /// The most that one call can cost, whatever comes of it.
    pub most_per_call_usd: f64,
    /// What a call that was answered by a receipt did cost. More than the most is taken for the most.
    pub cost: Box<Cost>,
    /// What was spent so far.
    pub ledger: Ledger,
}

/// What was spent, and how many calls are under way. It outlives a [`Backend::run`](crate::Backend::run), since a batch
/// whose part is damaged is paid for again.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Debug, Default, Clone, Copy)]
struct Entries {
    spent_usd: f64,
    /// Counted rather than added up in USD, so that what is set aside and given back again leaves nothing behind.
    under_way: u64,
}

impl Ledger {
    /// A ledger to go on with after `spent_usd`, which earlier starts of the run spent.
    pub fn after(spent_usd: f64) -> Self {
        Self(Mutex::new(Entries {
            spent_usd,
            under_way: 0,
        }))
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Budget {
    /// What was spent, calls under way not counted, in USD. A call that failed counts as the most that it can cost.
    pub fn spent_usd(&self) -> f64 {
        self.ledger.entries().spent_usd
    }

    /// What was spent, and what calls under way can cost at most, in USD: never above the limit. Calls that nobody waited
    /// for are under way for ever.
    pub fn committed_usd(&self) -> f64 {
        let Entries {
            spent_usd,
            under_way,
        } = *self.ledger.entries();
        spent_usd + under_way as f64 * self.most_per_call_usd
    }

    /// Whether `calls` more calls may be made now.
    pub fn affords(&self, calls: u64) -> bool {
        let Entries {
            spent_usd,
            under_way,
        } = *self.ledger.entries();
        let calls = under_way.saturating_add(calls) as f64;
        spent_usd + calls * self.most_per_call_usd <= self.max_usd + DRIFT_USD
    }

    /// Sets aside the most that `calls` calls can cost.
    pub fn set_aside(&self, calls: u64) {
        self.ledger.entries().under_way += calls;
    }

    /// A call under way was answered, after `took`; `None` where it turned out that none had to be made.
    pub(crate) fn settle(&self, answer: &Result<Receipt, Failure>, took: Option<Duration>) {
        let cost_usd = match (answer, took) {
            (_, None) => 0.0,
            (Ok(receipt), Some(took)) => (self.cost)(receipt, took)
                .min(self.most_per_call_usd)
                .max(0.0),
            (Err(failure), Some(_)) => match failure.kind {
                // The platform did not take the call.
                FailureKind::Throttled | FailureKind::Refused => 0.0,
                // Nobody knows how long it ran.
                _ => self.most_per_call_usd,
            },
        };
        let mut entries = self.ledger.entries();
        entries.under_way -= 1;
        entries.spent_usd += cost_usd;
    }

    /// What is missing for `calls` more calls, where `left` batches are left.
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

/// Why no further call may be made: what is left of the budget would not pay for the most that it can cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shortage {
    /// The limit.
    pub max_usd: f64,
    /// What was spent of it, by all starts of the run.
    pub spent_usd: f64,
    /// The most that one call can cost.
    pub call_usd: f64,
    /// Calls that would have to be paid for at once: 1, but where the platform fans out by itself.
    pub calls: u64,
    /// Batches that are left to do.
    pub left: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            max_usd,
            spent_usd,
            call_usd,
            calls,
            left,
        } = *self;
        let batches = if left == 1 { "batch is" } else { "batches are" };
        write!(
            f,
            "of {} USD {} are spent, {left} {batches} left, and ",
            usd(max_usd),
            usd(spent_usd)
        )?;
        if calls == 1 {
            return write!(f, "one more call can cost up to {} USD", usd(call_usd));
        }
        write!(
            f,
            "the up to {calls} calls that the platform may make for them can cost up to {} USD (--backend lambda sets money \
             aside call by call)",
            usd(calls as f64 * call_usd)
        )
    }
}

/// An amount as people write it, to a millionth.
fn usd(amount: f64) -> f64 {
    (amount * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_tells_what_is_missing() {
        let budget = Budget {
            max_usd: 0.5,
            most_per_call_usd: 0.026_55,
            cost: Box::new(|_, _| 0.0),
            ledger: Ledger::after(0.1 + 0.2),
        };
        assert_eq!(
            budget.shortage(1, 1).to_string(),
            "of 0.5 USD 0.3 are spent, 1 batch is left, and one more call can cost up to 0.02655 USD"
        );
        assert_eq!(
            budget.shortage(30, 10).to_string(),
            "of 0.5 USD 0.3 are spent, 10 batches are left, and the up to 30 calls that the platform may make for them can \
             cost up to 0.7965 USD (--backend lambda sets money aside call by call)"
        );
    }

    #[test]
    fn a_budget_that_is_no_number_pays_for_nothing() {
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
