//! What a run has cost, from what it recorded.

use std::collections::{BTreeMap, HashMap};

use shoal_estimate::{Architecture, Basis, Bill, Prices, Usage};
use shoal_job::wire::{FailureKind, Receipt, Sizing};
use shoal_job::{Event, Job, Receipts, RunDir};

use crate::plan::candidates::{
    CHILD_SECONDS, EXPRESS_GB, GETS_PER_BATCH, PUTS_PER_BATCH, TRANSITIONS,
};
use crate::{Children, Error, Machine, Result};

/// What a run recorded of itself.
pub(crate) struct Recorded<'a> {
    pub(crate) job: &'a Job,
    pub(crate) spent: &'a Spent,
    pub(crate) history: &'a History,
    /// The machine at a price that it ran on.
    pub(crate) machine: Option<&'a Machine>,
    /// How a Distributed Map ran its children, where one did.
    pub(crate) children: Option<Children>,
}

/// What invocations that were answered took.
#[derive(Debug, Default)]
pub struct Spent {
    /// By memory, architecture and region of the function, where it ran on a platform that bills.
    by_sizing: BTreeMap<(u32, String, String), Calls>,
    receipts: u64,
    part_bytes: u64,
}

#[derive(Debug, Default)]
struct Calls {
    number: u64,
    init_ms: f64,
    /// With that.
    all_ms: f64,
    /// Of how many the platform told what it bills.
    told: u64,
}

impl Spent {
    pub fn of(receipts: &Receipts) -> Self {
        let mut spent = Self::default();
        receipts.values().for_each(|receipt| spent.add(receipt));
        spent
    }

    pub(crate) fn add(&mut self, receipt: &Receipt) {
        self.receipts += 1;
        self.part_bytes += receipt.part.bytes;
        if let Some(Sizing {
            memory_mb,
            architecture,
            region,
        }) = receipt.sizing.as_deref()
        {
            let sizing = (*memory_mb, architecture.clone(), region.clone());
            let calls = self.by_sizing.entry(sizing).or_default();
            calls.number += 1;
            calls.init_ms += init_ms(receipt);
            calls.all_ms += billed_ms(receipt);
            calls.told += u64::from(receipt.billed_ms.is_some());
        }
    }
}

impl Recorded<'_> {
    /// The bill; `None` where nothing that was used has a price.
    ///
    /// # Errors
    /// The prices lack something that was used.
    pub(crate) fn bill(&self, prices: &Prices) -> Result<Option<Bill>> {
        if self.spent.by_sizing.is_empty() {
            let seconds = self.history.seconds_at_work();
            return Ok(self
                .machine
                .map(|machine| machine.bill(seconds, Basis::Measured)));
        }
        let mut whole: Option<Bill> = None;
        let mut is_first = true;
        for ((memory_mb, architecture, region), calls) in &self.spent.by_sizing {
            let architecture: Architecture = architecture.parse().map_err(|reason: String| {
                Error::Settings(format!("failed to price a receipt: {reason}"))
            })?;
            let priced = Priced {
                prices,
                gb: f64::from(*memory_mb) / 1024.0,
                none: |basis| Usage::none(region.as_str(), architecture, basis),
            };
            let mut bill = self.functions(&priced, calls)?;
            if std::mem::take(&mut is_first) {
                // Which of several functions failed is not recorded.
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

    /// Invocations that were answered.
    fn functions(
        &self,
        priced: &Priced<'_, impl Fn(Basis) -> Usage>,
        calls: &Calls,
    ) -> Result<Bill> {
        let basis = if calls.told == calls.number {
            Basis::Measured
        } else {
            Basis::Predicted
        };
        let Calls {
            init_ms, all_ms, ..
        } = *calls;
        let calls = calls.number as f64;
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
    fn failures(&self, priced: &Priced<'_, impl Fn(Basis) -> Usage>) -> Result<Bill> {
        let usage = Usage {
            compute_gb_s: self.history.failed_ms as f64 / 1e3 * priced.gb,
            requests: self.history.failed as f64,
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
        let calls = self.spent.receipts as f64;
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
            stored_gb_months: (input + self.spent.part_bytes) as f64 / 1e9,
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

/// What events tell of time and of failures, as far as it costs something.
#[derive(Debug, Default)]
pub struct History {
    /// When the calls of this start were made that have no answer yet, by worker.
    called: HashMap<usize, u64>,
    /// Attempts that may have been billed and left no receipt …
    failed: u64,
    /// … and their milliseconds from the call to the answer.
    failed_ms: u64,
    under_way: u64,
    unknown: u64,
    /// Milliseconds at work in the starts before.
    busy_ms: u64,
    /// The beginning of this start, and the last thing that happened in it.
    current: Option<(u64, u64)>,
}

impl History {
    /// What the events of `run` tell.
    pub fn read(run: &RunDir) -> Result<Self> {
        let mut history = Self::default();
        run.each_event(&mut |at, event| history.add(at, &event))?;
        Ok(history)
    }

    pub fn of(events: &[(u64, Event)]) -> Self {
        let mut history = Self::default();
        events
            .iter()
            .for_each(|(at, event)| history.add(*at, event));
        history
    }

    fn add(&mut self, at: u64, event: &Event) {
        self.count(at, event);
        if matches!(event, Event::Started { .. }) {
            self.end_of_start();
            self.current = Some((at, at));
        } else if matches!(event, Event::Planning { .. } | Event::Planned { .. }) {
            // Of the next start, which comes whenever it comes.
            self.end_of_start();
        } else if let Some((_, last)) = &mut self.current {
            *last = (*last).max(at);
        }
    }

    fn count(&mut self, at: u64, event: &Event) {
        match event {
            Event::Started { .. } => self.called.clear(),
            Event::Dispatched { worker, .. } => {
                self.called.insert(*worker, at);
                self.under_way += 1;
            }
            Event::Finished { worker, .. } => {
                self.called.remove(worker);
                self.under_way = self.under_way.saturating_sub(1);
            }
            Event::Failed { worker, .. } | Event::Superseded { worker, .. } => {
                let call = self.called.remove(worker);
                self.under_way = self.under_way.saturating_sub(1);
                let is_billed = !matches!(
                    event,
                    Event::Failed {
                        kind: FailureKind::Throttled | FailureKind::Refused,
                        ..
                    }
                );
                if is_billed {
                    self.unknown += 1;
                    if let Some(call) = call {
                        self.failed += 1;
                        self.failed_ms += at.saturating_sub(call);
                    }
                }
            }
            _ => {}
        }
    }

    fn end_of_start(&mut self) {
        if let Some((start, last)) = self.current.take() {
            self.busy_ms += last.saturating_sub(start);
        }
    }

    /// Calls of which nobody knows what they cost: those that failed, but for ones that the platform did not take, and those
    /// that were never answered.
    pub(crate) fn calls_of_unknown_cost(&self) -> u64 {
        self.under_way + self.unknown
    }

    /// Seconds from each start of a run to the last thing that happened in it.
    pub(crate) fn seconds_at_work(&self) -> f64 {
        let current = self
            .current
            .map_or(0, |(start, last)| last.saturating_sub(start));
        (self.busy_ms + current) as f64 / 1e3
    }
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
        assert_eq!(History::of(&events).seconds_at_work(), 4.0);
        assert_eq!(History::default().seconds_at_work(), 0.0);
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
        let history = History::of(&events);
        assert_eq!((history.failed, history.failed_ms), (2, 700));
        assert_eq!(history.calls_of_unknown_cost(), 2);
        // One that was never answered.
        assert_eq!(History::of(&events[..5]).calls_of_unknown_cost(), 2);
    }
}
