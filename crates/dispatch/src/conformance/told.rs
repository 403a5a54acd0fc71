//! The events of one start, and whether they can be true.

use std::collections::{BTreeMap, BTreeSet};

use shoal_job::Event;
use shoal_job::wire::FailureKind;

/// What a start told.
pub(super) struct Told {
    events: Vec<Event>,
    tells_attempts: bool,
}

impl Told {
    /// Takes the events of a start.
    ///
    /// # Panics
    /// They contradict each other.
    pub(super) fn new(events: Vec<Event>, tells_attempts: bool, concurrency: usize) -> Self {
        let told = Self {
            events,
            tells_attempts,
        };
        told.check_start(concurrency);
        if tells_attempts {
            told.check_attempts(concurrency);
        }
        told
    }

    fn check_start(&self, concurrency: usize) {
        assert!(
            matches!(self.events.first(), Some(Event::Started { concurrency: c, .. }) if *c == concurrency),
            "the start is told first: {:?}",
            self.events.first()
        );
        let starts = self
            .events
            .iter()
            .filter(|event| matches!(event, Event::Started { .. }));
        assert_eq!(starts.count(), 1, "a start is told once");
    }

    /// Every answer belongs to a call, attempts count up, and no environment does two things at once.
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
                    let is_under_way = running.values().any(|(b, o, _)| (*b, *o) == range);
                    assert!(!is_under_way, "{range:?} is under way already");
                    let before = running.insert(*worker, (*batch, *offset, *attempt));
                    assert_eq!(before, None, "worker {worker} has a batch already");
                    assert!(running.len() <= concurrency, "more calls than were allowed");
                }
                Event::Finished { worker, receipt } => {
                    let call = running.remove(worker);
                    let range = (receipt.batch, receipt.offset);
                    let asked = call.map(|(batch, offset, _)| (batch, offset));
                    assert_eq!(asked, Some(range), "it was called for");
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
                    assert_eq!(call, Some((*batch, *offset, *attempt)), "it was called for");
                    let counts = u32::from(*kind != FailureKind::Throttled);
                    next.insert((*batch, *offset), attempt + counts);
                }
                _ => {}
            }
        }
    }

    /// The pieces that were finished, by batch and offset.
    ///
    /// # Panics
    /// One was finished twice.
    pub(super) fn finished(&self) -> BTreeSet<(u64, u64)> {
        let ranges = self.finished_ranges();
        let distinct: BTreeSet<_> = ranges.iter().copied().collect();
        assert_eq!(distinct.len(), ranges.len(), "a piece is finished once");
        distinct
    }

    /// The same, in the order in which they were told.
    pub(super) fn finished_ranges(&self) -> Vec<(u64, u64)> {
        let ranges = self.events.iter().filter_map(|event| match event {
            Event::Finished { receipt, .. } => Some((receipt.batch, receipt.offset)),
            _ => None,
        });
        ranges.collect()
    }

    /// The batches that earlier starts had finished.
    pub(super) fn reused(&self) -> u64 {
        match self.events.first() {
            Some(Event::Started { reused_batches, .. }) => *reused_batches,
            _ => unreachable!("the start is told first"),
        }
    }

    /// The failures by batch and attempt: batch, attempt, kind and whether it was tried again.
    pub(super) fn failures(&self) -> Vec<(u64, u32, FailureKind, bool)> {
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

    /// Checks that these failures were told and no others. A backend that tells no attempts may have told none.
    pub(super) fn assert_failures(&self, expected: &[(u64, u32, FailureKind, bool)]) {
        if self.tells_attempts {
            assert_eq!(self.failures(), expected);
        }
    }
}
