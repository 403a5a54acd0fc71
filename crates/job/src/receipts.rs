//! The receipts of a run, and what remains to be processed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::spec::Batch;
use crate::wire::{Receipt, Sizing, Timings};

/// The receipts of a run, in the order of the input.
///
/// A batch has one receipt, or several if it was split.
///
/// Receipts grow with the input, so memory is shared: clones share the receipts, and receipts share their names.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// By batch and offset.
    ranges: BTreeMap<(u64, u64), Arc<Receipt>>,
    /// Interned names of environments, engines and stages, and sizings.
    names: HashSet<Arc<str>>,
    sizings: Vec<Arc<Sizing>>,
}

impl PartialEq for Receipts {
    fn eq(&self, other: &Self) -> bool {
        self.ranges == other.ranges
    }
}

impl Receipts {
    /// Adds a receipt, unless there is one for the same offset.
    pub fn insert(&mut self, mut receipt: Receipt) {
        let place = (receipt.batch, receipt.offset);
        let names = [&mut receipt.environment, &mut receipt.engine];
        for name in names.into_iter().chain(receipt.timings.stages.names_mut()) {
            match self.names.get(name) {
                Some(known) => *name = known.clone(),
                None => drop(self.names.insert(name.clone())),
            }
        }
        if let Some(sizing) = &mut receipt.sizing {
            match self.sizings.iter().find(|known| *known == sizing) {
                Some(known) => *sizing = known.clone(),
                None => self.sizings.push(sizing.clone()),
            }
        }
        self.ranges
            .entry(place)
            .or_insert_with(|| Arc::new(receipt));
    }

    /// The receipt of the range of a batch that begins at `offset`.
    pub fn get(&self, batch: u64, offset: u64) -> Option<&Arc<Receipt>> {
        self.ranges.get(&(batch, offset))
    }

    /// Removes a receipt.
    pub fn remove(&mut self, batch: u64, offset: u64) {
        self.ranges.remove(&(batch, offset));
    }

    /// Adds all receipts of `others`.
    pub fn merge(&mut self, others: Self) {
        self.extend(others.ranges.into_values().map(Arc::unwrap_or_clone));
    }

    /// The receipts, in the order of the input.
    pub fn values(&self) -> impl Iterator<Item = &Receipt> {
        self.ranges.values().map(|receipt| &**receipt)
    }

    /// Number of receipts.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are no receipts.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of finished batches.
    pub fn finished_batches(&self) -> u64 {
        let mut finished = 0;
        let mut next = (0, 0);
        for receipt in self.values() {
            if receipt.batch != next.0 {
                next = (receipt.batch, 0);
            }
            if receipt.offset == next.1 {
                next.1 += receipt.records;
                finished += u64::from(receipt.remaining == 0);
            }
        }
        finished
    }

    /// Number of records in all ranges.
    pub fn records(&self) -> u64 {
        self.values().map(|receipt| receipt.records).sum()
    }

    /// Drops the receipts that do not belong to `batches`, which must be sorted, or that overlap with the range before them.
    /// A range after a gap is kept.
    pub fn retain_ranges_of(&mut self, batches: &[Batch]) {
        let mut next = (0, 0);
        self.ranges.retain(|(batch, offset), receipt| {
            if *batch != next.0 {
                next = (*batch, 0);
            }
            let planned = batches.binary_search_by_key(batch, |planned| planned.index);
            let end = planned
                .ok()
                .and_then(|found| end_in(&batches[found], receipt));
            match end {
                Some(end) if *offset >= next.1 => {
                    next.1 = end;
                    true
                }
                _ => false,
            }
        });
    }

    /// The receipts of the records to process of `batch`: ranges in order, without overlaps, possibly with gaps.
    pub fn ranges_of<'a>(&'a self, batch: &'a Batch) -> impl Iterator<Item = &'a Receipt> {
        let mut next = batch.offset;
        self.between(batch).filter(move |receipt| {
            let end = end_in(batch, receipt).filter(|_| receipt.offset >= next);
            next = end.unwrap_or(next);
            end.is_some()
        })
    }

    /// All receipts whose range begins among the records to process of `batch`, including overlapping ones.
    pub fn between(&self, batch: &Batch) -> impl Iterator<Item = &Receipt> {
        let (index, start) = (batch.index, batch.offset);
        let end = batch.end().max(start);
        let there = self.ranges.range((index, start)..(index, end));
        there.map(|(_, receipt)| &**receipt)
    }

