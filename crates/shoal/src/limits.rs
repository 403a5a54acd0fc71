//! Limits of the cost and the time of a run.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use shoal_dispatch::{Budget, Ledger, Speculation};
use shoal_estimate::{Basis, Prices};
use shoal_job::Cancel;
use shoal_job::wire::{Receipt, Sizing};

use crate::cost::{CHILD_SECONDS, PricedFunction, add_children, add_store_requests};
use crate::platform::Children;
use crate::{BackendConfig, Error, Result, Setting};
use shoal_report::billed_ms;

/// A run that is expected to cost more USD needs consent.
pub const ASK_ABOVE_USD: f64 = 1.0;
/// The longest billed initialization of an environment: Lambda's limit.
const MAX_INIT_SECONDS: f64 = 10.0;
/// Time between the deadline of a function and its end.
const GRACE_SECONDS: f64 = 3.0;
/// The default time limit of a call is this multiple of the expected time of the longest batch …
const TIMEOUT_FACTOR: f64 = 3.0;
/// … plus this many seconds.
const TIMEOUT_MARGIN_SECONDS: f64 = 10.0;

/// Limits of the cost and the time of a run.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// USD that all starts of the run may cost together.
    pub max_usd: Option<f64>,
    /// Seconds that this start may take.
    pub max_seconds: Option<f64>,
    /// Consent to a cost above [`ASK_ABOVE_USD`].
    pub yes: bool,
    /// A price file instead of the built-in prices.
    pub prices: Option<PathBuf>,
    /// How much time second attempts at slow calls may take.
    pub speculation: Speculation,
}

impl Limits {
    /// Fails on a limit that is out of range, or that the backend cannot keep.
    pub(crate) fn check(&self, backend: &BackendConfig) -> Result<()> {
        check_positive(Setting::MaxCost, self.max_usd)?;
        check_positive(Setting::MaxTime, self.max_seconds)?;
        let share = self.speculation.budget;
        if !(share.is_finite() && share >= 0.0) {
            let reason = "it must be a percentage of 0 or more";
            return Err(Error::setting(Setting::SpeculationBudget, reason));
        }
        let settings = backend.settings();
        let is_priced = settings.needs_store() || settings.machine().is_some();
        if self.max_usd.is_some() && !is_priced {
            return Err(Error::Unpriced {
                backend: backend.name(),
            });
        }
        Ok(())
    }

