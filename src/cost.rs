//! What a run has cost, from what it recorded.

use std::collections::{BTreeMap, HashMap};

use shoal_job::wire::{FailureKind, Receipt, Sizing};
use shoal_job::{Event, Job, Receipts};
use shoal_plan::{Architecture, Basis, Bill, Prices, Usage};

use crate::plan::ways::{CHILD_SECONDS, EXPRESS_GB, GETS_PER_BATCH, PUTS_PER_BATCH, TRANSITIONS};
use crate::{Children, Error, Machine, Result};

/// What a run recorded of itself.
pub(crate) struct Recorded<'a> {
    pub(crate) job: &'a Job,
    pub(crate) receipts: &'a Receipts,
    pub(crate) events: &'a [(u64, Event)],
    /// The machine at a price that it ran on.
    pub(crate) machine: Option<&'a Machine>,
    /// How a Distributed Map ran its children, where one did.
    pub(crate) children: Option<Children>,
}

impl Recorded<'_> {
    /// The bill; `None` where nothing that was used has a price.
    ///
    /// # Errors
    /// The prices lack something that was used.
    pub(crate) fn bill(&self, prices: &Prices) -> Result<Option<Bill>> {
        let mut by_sizing: BTreeMap<(u32, &str, &str), Vec<&Receipt>> = BTreeMap::new();
        for receipt in self.receipts.values() {
            if let Some(Sizing {
                memory_mb,
                architecture,
                region,
            }) = receipt.sizing.as_deref()
            {
                let sizing = (*memory_mb, architecture.as_str(), region.as_str());
                by_sizing.entry(sizing).or_default().push(receipt);
            }
        }
        if by_sizing.is_empty() {
            let seconds = seconds_at_work(self.events);
            return Ok(self
                .machine
                .map(|machine| machine.bill(seconds, Basis::Measured)));
        }
        let failed = failed_attempts(self.events);
        let mut whole: Option<Bill> = None;
        let mut is_first = true;
        for ((memory_mb, architecture, region), receipts) in by_sizing {
            let architecture: Architecture = architecture.parse().map_err(|reason: String| {
                Error::Settings(format!("failed to price a receipt: {reason}"))
            })?;
            let priced = Priced {
                prices,
                gb: f64::from(memory_mb) / 1024.0,
                none: |basis| Usage::none(region, architecture, basis),
            };
            let mut bill = self.functions(&priced, &receipts)?;
            if std::mem::take(&mut is_first) {
                // Which of several functions failed is not recorded.
                bill.items.extend(self.failures(&priced, &failed)?.items);
                bill.items.extend(self.store(&priced)?.items);
            }
            match &mut whole {
                None => whole = Some(bill),
                Some(whole) => whole.items.extend(bill.items),
            }
        }
        Ok(whole)
    }

    /// Invocations that were answered.
    fn functions(
        &self,
        priced: &Priced<'_, impl Fn(Basis) -> Usage>,
        receipts: &[&Receipt],
    ) -> Result<Bill> {
        let is_told = receipts.iter().all(|receipt| receipt.billed_ms.is_some());
        let basis = if is_told {
            Basis::Measured
        } else {
            Basis::Predicted
        };
        let calls = receipts.len() as f64;
        let init_ms: f64 = receipts.iter().map(|receipt| init_ms(receipt)).sum();
        let all_ms: f64 = receipts.iter().map(|receipt| billed_ms(receipt)).sum();
        let mut usage = Usage {
            compute_gb_s: (all_ms - init_ms).max(0.0) / 1e3 * priced.gb,
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
                usage.express_gb_s = (all_ms / 1e3 + calls * CHILD_SECONDS) * EXPRESS_GB;
            }
        }
        bill.items.extend(priced.bill(&usage)?.items);
        Ok(bill)
    }

    /// Attempts that failed: from the call to the failure, as the caller saw it, and so at most what was billed.
    fn failures(
        &self,
        priced: &Priced<'_, impl Fn(Basis) -> Usage>,
        failed_ms: &[f64],
    ) -> Result<Bill> {
        let usage = Usage {
            compute_gb_s: failed_ms.iter().sum::<f64>() / 1e3 * priced.gb,
            requests: failed_ms.len() as f64,
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
        let calls = self.receipts.len() as f64;
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
        let parts: u64 = self
            .receipts
            .values()
            .map(|receipt| receipt.part.bytes)
            .sum();
        let stored = Usage {
            stored_gb_months: (input + parts) as f64 / 1e9,
            ..(priced.none)(Basis::Assumed)
        };
        let mut bill = priced.bill(&requests)?;
        bill.items.extend(priced.bill(&stored)?.items);
        Ok(bill)
    }
}

/// A function's prices.
struct Priced<'a, F> {
    prices: &'a Prices,
    /// Its memory.
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

/// What is billed for the start of the environment.
fn init_ms(receipt: &Receipt) -> f64 {
    if receipt.cold {
        receipt.timings.init
    } else {
        0.0
    }
}