    /// The records of `batch` that remain to be processed, as ranges `start..end`.
    fn gaps(&self, batch: &Batch) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = batch.offset;
        for receipt in self.ranges_of(batch) {
            if receipt.offset > next {
                gaps.push((next, receipt.offset));
            }
            next = receipt.offset + receipt.records;
        }
        if next < batch.end() {
            gaps.push((next, batch.end()));
        }
        gaps
    }

    /// Whether all records to process of a batch are done.
    pub fn covers(&self, batch: &Batch) -> bool {
        self.gaps(batch).is_empty()
    }

    /// What remains of `batches`: those without receipts, and the gaps of the others.
    pub fn open<'a>(&self, batches: &'a [Batch]) -> Vec<Cow<'a, Batch>> {
        let open = batches.iter().flat_map(|batch| {
            let gaps = self.gaps(batch).into_iter();
            gaps.map(move |gap| match gap {
                whole if whole == (batch.offset, batch.end()) => Cow::Borrowed(batch),
                (offset, end) => Cow::Owned(batch.range(offset, end)),
            })
        });
        open.collect()
    }
}

impl Extend<Receipt> for Receipts {
    fn extend<I: IntoIterator<Item = Receipt>>(&mut self, receipts: I) {
        for receipt in receipts {
            self.insert(receipt);
        }
    }
}

/// Whether the numbers of an untrusted receipt are plausible, so that sums of them do not overflow.
pub(crate) fn is_plausible(receipt: &Receipt) -> bool {
    /// Maximum number of records, units, bytes or milliseconds of one batch.
    const MOST: u64 = 1 << 40;
    let letters = receipt.dead_letters.as_ref();
    let counts = [
        receipt.offset,
        receipt.remaining,
        receipt.records,
        receipt.units,
        receipt.part.bytes,
        letters.map_or(0, |letters| letters.bytes),
    ];
    let Timings {
        init,
        read,
        stages,
        write,
        total,
    } = &receipt.timings;
    let times = [*init, *read, *write, *total].into_iter();
    let mut times = times
        .chain(stages.iter().map(|(_, ms)| ms))
        .chain(receipt.billed_ms);
    counts.into_iter().all(|count| count <= MOST)
        // 35,000 years
        && receipt.started_unix_ms < 1 << 50
        && receipt.quarantined <= receipt.failed
        && receipt.failed <= receipt.records
        && receipt.metrics.are_at_most(MOST)
        && times.all(|ms| (0.0..=MOST as f64).contains(&ms))
}