    /// Seconds that this start may take: the time limit, or the time that the rest of the cost limit pays for.
    pub(crate) fn seconds(&self, backend: &BackendConfig, seconds_before: f64) -> Option<f64> {
        let machine = backend.settings().machine();
        let by_money = self.max_usd.zip(machine).map(|(usd, machine)| {
            // A free machine has no limit.
            usd / machine.usd_per_hour.max(f64::MIN_POSITIVE) * 3600.0 - seconds_before
        });
        match (self.max_seconds, by_money) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

/// Fails unless `number` is missing, or finite and positive.
pub(crate) fn check_positive(setting: Setting, number: Option<f64>) -> Result<()> {
    match number {
        Some(number) if !(number.is_finite() && number > 0.0) => {
            Err(Error::setting(setting, "it must be more than 0"))
        }
        _ => Ok(()),
    }
}

/// A deployed function and its prices.
pub(crate) struct Pricing {
    pub(crate) sizing: Sizing,
    pub(crate) prices: Prices,
    /// Whether children of a Distributed Map are billed too.
    pub(crate) bills_children: bool,
}

impl Pricing {
    /// The cost in USD of `calls` calls that take `seconds` together.
    pub(crate) fn usd(&self, calls: f64, seconds: f64) -> Result<f64> {
        let function = PricedFunction::of(&self.sizing, &self.prices)?;
        let mut usage = function.usage(Basis::Predicted, calls, seconds, 0.0);
        add_store_requests(&mut usage, calls);
        if self.bills_children {
            // Their execution type is not known yet, so both are reserved.
            let child_seconds = seconds + calls * CHILD_SECONDS;
            for children in Children::ALL {
                add_children(&mut usage, children, calls, child_seconds);
            }
        }
        Ok(function.bill(&usage)?.usd())
    }

    /// The default time limit of a call. It is low, since its cost is reserved for each call.
    pub(crate) fn timeout(expected_batch_seconds: f64, most: Duration) -> Duration {
        let expected = expected_batch_seconds.max(0.0) * TIMEOUT_FACTOR + TIMEOUT_MARGIN_SECONDS;
        if expected.is_finite() {
            most.min(Duration::from_secs_f64(expected.ceil().min(1e6)))
        } else {
            most
        }
    }

    /// A budget for calls with a time limit of `timeout`. Earlier starts spent `answered_usd`, and at most the highest cost
    /// of a call for each of `unknown` calls.
    pub(crate) fn budget(
        self,
        max_usd: f64,
        answered_usd: f64,
        unknown: u64,
        timeout: Duration,
    ) -> Result<Budget> {
        let seconds = timeout.as_secs_f64() + GRACE_SECONDS + MAX_INIT_SECONDS;
        let most_per_call_usd = self.usd(1.0, seconds)?;
        Ok(Budget {
            max_usd,
            most_per_call_usd,
            cost: Box::new(move |receipt: &Receipt, took: Duration| {
                let seconds = match receipt.billed_ms {
                    Some(_) => billed_ms(receipt) / 1e3,
                    // The caller waited at least for the time that is billed.
                    None => took.as_secs_f64(),
                };
                // The highest cost was computed above, so this does not fail.
                self.usd(1.0, seconds).unwrap_or(most_per_call_usd)
            }),
            ledger: Ledger::after(answered_usd + unknown as f64 * most_per_call_usd),
        })
    }
}

/// Runs `work` and cancels it after `seconds`. Also returns whether the time ran out.
pub(crate) fn within<T>(
    seconds: Option<f64>,
    cancel: &Cancel,
    work: impl FnOnce(&Cancel) -> T,
) -> (T, bool) {
    let Some(seconds) = seconds else {
        return (work(cancel), false);
    };
    let stop = cancel.child();
    let is_late = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let (done, waits) = channel::<()>();
        let (stop, is_late) = (&stop, &is_late);
        scope.spawn(move || {
            let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
            if waits.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
                is_late.store(true, Ordering::Relaxed);
                stop.cancel();
            }
        });
        let result = work(stop);
        drop(done);
        result
    });
    (done, is_late.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Machine;

    fn pricing(bills_children: bool) -> Pricing {
        Pricing {
            sizing: Sizing {
                memory_mb: 1024,
                architecture: "x86_64".into(),
                region: "us-east-1".into(),
            },
            prices: Prices::aws(),
            bills_children,
        }
    }

    /// 1,000 GB-s, 10 requests, 20 writes, 40 reads.
    #[test]
    fn calls_cost_what_was_computed_by_hand() {
        let usd = pricing(false).usd(10.0, 1000.0).unwrap();
        let by_hand = 1000.0 * 1.66667e-5 + 10.0 * 2e-7 + 20.0 * 5e-6 + 40.0 * 4e-7;
        assert!((usd - by_hand).abs() < 1e-12, "{usd}");
        assert!(pricing(true).usd(10.0, 1000.0).unwrap() > usd);
    }

    #[test]
    fn a_budget_reserves_the_highest_cost_of_a_call() {
        let timeout = Duration::from_secs(47);
        let budget = pricing(false).budget(1.0, 0.0, 0, timeout).unwrap();
        let by_hand = 60.0 * 1.66667e-5 + 2e-7 + 2.0 * 5e-6 + 4.0 * 4e-7;
        assert!((budget.most_per_call_usd - by_hand).abs() < 1e-12);
    }

    #[test]
    fn the_time_limit_of_a_call_follows_its_expected_time() {
        let most = Duration::from_secs(900);
        assert_eq!(Pricing::timeout(10.0, most), Duration::from_secs(40));
        assert_eq!(Pricing::timeout(1000.0, most), most);
        assert_eq!(Pricing::timeout(f64::NAN, most), Duration::from_secs(10));
        assert_eq!(Pricing::timeout(f64::INFINITY, most), most);
    }

    #[test]
    fn a_cost_limit_limits_the_time_of_a_priced_machine() {
        let priced = BackendConfig::Local(crate::backend::Local {
            machine: Some(Machine {
                name: "m".into(),
                usd_per_hour: 0.36,
                vcpus: 2,
            }),
            concurrency: None,
        });
        let limits = Limits {
            max_usd: Some(0.01),
            ..Limits::default()
        };
        assert_eq!(limits.seconds(&priced, 40.0), Some(60.0));
        limits.check(&priced).unwrap();
        let unpriced = limits.check(&BackendConfig::default());
        assert!(matches!(unpriced, Err(Error::Unpriced { .. })));
        let both = Limits {
            max_seconds: Some(5.0),
            ..limits
        };
        assert_eq!(both.seconds(&priced, 0.0), Some(5.0));
        assert_eq!(Limits::default().seconds(&priced, 0.0), None);
    }

    #[test]
    fn work_is_cancelled_when_its_time_is_up() {
        let cancel = Cancel::new();
        let wait = |stop: &Cancel| {
            while !stop.is_cancelled() {
                std::thread::yield_now();
            }
        };
        assert!(within(Some(0.0), &cancel, wait).1);
        assert!(!cancel.is_cancelled());
        assert_eq!(within(Some(1e9), &cancel, |_| 7), (7, false));
        assert_eq!(within(Some(f64::INFINITY), &cancel, |_| 7), (7, false));
    }
}
