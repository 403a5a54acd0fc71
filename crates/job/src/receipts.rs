//! What is done of a run, and what is left.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::spec::Batch;
use crate::wire::{Receipt, Sizing};

/// The receipts of a run, in the order of the input.
///
/// A batch has one receipt, but where a function ran out of time: then each receipt begins where the one before ended.
///
/// They are what grows with the input, so that much is shared: copies of this share the receipts, and receipts their names.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    /// By batch and offset.
    pieces: BTreeMap<(u64, u64), Arc<Receipt>>,
    /// Names of environments and instruction sets, and sizings, which many receipts have in common.
    names: HashSet<Arc<str>>,
    sizings: Vec<Arc<Sizing>>,
}

impl PartialEq for Receipts {
    fn eq(&self, other: &Self) -> bool {
        self.pieces == other.pieces
    }
}

impl Receipts {
    /// Takes a receipt. The first one of a piece stands, as its part does.
    pub fn insert(&mut self, mut receipt: Receipt) {
        let place = (receipt.batch, receipt.offset);
        for name in [&mut receipt.environment, &mut receipt.isa] {
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
        self.pieces
            .entry(place)
            .or_insert_with(|| Arc::new(receipt));
    }

    /// The receipt of the piece of a batch that begins after `offset` records.
    pub fn get(&self, batch: u64, offset: u64) -> Option<&Receipt> {
        self.shared(batch, offset).map(|receipt| &**receipt)
    }

    /// The same, to be kept.
    pub fn shared(&self, batch: u64, offset: u64) -> Option<&Arc<Receipt>> {
        self.pieces.get(&(batch, offset))
    }

    /// Forgets a receipt.
    pub fn remove(&mut self, batch: u64, offset: u64) {
        self.pieces.remove(&(batch, offset));
    }

    /// Takes those of another run's reading.
    pub fn merge(&mut self, others: Self) {
        self.extend(others.pieces.into_values().map(Arc::unwrap_or_clone));
    }

    /// The receipts, in the order of the input.
    pub fn values(&self) -> impl Iterator<Item = &Receipt> {
        self.pieces.values().map(|receipt| &**receipt)
    }

    /// Number of receipts.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Number of batches that are done to their end.
    pub fn finished_batches(&self) -> u64 {
        self.values()
            .filter(|receipt| receipt.remaining == 0)
            .count() as u64
    }

    /// Number of records in the parts and dead letters that the receipts vouch for.
    pub fn records(&self) -> u64 {
        self.values().map(|receipt| receipt.records).sum()
    }

    /// Drops what does not belong to `batches`, which are sorted, or does not begin where the piece before it ended.
    pub fn retain_pieces_of(&mut self, batches: &[Batch]) {
        let mut next = (0, 0);
        self.pieces.retain(|(batch, offset), receipt| {
            if *batch != next.0 {
                next = (*batch, 0);
            }
            let planned = batches
                .binary_search_by_key(batch, |planned| planned.index)
                .ok()
                .map(|found| batches[found].records);
            match end(receipt) {
                Some((end, all)) if *offset == next.1 && Some(all) == planned => {
                    next.1 = end;
                    true
                }
                _ => false,
            }
        });
    }

    /// The receipts of what is to be done of `batch`, each beginning where the one before ended, up to the first gap:
    /// what lies behind a gap may belong to a cut that was made otherwise since.
    pub fn joined<'a>(&'a self, batch: &Batch) -> impl Iterator<Item = &'a Receipt> {
        let (index, records, mut next) = (batch.index, batch.records, batch.offset);
        std::iter::from_fn(move || {
            let receipt = self.get(index, next)?;
            let (end, all) = end(receipt)?;
            let goes_on = end > next && all == records;
            next = end;
            goes_on.then_some(receipt)
        })
        .fuse()
    }

    /// How many records of a batch are done, from its first, those before its offset included.
    fn done(&self, batch: &Batch) -> u64 {
        let last = self.joined(batch).last();
        last.map_or(batch.offset, |last| last.offset + last.records)
    }

    /// Whether what is to be done of a batch is done to its end.
    pub fn covers(&self, batch: &Batch) -> bool {
        self.done(batch) >= batch.records
    }

    /// What is left of `batches`: those that have no receipt, and the rest of those that were left in the middle.
    pub fn open<'a>(&self, batches: &'a [Batch]) -> Vec<Cow<'a, Batch>> {
        let left = batches.iter().filter_map(|batch| match self.done(batch) {
            done if done >= batch.records => None,
            done if done == batch.offset => Some(Cow::Borrowed(batch)),
            done => Some(Cow::Owned(Batch {
                offset: done,
                ..batch.clone()
            })),
        });
        left.collect()
    }
}

