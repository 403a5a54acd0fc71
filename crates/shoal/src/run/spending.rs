//! What a run may spend: asked for, predicted, and set aside.

use std::time::Duration;

use shoal_dispatch::Budget;
use shoal_job::wire::Sizing;

use super::stage::Stage;
use crate::limits::Pricing;
use crate::{ASK_ABOVE_USD, Error, Result};
use shoal_report::billed_ms;

/// The money that a start may spend, and the time that its calls may take for it.
pub(super) struct Spending {
    pub(super) budget: Option<Budget>,
    pub(super) timeout: Option<Duration>,
}

impl Stage<'_> {
    /// What this start may spend. Nothing is predicted or set aside where nothing is billed by the call.
    pub(super) fn spending(&self) -> Result<Spending> {
        let mut spending = Spending {
            budget: None,
            timeout: self.backend.timeout(),
        };
        if !self.backend.needs_store() || (self.limits.yes && self.limits.max_usd.is_none()) {
            return Ok(spending);
        }
        let prices = crate::plan::prices(self.limits.prices.as_deref())?;
        let receipts = self.run.receipts()?;
        let open: Vec<_> = receipts
            .open(&self.run.batches(&self.job)?)
            .into_iter()
            .map(|b| b.into_owned())
            .collect();
        if open.is_empty() {
            return Ok(spending);
        }
        let expected = crate::backend::expected(&self.job, &open, self.runner.as_ref());
        let (pricing, most) = match self.pricing(prices.clone()) {
            // A user who may not read the function's settings may still call it: then the usual settings are assumed.
            Err(Error::Platform { .. }) if self.limits.max_usd.is_none() => self.usual(prices),
            pricing => pricing?,
        };
        if !self.limits.yes {
            let share = shoal_estimate::limits::vcpu_share(pricing.sizing.memory_mb);
            let calls = open.len() as f64;
            let usd = pricing.usd(calls, expected.all / share)?;
            // A cap is an answer to the question, if it lies below it.
            let asked = usd.min(self.limits.max_usd.unwrap_or(f64::INFINITY));
            if asked > ASK_ABOVE_USD {
                return Err(Error::NeedsYes {
                    usd,
                    batches: open.len() as u64,
                });
            }
        }
        if let Some(max_usd) = self.limits.max_usd {
            let timeout = match self.backend.given_timeout() {
                Some(given) => given.min(most),
                None => {
                    let share = shoal_estimate::limits::vcpu_share(pricing.sizing.memory_mb);
                    Pricing::timeout(expected.longest_batch / share, most)
                }
            };
            spending.timeout = Some(timeout);
            let answered = receipts.values().map(billed_ms).sum::<f64>() / 1e3;
            let answered = pricing.usd(receipts.len() as f64, answered)?;
            let unknown = crate::report::state(&self.run)?.calls_of_unknown_cost();
            spending.budget = Some(pricing.budget(max_usd, answered, unknown, timeout)?);
        }
        Ok(spending)
    }

    /// A function as `shoal deploy aws` creates it by default.
    fn usual(&self, prices: shoal_estimate::Prices) -> (Pricing, Duration) {
        let sizing = Sizing {
            memory_mb: shoal_estimate::limits::ONE_VCPU,
            architecture: "x86_64".into(),
            region: "us-east-1".into(),
        };
        let pricing = Pricing {
            sizing,
            prices,
            backend: self.backend.kind(),
        };
        (pricing, Duration::from_secs(900))
    }

    /// The deployed function's prices, and how long it may run at most.
    #[cfg(feature = "aws")]
    fn pricing(&self, prices: shoal_estimate::Prices) -> Result<(Pricing, Duration)> {
        let function = self.backend.function();
        let function = function.expect("only functions of Lambda are billed by the call");
        let deployed = shoal_aws::deployed(&crate::backend::aws_config()?, function)
            .map_err(|e| Error::from_dispatch(e, self.run.reference(), |_| String::new()))?;
        let pricing = Pricing {
            sizing: deployed.sizing,
            prices,
            backend: self.backend.kind(),
        };
        Ok((pricing, Duration::from_secs(deployed.timeout_seconds)))
    }

    #[cfg(not(feature = "aws"))]
    fn pricing(&self, _: shoal_estimate::Prices) -> Result<(Pricing, Duration)> {
        Err(Error::Platform {
            backend: self.backend.name(),
            reason: "this shoal was built without it".into(),
        })
    }
}