/// What is billed for an invocation: as the platform says, or else what the function took, by whole milliseconds.
pub(crate) fn billed_ms(receipt: &Receipt) -> f64 {
    let took = || (receipt.timings.total + init_ms(receipt)).ceil();
    receipt.billed_ms.unwrap_or_else(took)
}

/// Milliseconds from the call to the answer of each attempt that may have been billed and left no receipt.
fn failed_attempts(events: &[(u64, Event)]) -> Vec<f64> {
    let mut called: HashMap<usize, u64> = HashMap::new();
    let mut failed = Vec::new();
    for (at, event) in events {
        match event {
            Event::Started { .. } => called.clear(),
            Event::Dispatched { worker, .. } => {
                called.insert(*worker, *at);
            }
            Event::Finished { worker, .. } => {
                called.remove(worker);
            }
            Event::Failed { worker, .. } | Event::Superseded { worker, .. } => {
                let call = called.remove(worker);
                let is_billed = !matches!(
                    event,
                    Event::Failed {
                        kind: FailureKind::Throttled | FailureKind::Refused,
                        ..
                    }
                );
                if let (Some(call), true) = (call, is_billed) {
                    failed.push(at.saturating_sub(call) as f64);
                }
            }
            _ => {}
        }
    }
    failed
}

/// Calls of which nobody knows what they cost: those that failed, but for ones that the platform did not take, and those that
/// were never answered.
pub(crate) fn calls_of_unknown_cost(events: &[(u64, Event)]) -> u64 {
    let mut under_way = 0_u64;
    let mut failed = 0;
    for (_, event) in events {
        match event {
            Event::Dispatched { .. } => under_way += 1,
            Event::Finished { .. } => under_way = under_way.saturating_sub(1),
            Event::Superseded { .. } => {
                under_way = under_way.saturating_sub(1);
                failed += 1;
            }
            Event::Failed { kind, .. } => {
                under_way = under_way.saturating_sub(1);
                failed += u64::from(!matches!(
                    kind,
                    FailureKind::Throttled | FailureKind::Refused
                ));
            }
            _ => {}
        }
    }
    under_way + failed
}

/// Seconds from each start of a run to the last thing that happened in it.
pub(crate) fn seconds_at_work(events: &[(u64, Event)]) -> f64 {
    let mut total = 0;
    let mut current: Option<(u64, u64)> = None;
    for (at, event) in events {
        if matches!(event, Event::Started { .. }) {
            if let Some((start, last)) = current {
                total += last.saturating_sub(start);
            }
            current = Some((*at, *at));
        } else if matches!(event, Event::Planning { .. } | Event::Planned { .. }) {
            // Of the next start, which comes whenever it comes.
            if let Some((start, last)) = current.take() {
                total += last.saturating_sub(start);
            }
        } else if let Some((_, last)) = &mut current {
            *last = (*last).max(*at);
        }
    }
    if let Some((start, last)) = current {
        total += last.saturating_sub(start);
    }
    total as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Event {
        Event::Started {
            backend: "local".into(),
            concurrency: 1,
            reused_batches: 0,
            reused_records: 0,
        }
    }

    fn called(batch: u64, attempt: u32) -> Event {
        Event::Dispatched {
            batch,
            offset: 0,
            until: None,
            attempt,
            worker: batch as usize,
            second: false,
        }
    }

    fn failed(batch: u64, attempt: u32, kind: FailureKind) -> Event {
        Event::Failed {
            batch,
            offset: 0,
            attempt,
            worker: batch as usize,
            kind,
            reason: String::new(),
            retry: true,
        }
    }

    /// Two starts of 3 s and 1 s, with an hour between them in which nobody worked.
    #[test]
    fn time_between_starts_is_not_worked() {
        let planned = Event::Planned {
            records: 1,
            batches: 1,
        };
        let events = [
            (
                0,
                Event::Planned {
                    records: 1,
                    batches: 1,
                },
            ),
            (1_000, started()),
            (4_000, called(0, 1)),
            (3_603_000, planned),
            (3_604_000, started()),
            (
                3_605_000,
                Event::Completed {
                    results: 1,
                    failed: 0,
                },
            ),
        ];
        assert_eq!(seconds_at_work(&events), 4.0);
        assert_eq!(seconds_at_work(&[]), 0.0);
    }

    #[test]
    fn failed_attempts_are_timed_from_their_call() {
        let events = [
            (0, called(0, 1)),
            (10, called(1, 1)),
            (500, failed(0, 1, FailureKind::Crashed)),
            (600, failed(1, 1, FailureKind::Throttled)),
            (700, called(0, 2)),
            (900, failed(0, 2, FailureKind::TimedOut)),
        ];
        assert_eq!(failed_attempts(&events), [500.0, 200.0]);
        assert_eq!(calls_of_unknown_cost(&events), 2);
        // One that was never answered.
        assert_eq!(calls_of_unknown_cost(&events[..5]), 2);
    }
}
