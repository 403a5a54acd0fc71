//! What a run may cost and take.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use shoal_dispatch::{Budget, Ledger, Speculation};
use shoal_estimate::{Architecture, Basis, Prices, Usage};
use shoal_job::Cancel;
use shoal_job::wire::{Receipt, Sizing};

use crate::plan::candidates::{
    CHILD_SECONDS, EXPRESS_GB, GETS_PER_BATCH, PUTS_PER_BATCH, TRANSITIONS,
};
use crate::{BackendConfig, BackendKind, Error, Result};
use shoal_report::billed_ms;

/// USD that a run may cost before somebody is asked.
pub const ASK_ABOVE_USD: f64 = 1.0;
/// What starting an environment is billed at most: Lambda gives an init 10 s.
const MOST_INIT_SECONDS: f64 = 10.0;
/// A function that is not done by its deadline is ended after this.
const GRACE_SECONDS: f64 = 3.0;
/// Where nobody says how long a call may take, a multiple of what the longest batch is expected to …
const TIMES_EXPECTED: f64 = 3.0;
/// … and so many seconds.
const BEYOND_EXPECTED: f64 = 10.0;

/// What a run may cost and take.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// USD that all starts of the run together may cost.
    pub max_usd: Option<f64>,
    /// Seconds that this start may work.
    pub max_seconds: Option<f64>,
    /// Whether it may cost more than [`ASK_ABOVE_USD`] without a question.
    pub yes: bool,
    /// A price file instead of the prices of shoal.
    pub prices: Option<PathBuf>,
    /// How far calls that take far too long may be made a second time.
    pub speculation: Speculation,
}

impl Limits {
    /// Options that contradict each other or have no effect are errors.
    pub(crate) fn check(&self, place: &BackendConfig) -> Result<()> {
        for (flag, number) in [
            ("--max-cost", self.max_usd),
            ("--max-time", self.max_seconds),
        ] {
            if number.is_some_and(|number| !(number.is_finite() && number > 0.0)) {
                return Err(Error::Settings(format!("{flag} must be more than 0")));
            }
        }
        let share = self.speculation.budget;
        if !(share.is_finite() && share >= 0.0) {
            return Err(Error::Settings(
                "--speculation-budget is a share in percent, and 0 or more".into(),
            ));
        }
        let is_priced = place.needs_store() || place.machine.is_some();
        if self.max_usd.is_some() && !is_priced {
            return Err(Error::Settings(format!(
                "failed to start: nothing of --backend {} has a price, so that --max-cost could not be kept; --machine \
                 name=usd_per_hour:vcpus gives this machine one, --max-time bounds the time",
                place.backend.name()
            )));
        }
        Ok(())
    }

