//! The events of one start of a run, and consistency checks.

use std::collections::{BTreeMap, BTreeSet};

use shoal_job::Event;
use shoal_job::wire::FailureKind;

/// The events of one start.
pub(crate) struct EventLog {
    events: Vec<Event>,
    reports_attempts: bool,
}

impl EventLog {
    /// Checks and stores the events of a start.
    ///
    /// # Panics
    /// Panics if the events contradict each other.
    pub(crate) fn new(events: Vec<Event>, reports_attempts: bool, concurrency: usize) -> Self {
        let log = Self {
            events,
            reports_attempts,
        };
        log.check_start(concurrency);
        if reports_attempts {
            log.check_attempts(concurrency);
        }
        log
    }

    fn check_start(&self, concurrency: usize) {
        assert!(
            matches!(self.events.first(), Some(Event::Started { concurrency: c, .. }) if *c == concurrency),
            "the first event is not `Started`: {:?}",
            self.events.first()
        );
        let starts = self
            .events
            .iter()
            .filter(|event| matches!(event, Event::Started { .. }));
        assert_eq!(starts.count(), 1, "exactly one `Started` event is expected");
    }

    /// Every answer belongs to a call, attempts are numbered consecutively, and a worker has at most one call in flight.
    fn check_attempts(&self, concurrency: usize) {
        let mut next: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        let mut running: BTreeMap<usize, (u64, u64, u32)> = BTreeMap::new();
        for event in &self.events {
            match event {
                Event::Dispatched {
                    batch,
                    offset,
                    attempt,
                    worker,
                    ..
                } => {
                    let range = (*batch, *offset);
                    let expected = *next.entry(range).or_insert(1);
                    assert_eq!(*attempt, expected, "attempt at {range:?}");
                    let is_in_flight = running.values().any(|(b, o, _)| (*b, *o) == range);
                    assert!(!is_in_flight, "{range:?} is already in flight");
                    let before = running.insert(*worker, (*batch, *offset, *attempt));
                    assert_eq!(before, None, "worker {worker} is already busy");
                    assert!(running.len() <= concurrency, "too many calls in flight");
                }
                Event::Finished { worker, receipt } => {
                    let call = running.remove(worker);
                    let range = (receipt.batch, receipt.offset);
                    let called = call.map(|(batch, offset, _)| (batch, offset));
                    assert_eq!(called, Some(range), "the worker was called for this range");
                }
                Event::Failed {
                    batch,
                    offset,
                    attempt,
                    worker,
                    kind,
                    ..
                } => {
                    let call = running.remove(worker);
                    let failed = (*batch, *offset, *attempt);
                    assert_eq!(call, Some(failed), "the worker was called for this range");
                    let counts = u32::from(*kind != FailureKind::Throttled);
                    next.insert((*batch, *offset), attempt + counts);
                }
                _ => {}
            }
        }
    }

    /// The finished ranges, as batch and offset.
    ///
    /// # Panics
    /// Panics if a range was finished twice.
    pub(crate) fn finished(&self) -> BTreeSet<(u64, u64)> {
        let ranges = self.finished_ranges();
        let distinct: BTreeSet<_> = ranges.iter().copied().collect();
        assert_eq!(distinct.len(), ranges.len(), "a range is finished once");
        distinct
    }

    /// Like [`finished`](Self::finished), in the order of the events.
    pub(crate) fn finished_ranges(&self) -> Vec<(u64, u64)> {
        let ranges = self.events.iter().filter_map(|event| match event {
            Event::Finished { receipt, .. } => Some((receipt.batch, receipt.offset)),
            _ => None,
        });
        ranges.collect()
    }

    /// The number of batches that earlier starts had finished.
    pub(crate) fn reused(&self) -> u64 {
        match self.events.first() {
            Some(Event::Started { reused_batches, .. }) => *reused_batches,
            _ => unreachable!("the first event is `Started`"),
        }
    }

    /// The failures, sorted by batch and attempt: batch, attempt, kind and whether it was retried.
    pub(crate) fn failures(&self) -> Vec<(u64, u32, FailureKind, bool)> {
        let failures = self.events.iter().filter_map(|event| match event {
            Event::Failed {
                batch,
                attempt,
                kind,
                retry,
                ..
            } => Some((*batch, *attempt, *kind, *retry)),
            _ => None,
        });
        let mut failures: Vec<_> = failures.collect();
        failures.sort_by_key(|(batch, attempt, ..)| (*batch, *attempt));
        failures
    }

    /// Checks that exactly these failures were reported, if the backend reports attempts.
    pub(crate) fn assert_failures(&self, expected: &[(u64, u32, FailureKind, bool)]) {
        if self.reports_attempts {
            assert_eq!(self.failures(), expected);
        }
    }
}