impl Extend<Receipt> for Receipts {
    fn extend<I: IntoIterator<Item = Receipt>>(&mut self, receipts: I) {
        receipts
            .into_iter()
            .for_each(|receipt| self.insert(receipt));
    }
}

/// Where a piece ends in its batch, and how many records the batch has by it.
fn end(receipt: &Receipt) -> Option<(u64, u64)> {
    let end = receipt.offset.checked_add(receipt.records)?;
    Some((end, end.checked_add(receipt.remaining)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Stored, Timings};

    fn receipt(batch: u64, offset: u64, records: u64, remaining: u64) -> Receipt {
        Receipt {
            batch,
            offset,
            remaining,
            attempt: 1,
            records,
            failed: 0,
            truncated: 0,
            tokens: 0,
            part: Stored::of(b""),
            dead_letters: None,
            started_unix_ms: 0,
            timings: Timings::default(),
            environment: "".into(),
            cold: false,
            peak_memory_bytes: None,
            billed_ms: None,
            sizing: None,
            isa: "".into(),
            confusion: BTreeMap::new(),
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

    #[test]
    fn what_is_left_begins_where_the_pieces_end() {
        let mut receipts = Receipts::default();
        receipts.extend([
            receipt(0, 0, 10, 0),
            receipt(1, 0, 4, 6),
            receipt(1, 4, 3, 3),
            receipt(3, 0, 9, 1),
            receipt(3, 9, 1, 0),
        ]);
        receipts.retain_pieces_of(&batches());
        let batches = batches();
        let open = receipts.open(&batches);
        let open: Vec<_> = open
            .iter()
            .map(|b| (b.index, b.offset, b.records))
            .collect();
        assert_eq!(open, [(1, 7, 10), (2, 0, 10)]);
        assert_eq!(receipts.finished_batches(), 2);
    }

    #[test]
    fn pieces_that_do_not_join_are_dropped() {
        let mut receipts = Receipts::default();
        receipts.extend([
            receipt(0, 4, 6, 0), // its first piece is gone
            receipt(1, 0, 4, 6),
            receipt(1, 5, 5, 0),        // begins elsewhere
            receipt(2, 0, 11, 0),       // more than was planned
            receipt(3, 0, u64::MAX, 2), // more than there can be
            receipt(9, 0, 10, 0),       // no such batch
        ]);
        receipts.retain_pieces_of(&batches());
        let left: Vec<_> = receipts.values().map(|r| (r.batch, r.offset)).collect();
        assert_eq!(left, [(1, 0)]);
    }

    #[test]
    fn what_lies_behind_a_gap_does_not_make_a_batch_whole() {
        let mut receipts = Receipts::default();
        receipts.extend([
            receipt(0, 4, 6, 0), // its first piece is gone
            receipt(1, 0, 4, 6),
            receipt(1, 7, 3, 0),
            receipt(2, 0, 0, 10), // never ends
            receipt(3, 0, 4, 5),  // of another plan
        ]);
        let batches = batches();
        assert!(batches.iter().all(|batch| !receipts.covers(batch)));
        let open = receipts.open(&batches);
        let open: Vec<_> = open.iter().map(|b| (b.index, b.offset)).collect();
        assert_eq!(open, [(0, 0), (1, 4), (2, 0), (3, 0)]);
        let rest = Batch {
            offset: 7,
            ..batches[1].clone()
        };
        assert!(receipts.covers(&rest));
    }

    #[test]
    fn names_and_copies_are_shared() {
        let mut receipts = Receipts::default();
        for batch in 0..3 {
            receipts.insert(Receipt {
                environment: "one".into(),
                isa: "one".into(),
                ..receipt(batch, 0, 10, 0)
            });
        }
        let first = receipts.get(0, 0).unwrap();
        for other in receipts.values() {
            assert!(Arc::ptr_eq(&first.environment, &other.environment));
            assert!(Arc::ptr_eq(&first.environment, &other.isa));
        }
        let copy = receipts.clone();
        assert_eq!(copy, receipts);
        let of = |receipts: &Receipts| receipts.shared(2, 0).cloned().unwrap();
        assert!(Arc::ptr_eq(&of(&copy), &of(&receipts)));
    }

    #[test]
    fn the_first_receipt_of_a_piece_stands() {
        let mut receipts = Receipts::default();
        receipts.insert(receipt(0, 0, 10, 0));
        receipts.insert(receipt(0, 0, 4, 6));
        assert_eq!(receipts.get(0, 0).unwrap().records, 10);
    }
}