    /// Seconds that this start may work, where there is a limit: its own, or what is left of the money by the hour.
    pub(crate) fn seconds(&self, place: &BackendConfig, seconds_before: f64) -> Option<f64> {
        let by_money = self
            .max_usd
            .zip(place.machine.as_ref())
            .map(|(usd, machine)| {
                // A machine that costs nothing may work for ever.
                usd / machine.usd_per_hour.max(f64::MIN_POSITIVE) * 3600.0 - seconds_before
            });
        match (self.max_seconds, by_money) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

/// A deployed function and its prices.
pub(crate) struct Pricing {
    pub(crate) sizing: Sizing,
    pub(crate) prices: Prices,
    pub(crate) backend: BackendKind,
}

impl Pricing {
    /// What `calls` calls cost that take `seconds` together, in USD.
    pub(crate) fn usd(&self, calls: f64, seconds: f64) -> Result<f64> {
        let wrong = |reason: String| Error::Settings(reason);
        let architecture: Architecture = self.sizing.architecture.parse().map_err(wrong)?;
        let mut usage = Usage {
            compute_gb_s: seconds * f64::from(self.sizing.memory_mb) / 1024.0,
            requests: calls,
            puts: calls * PUTS_PER_BATCH,
            gets: calls * GETS_PER_BATCH,
            ..Usage::none(&self.sizing.region, architecture, Basis::Predicted)
        };
        if self.backend == BackendKind::StepFunctions {
            // Whichever kind of children is chosen: both are set aside.
            usage.transitions = calls * TRANSITIONS;
            usage.express_requests = calls;
            usage.express_gb_s = (seconds + calls * CHILD_SECONDS) * EXPRESS_GB;
        }
        let bill = usage
            .bill(&self.prices)
            .map_err(|e| Error::Settings(e.to_string()))?;
        Ok(bill.usd())
    }

    /// How long a call may take so that little is set aside for it: some times what its batch is expected to.
    pub(crate) fn timeout(expected_batch_seconds: f64, most: Duration) -> Duration {
        let expected = expected_batch_seconds.max(0.0) * TIMES_EXPECTED + BEYOND_EXPECTED;
        if expected.is_finite() {
            most.min(Duration::from_secs_f64(expected.ceil().min(1e6)))
        } else {
            most
        }
    }

    /// A budget for calls that end after `timeout`, of which earlier starts have spent `answered_usd` and the most for each of
    /// `unknown` calls.
    pub(crate) fn budget(
        self,
        max_usd: f64,
        answered_usd: f64,
        unknown: u64,
        timeout: Duration,
    ) -> Result<Budget> {
        let most = timeout.as_secs_f64() + GRACE_SECONDS + MOST_INIT_SECONDS;
        let most_per_call_usd = self.usd(1.0, most)?;
        Ok(Budget {
            max_usd,
            most_per_call_usd,
            cost: Box::new(move |receipt: &Receipt, took: Duration| {
                let seconds = match receipt.billed_ms {
                    Some(_) => billed_ms(receipt) / 1e3,
                    // What the caller waited is at least what is billed.
                    None => took.as_secs_f64(),
                };
                // What has had a price once has one now.
                self.usd(1.0, seconds).unwrap_or(most_per_call_usd)
            }),
            ledger: Ledger::after(answered_usd + unknown as f64 * most_per_call_usd),
        })
    }
}

/// Does `work` with a wish to stop that is there when `cancel` is, or after `seconds`; also tells whether it was the time.
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

    fn pricing(backend: BackendKind) -> Pricing {
        Pricing {
            sizing: Sizing {
                memory_mb: 1024,
                architecture: "x86_64".into(),
                region: "us-east-1".into(),
            },
            prices: Prices::aws(),
            backend,
        }
    }

    /// 1,000 GB-s, 10 requests, 20 writes, 40 reads.
    #[test]
    fn calls_by_hand() {
        let usd = pricing(BackendKind::Lambda).usd(10.0, 1000.0).unwrap();
        let by_hand = 1000.0 * 1.66667e-5 + 10.0 * 2e-7 + 20.0 * 5e-6 + 40.0 * 4e-7;
        assert!((usd - by_hand).abs() < 1e-12, "{usd}");
        assert!(
            pricing(BackendKind::StepFunctions)
                .usd(10.0, 1000.0)
                .unwrap()
                > usd
        );
    }

    #[test]
    fn a_budget_sets_aside_what_a_call_can_take_and_counts_what_it_took() {
        let timeout = Duration::from_secs(47);
        let budget = pricing(BackendKind::Lambda)
            .budget(1.0, 0.0, 0, timeout)
            .unwrap();
        let by_hand = 60.0 * 1.66667e-5 + 2e-7 + 2.0 * 5e-6 + 4.0 * 4e-7;
        assert!((budget.most_per_call_usd - by_hand).abs() < 1e-12);
    }

    #[test]
    fn calls_end_some_time_after_they_should() {
        let most = Duration::from_secs(900);
        assert_eq!(Pricing::timeout(10.0, most), Duration::from_secs(40));
        assert_eq!(Pricing::timeout(1000.0, most), most);
        assert_eq!(Pricing::timeout(f64::NAN, most), Duration::from_secs(10));
        assert_eq!(Pricing::timeout(f64::INFINITY, most), most);
    }

    #[test]
    fn money_by_the_hour_is_time() {
        let place = BackendConfig {
            machine: Some(Machine {
                name: "m".into(),
                usd_per_hour: 0.36,
                vcpus: 2,
            }),
            ..BackendConfig::default()
        };
        let limits = Limits {
            max_usd: Some(0.01),
            ..Limits::default()
        };
        assert_eq!(limits.seconds(&place, 40.0), Some(60.0));
        limits.check(&place).unwrap();
        let error = limits
            .check(&BackendConfig::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--machine"), "{error}");
        let both = Limits {
            max_seconds: Some(5.0),
            ..limits
        };
        assert_eq!(both.seconds(&place, 0.0), Some(5.0));
        assert_eq!(Limits::default().seconds(&place, 0.0), None);
    }

    #[test]
    fn time_that_is_up_asks_to_stop() {
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
