//! The cost of functions, and of a run from what it recorded.

use std::path::Path;

use shoal_estimate::{Architecture, Basis, Bill, Prices, Usage};
use shoal_job::Job;
use shoal_job::wire::Sizing;
use shoal_report::{RunState, Totals};

use crate::platform::Children;
use crate::{Error, Machine, Result};

/// Duration of a child of a Distributed Map beyond the function's. Assumed.
pub(crate) const CHILD_SECONDS: f64 = 0.1;
/// State transitions of a Standard child: its three states and its start. Assumed.
pub(crate) const TRANSITIONS: f64 = 4.0;
/// Memory for which an Express execution is billed, in GB. Assumed.
const EXPRESS_GB: f64 = 0.0625;
/// Writes per batch: part and receipt.
const PUTS_PER_BATCH: f64 = 2.0;
/// Reads per batch: its slice, the receipt, and the part when it is verified and when it is joined.
const GETS_PER_BATCH: f64 = 4.0;

/// The region whose prices apply by default.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";

/// The prices of `file`, or the built-in ones.
///
/// # Errors
/// The file cannot be read or is invalid.
pub fn prices(file: Option<&Path>) -> Result<Prices> {
    Ok(file.map_or_else(|| Ok(Prices::aws()), Prices::read)?)
}

/// A Lambda function and its prices.
pub(crate) struct PricedFunction<'a> {
    pub(crate) prices: &'a Prices,
    pub(crate) region: &'a str,
    pub(crate) architecture: Architecture,
    pub(crate) memory_mb: u32,
}

impl<'a> PricedFunction<'a> {
    pub(crate) fn of(sizing: &'a Sizing, prices: &'a Prices) -> Result<Self> {
        let architecture = sizing.architecture.parse();
        Ok(Self {
            prices,
            region: &sizing.region,
            architecture: architecture
                .map_err(|reason| Error::Settings(format!("failed to price a call: {reason}")))?,
            memory_mb: sizing.memory_mb,
        })
    }

    pub(crate) fn no_usage(&self, basis: Basis) -> Usage {
        Usage::none(self.region, self.architecture, basis)
    }

    /// The usage of `calls` calls: `seconds` are billed in all, `init_seconds` of them for cold starts.
    pub(crate) fn usage(&self, basis: Basis, calls: f64, seconds: f64, init_seconds: f64) -> Usage {
        let gb = f64::from(self.memory_mb) / 1024.0;
        Usage {
            compute_gb_s: (seconds - init_seconds).max(0.0) * gb,
            init_gb_s: init_seconds * gb,
            requests: calls,
            ..self.no_usage(basis)
        }
    }

    pub(crate) fn bill(&self, usage: &Usage) -> Result<Bill> {
        Ok(usage.bill(self.prices)?)
    }
}

/// Adds the store requests of `batches` batches.
pub(crate) fn add_store_requests(usage: &mut Usage, batches: f64) {
    usage.puts += batches * PUTS_PER_BATCH;
    usage.gets += batches * GETS_PER_BATCH;
}

/// Adds `count` children of a Distributed Map that take `seconds` together.
pub(crate) fn add_children(usage: &mut Usage, children: Children, count: f64, seconds: f64) {
    match children {
        Children::Standard => usage.transitions += count * TRANSITIONS,
        Children::Express => {
            usage.express_requests += count;
            usage.express_gb_s += seconds * EXPRESS_GB;
        }
    }
}

/// The bill of a run from what it recorded: the sums over its receipts, and its state according to its events. `machine` is
/// the one that it ran on, if its price is known. `None` if nothing that was used has a price.
///
/// # Errors
/// `prices` has no price for something that was used.
pub(crate) fn bill(
    job: &Job,
    totals: &Totals,
    state: &RunState,
    machine: Option<&Machine>,
    children: Option<Children>,
    prices: &Prices,
) -> Result<Option<Bill>> {
    if let Some(machine) = machine.filter(|_| totals.functions.is_empty()) {
        let seconds = state.seconds_at_work();
        return Ok(Some(machine.bill(seconds, Basis::Measured)));
    }
    let mut whole: Option<Bill> = None;
    for (index, (sizing, calls)) in totals.functions.iter().enumerate() {
        let function = PricedFunction::of(sizing, prices)?;
        let basis = if calls.measured == calls.count {
            Basis::Measured
        } else {
            Basis::Predicted
        };
        let (count, seconds) = (calls.count as f64, calls.billed_ms / 1e3);
        let mut usages = vec![function.usage(basis, count, seconds, calls.init_ms / 1e3)];
        if let Some(children) = children {
            let mut usage = function.no_usage(Basis::Assumed);
            let child_seconds = seconds + count * CHILD_SECONDS;
            add_children(&mut usage, children, count, child_seconds);
            usages.push(usage);
        }
        for usage in &usages {
            extend(&mut whole, function.bill(usage)?);
        }
        if index == 0 {
            // The events do not say which of several functions failed.
            extend(&mut whole, failures(state, &function)?);
            for usage in store(job, totals, &function) {
                extend(&mut whole, function.bill(&usage)?);
            }
        }
    }
    Ok(whole)
}

/// Failed attempts. The caller waited at least as long as the billed time.
fn failures(state: &RunState, function: &PricedFunction<'_>) -> Result<Bill> {
    let failed = &state.failed_calls;
    let seconds = failed.ms as f64 / 1e3;
    let usage = function.usage(Basis::Assumed, failed.timed as f64, seconds, 0.0);
    let mut bill = function.bill(&usage)?;
    for item in &mut bill.items {
        item.name = format!("failed attempts: {}", item.name);
    }
    Ok(bill)
}

/// Requests of the object store, and storage for a month.
fn store(job: &Job, totals: &Totals, function: &PricedFunction<'_>) -> [Usage; 2] {
    let mut requests = function.no_usage(Basis::Predicted);
    add_store_requests(&mut requests, totals.receipts as f64);
    let sources = job.sources.iter();
    let input: u64 = sources.map(|source| source.identity.bytes).sum();
    let stored = Usage {
        stored_gb_months: (input + totals.part_bytes) as f64 / 1e9,
        ..function.no_usage(Basis::Assumed)
    };
    [requests, stored]
}

fn extend(whole: &mut Option<Bill>, bill: Bill) {
    match whole {
        Some(whole) => whole.items.extend(bill.items),
        None => *whole = Some(bill),
    }
}
