//! The cost of a run, from what it recorded.

use shoal_estimate::{Architecture, Basis, Bill, Prices, Usage};
use shoal_job::Job;
use shoal_report::{BilledCalls, RunState, Totals};

use crate::plan::candidates::{
    CHILD_SECONDS, EXPRESS_GB, GETS_PER_BATCH, PUTS_PER_BATCH, TRANSITIONS,
};
use crate::{Children, Error, Machine, Result};

/// What a run recorded.
pub(crate) struct Recorded<'a> {
    pub(crate) job: &'a Job,
    /// The receipts, added up.
    pub(crate) totals: &'a Totals,
    /// The state that the events tell.
    pub(crate) state: &'a RunState,
    /// The priced machine that it ran on.
    pub(crate) machine: Option<&'a Machine>,
    /// The kind of children of a Distributed Map.
    pub(crate) children: Option<Children>,
}

impl Recorded<'_> {
    /// The bill; `None` where nothing that was used has a price.
    ///
    /// # Errors
    /// The prices lack something that was used.
    pub(crate) fn bill(&self, prices: &Prices) -> Result<Option<Bill>> {
        if self.totals.functions.is_empty() {
            let seconds = self.state.seconds_at_work();
            return Ok(self
                .machine
                .map(|machine| machine.bill(seconds, Basis::Measured)));
        }
        let mut whole: Option<Bill> = None;
        let mut is_first = true;
        for (sizing, calls) in &self.totals.functions {
            let architecture = sizing.architecture.parse();
            let architecture: Architecture = architecture.map_err(|reason: String| {
                Error::Settings(format!("failed to price a receipt: {reason}"))
            })?;
            let priced = Priced {
                prices,
                gb: f64::from(sizing.memory_mb) / 1024.0,
                none: |basis| Usage::none(sizing.region.as_str(), architecture, basis),
            };
            let mut bill = self.functions(&priced, calls)?;
            if std::mem::take(&mut is_first) {
                // The events do not say which of several functions failed.
                bill.items.extend(self.failures(&priced)?.items);
                bill.items.extend(self.store(&priced)?.items);
            }
            match &mut whole {
                None => whole = Some(bill),
                Some(whole) => whole.items.extend(bill.items),
            }
        }
        Ok(whole)
    }

    /// Invocations with a receipt.
    fn functions(
        &self,
        priced: &Priced<'_, impl Fn(Basis) -> Usage>,
        calls: &BilledCalls,
    ) -> Result<Bill> {
        let basis = if calls.measured == calls.count {
            Basis::Measured
        } else {
            Basis::Predicted
        };
        let BilledCalls {
            init_ms, billed_ms, ..
        } = *calls;
        let calls = calls.count as f64;
        let mut usage = Usage {
            compute_gb_s: (billed_ms - init_ms).max(0.0) / 1e3 * priced.gb,
            init_gb_s: init_ms / 1e3 * priced.gb,
            requests: calls,
            ..(priced.none)(basis)
        };
        let mut bill = priced.bill(&usage)?;
        usage = (priced.none)(Basis::Assumed);
        match self.children {
            None => return Ok(bill),
            Some(Children::Standard) => usage.transitions = calls * TRANSITIONS,
            Some(Children::Express) => {
                usage.express_requests = calls;
                usage.express_gb_s = (billed_ms / 1e3 + calls * CHILD_SECONDS) * EXPRESS_GB;
            }
        }
        bill.items.extend(priced.bill(&usage)?.items);
        Ok(bill)
    }

    /// Failed attempts. The time from the call to the failure, as the caller saw it, is an upper bound of what was billed.
    fn failures(&self, priced: &Priced<'_, impl Fn(Basis) -> Usage>) -> Result<Bill> {
        let usage = Usage {
            compute_gb_s: self.state.failed_calls.ms as f64 / 1e3 * priced.gb,
            requests: self.state.failed_calls.timed as f64,
            ..(priced.none)(Basis::Assumed)
        };
        let mut bill = priced.bill(&usage)?;
        for item in &mut bill.items {
            item.name = format!("failed attempts: {}", item.name);
        }
        Ok(bill)
    }

    /// Reads, writes and a month of the object store.
    fn store(&self, priced: &Priced<'_, impl Fn(Basis) -> Usage>) -> Result<Bill> {
        let calls = self.totals.receipts as f64;
        let requests = Usage {
            puts: calls * PUTS_PER_BATCH,
            gets: calls * GETS_PER_BATCH,
            ..(priced.none)(Basis::Predicted)
        };
        let input: u64 = self
            .job
            .sources
            .iter()
            .map(|source| source.identity.bytes)
            .sum();
        let stored = Usage {
            stored_gb_months: (input + self.totals.part_bytes) as f64 / 1e9,
            ..(priced.none)(Basis::Assumed)
        };
        let mut bill = priced.bill(&requests)?;
        bill.items.extend(priced.bill(&stored)?.items);
        Ok(bill)
    }
}

/// The prices of a function.
struct Priced<'a, F> {
    prices: &'a Prices,
    /// Its memory in GB.
    gb: f64,
    none: F,
}

impl<F> Priced<'_, F> {
    fn bill(&self, usage: &Usage) -> Result<Bill> {
        usage
            .bill(self.prices)
            .map_err(|e| Error::Settings(e.to_string()))
    }
}
