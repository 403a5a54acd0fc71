//! The spending limit of a run, and its expected cost.

use std::time::Duration;

use shoal_dispatch::Budget;
use shoal_estimate::limits::{ONE_VCPU, TIMEOUT, vcpu_share};
use shoal_job::wire::Sizing;
use shoal_report::billed_ms;

use super::stage::Stage;
use crate::limits::Pricing;
use crate::{ASK_ABOVE_USD, Error, Result, runs};

/// The budget of a start, and the time limit of its calls.
pub(super) struct Spending {
    pub(super) budget: Option<Budget>,
    pub(super) timeout: Option<Duration>,
}

impl Stage<'_> {
    /// The spending limit of this start. There is none if nothing is billed by the call.
    ///
    /// # Errors
    /// [`Error::NeedsYes`] if the expected cost needs consent, or the prices are unknown.
    pub(super) fn spending(&self) -> Result<Spending> {
        let (backend, limits) = (&self.settings.backend, &self.settings.limits);
        let mut spending = Spending {
            budget: None,
            timeout: backend.timeout(),
        };
        let is_limited = !limits.yes || limits.max_usd.is_some();
        if !backend.settings().needs_store() || !is_limited {
            return Ok(spending);
        }
        let prices = crate::cost::prices(limits.prices.as_deref())?;
        let receipts = self.run.receipts()?;
        let batches = self.run.batches(&self.job)?;
        let open = receipts.open(&batches).into_iter();
        let open: Vec<_> = open.map(|batch| batch.into_owned()).collect();
        if open.is_empty() {
            return Ok(spending);
        }
        let expected = crate::backend::expected(&self.job, &open, self.runner.as_ref());
        let (sizing, max_timeout) = match self.deployed() {
            // A user may be allowed to call the function, but not to read its settings.
            Err(Error::Platform { .. }) if limits.max_usd.is_none() => default_function(),
            deployed => deployed?,
        };
        let share = vcpu_share(sizing.memory_mb);
        let pricing = Pricing {
            sizing,
            prices,
            bills_children: backend.settings().bills_children(),
        };
        if !limits.yes {
            let usd = pricing.usd(open.len() as f64, expected.all / share)?;
            // A lower cost limit needs no consent.
            if usd.min(limits.max_usd.unwrap_or(f64::INFINITY)) > ASK_ABOVE_USD {
                return Err(Error::NeedsYes {
                    usd,
                    batches: open.len() as u64,
                });
            }
        }
        if let Some(max_usd) = limits.max_usd {
            let timeout = backend.given_timeout().map_or_else(
                || Pricing::timeout(expected.longest_batch / share, max_timeout),
                |given| given.min(max_timeout),
            );
            spending.timeout = Some(timeout);
            let answered = receipts.values().map(billed_ms).sum::<f64>() / 1e3;
            let answered = pricing.usd(receipts.len() as f64, answered)?;
            let unknown = runs::state(&self.run)?.calls_of_unknown_cost();
            spending.budget = Some(pricing.budget(max_usd, answered, unknown, timeout)?);
        }
        Ok(spending)
    }

    /// The size and the time limit of the deployed function.
    #[cfg(feature = "aws")]
    fn deployed(&self) -> Result<(Sizing, Duration)> {
        let function = self.settings.backend.settings().function();
        let function = function.expect("only functions of Lambda are billed by the call");
        let deployed = shoal_aws::deployed(&crate::backend::aws_config()?, function)?;
        let timeout = Duration::from_secs(deployed.timeout_seconds);
        Ok((deployed.sizing, timeout))
    }

    #[cfg(not(feature = "aws"))]
    fn deployed(&self) -> Result<(Sizing, Duration)> {
        Err(crate::backend::not_built(self.settings.backend.kind()))
    }
}

/// The function that `shoal deploy aws` creates by default.
fn default_function() -> (Sizing, Duration) {
    let sizing = Sizing {
        memory_mb: ONE_VCPU,
        architecture: "x86_64".into(),
        region: crate::cost::DEFAULT_REGION.into(),
    };
    (sizing, Duration::from_secs((*TIMEOUT.end()).into()))
}