/// The end of the range in `batch`, if it belongs to it.
fn end_in(batch: &Batch, receipt: &Receipt) -> Option<u64> {
    let end = receipt.offset.checked_add(receipt.records)?;
    let all = end.checked_add(receipt.remaining)?;
    (end > receipt.offset && all == batch.records).then_some(end)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn receipt(batch: u64, offset: u64, records: u64, remaining: u64) -> Receipt {
        Receipt {
            batch,
            offset,
            remaining,
            attempt: 1,
            records,
            ..Receipt::default()
        }
    }

    fn batches() -> Vec<Batch> {
        (0..4)
            .map(|index| Batch {
                index,
                records: 10,
                ..Batch::default()
            })
            .collect()
    }

    fn open(receipts: &Receipts, batches: &[Batch]) -> Vec<(u64, u64, u64)> {
        let open = receipts.open(batches);
        open.iter().map(|b| (b.index, b.offset, b.end())).collect()
    }

    #[test]
    fn gaps_between_ranges_are_open() {
        let mut receipts = Receipts::default();
        receipts.extend([
            receipt(0, 0, 10, 0),
            receipt(1, 0, 4, 6),
            receipt(1, 4, 3, 3),
            receipt(2, 2, 1, 7),
            receipt(2, 5, 3, 2),
            receipt(3, 0, 9, 1),
            receipt(3, 9, 1, 0),
        ]);
        let batches = batches();
        let all = receipts.clone();
        receipts.retain_ranges_of(&batches);
        assert_eq!(receipts, all);
        assert_eq!(
            open(&receipts, &batches),
            [(1, 7, 10), (2, 0, 2), (2, 3, 5), (2, 8, 10)]
        );
        assert_eq!(receipts.finished_batches(), 2);
    }

    #[test]
    fn overlapping_and_invalid_ranges_are_dropped() {
        let mut receipts = Receipts::default();
        receipts.extend([
            receipt(0, 0, 7, 3),
            receipt(0, 5, 3, 2), // from another split
            receipt(0, 8, 2, 0),
            receipt(1, 3, 0, 7),        // empty
            receipt(2, 0, 11, 0),       // more records than planned
            receipt(3, 0, u64::MAX, 2), // overflow
            receipt(9, 0, 10, 0),       // no such batch
        ]);
        let batches = batches();
        let left = [(0, 7, 8), (1, 0, 10), (2, 0, 10), (3, 0, 10)];
        assert_eq!(open(&receipts, &batches), left);
        receipts.retain_ranges_of(&batches);
        assert_eq!(open(&receipts, &batches), left);
        let kept: Vec<_> = receipts.values().map(|r| (r.batch, r.offset)).collect();
        assert_eq!(kept, [(0, 0), (0, 8)]);
        assert_eq!(receipts.finished_batches(), 0);
    }

    #[test]
    fn ranges_of_a_batch_are_covered_separately() {
        let mut receipts = Receipts::default();
        receipts.extend([receipt(0, 4, 3, 3)]);
        let batch = &batches()[0];
        for (range, is_covered) in [
            ((4, 7), true),
            ((5, 7), false),
            ((3, 7), false),
            ((7, 7), true),
        ] {
            let range = batch.range(range.0, range.1);
            assert_eq!(receipts.covers(&range), is_covered, "{range:?}");
        }
        let range = [batch.range(2, 9)];
        assert_eq!(open(&receipts, &range), [(0, 2, 4), (0, 7, 9)]);
    }

    #[test]
    fn implausible_numbers_are_detected() {
        assert!(is_plausible(&receipt(0, 0, 10, 0)));
        let wrong: [fn(&mut Receipt); 8] = [
            |r| r.failed = 11,
            |r| r.quarantined = 1,
            |r| r.units = u64::MAX,
            |r| r.part.bytes = u64::MAX,
            |r| r.started_unix_ms = u64::MAX,
            |r| r.timings.stages.add("model", -1.0),
            |r| r.billed_ms = Some(1e300),
            |r| {
                r.metrics.add(&["a", "b"], u64::MAX);
                r.metrics.add(&["a", "c"], 2);
            },
        ];
        for change in wrong {
            let mut receipt = receipt(0, 0, 10, 0);
            change(&mut receipt);
            assert!(!is_plausible(&receipt), "{receipt:?}");
        }
    }

    /// A receipt that is returned must equal the one that is stored.
    #[test]
    fn numbers_are_serialized_exactly() {
        let mut receipt = receipt(0, 0, 10, 0);
        receipt.timings.total = 1.674_407_370_737_099_8;
        receipt.billed_ms = Some(0.1 + 0.2);
        let file = serde_json::to_vec(&receipt).unwrap();
        assert_eq!(serde_json::from_slice::<Receipt>(&file).unwrap(), receipt);
    }

    #[test]
    fn names_and_copies_are_shared() {
        let mut receipts = Receipts::default();
        for batch in 0..3 {
            receipts.insert(Receipt {
                environment: "one".into(),
                engine: "one".into(),
                ..receipt(batch, 0, 10, 0)
            });
        }
        let first = receipts.get(0, 0).unwrap();
        for other in receipts.values() {
            assert!(Arc::ptr_eq(&first.environment, &other.environment));
            assert!(Arc::ptr_eq(&first.environment, &other.engine));
        }
        let copy = receipts.clone();
        assert_eq!(copy, receipts);
        let of = |receipts: &Receipts| receipts.get(2, 0).cloned().unwrap();
        assert!(Arc::ptr_eq(&of(&copy), &of(&receipts)));
    }

    #[test]
    fn the_first_receipt_of_a_range_is_kept() {
        let mut receipts = Receipts::default();
        receipts.insert(receipt(0, 0, 10, 0));
        receipts.insert(receipt(0, 0, 4, 6));
        assert_eq!(receipts.get(0, 0).unwrap().records, 10);
    }
}
