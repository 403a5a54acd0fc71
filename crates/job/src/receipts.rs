//! What is done of a run, and what is left.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::spec::Batch;
use crate::wire::{Receipt, Timings};

/// The receipts of a run, in the order of the input.
///
/// A batch has one receipt, but where a function ran out of time: then each receipt begins where the one before ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Receipts {
    /// By batch and offset.
    pieces: BTreeMap<(u64, u64), Receipt>,
}

impl Receipts {
    /// Takes a receipt. The first one of a piece stands, as its part does.
    pub fn insert(&mut self, receipt: Receipt) {
        let place = (receipt.batch, receipt.offset);
        self.pieces.entry(place).or_insert(receipt);
    }

    /// The receipt of the piece of a batch that begins after `offset` records.
    pub fn get(&self, batch: u64, offset: u64) -> Option<&Receipt> {
        self.pieces.get(&(batch, offset))
    }

    /// Forgets a receipt.
    pub fn remove(&mut self, batch: u64, offset: u64) {
        self.pieces.remove(&(batch, offset));
    }

    /// Takes those of another run's reading.
    pub fn merge(&mut self, others: Self) {
        self.extend(others.pieces.into_values());
    }

    /// The receipts, in the order of the input.
    pub fn values(&self) -> impl Iterator<Item = &Receipt> {
        self.pieces.values()
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

/// Whether the numbers of a receipt can be true, such that nobody has to take care when they are added up.
pub(crate) fn is_plausible(receipt: &Receipt) -> bool {
    /// Of records, tokens, bytes or milliseconds in one batch.
    const MOST: u64 = 1 << 40;
    let Receipt {
        offset,
        remaining,
        records,
        failed,
        truncated,
        tokens,
        part,
        dead_letters,
        started_unix_ms,
        timings,
        billed_ms,
        confusion,
        ..
    } = receipt;
    let letters = dead_letters.as_ref().map_or(0, |letters| letters.bytes);
    let counts = [offset, remaining, records, tokens, &part.bytes, &letters];
    let Timings {
        init,
        read,
        tokenize,
        model,
        write,
        total,
    } = timings;
    let times = [init, read, tokenize, model, write, total];
    let compared = confusion
        .values()
        .flat_map(BTreeMap::values)
        .try_fold(0u64, |sum, count| sum.checked_add(*count));
    counts.into_iter().all(|count| *count <= MOST)
        // 35,000 years
        && *started_unix_ms < 1 << 50
        && failed <= records
        && truncated <= records
        && compared.is_some_and(|compared| compared <= *records)
        && times
            .into_iter()
            .chain(billed_ms)
            .all(|ms| (0.0..=MOST as f64).contains(ms))
}

/// Where a piece ends in its batch, and how many records the batch has by it.
fn end(receipt: &Receipt) -> Option<(u64, u64)> {
    let end = receipt.offset.checked_add(receipt.records)?;
    Some((end, end.checked_add(receipt.remaining)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Stored;

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
            environment: String::new(),
            cold: false,
            peak_memory_bytes: None,
            billed_ms: None,
            sizing: None,
            isa: String::new(),
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
    fn numbers_that_cannot_be_true_are_noticed() {
        assert!(is_plausible(&receipt(0, 0, 10, 0)));
        let wrong: [fn(&mut Receipt); 8] = [
            |r| r.failed = 11,
            |r| r.truncated = 11,
            |r| r.tokens = u64::MAX,
            |r| r.part.bytes = u64::MAX,
            |r| r.started_unix_ms = u64::MAX,
            |r| r.timings.model = -1.0,
            |r| r.billed_ms = Some(1e300),
            |r| {
                let counts = [("a".into(), u64::MAX), ("b".into(), 2)];
                r.confusion.insert("a".into(), counts.into());
            },
        ];
        for change in wrong {
            let mut receipt = receipt(0, 0, 10, 0);
            change(&mut receipt);
            assert!(!is_plausible(&receipt), "{receipt:?}");
        }
    }

    #[test]
    fn the_first_receipt_of_a_piece_stands() {
        let mut receipts = Receipts::default();
        receipts.insert(receipt(0, 0, 10, 0));
        receipts.insert(receipt(0, 0, 4, 6));
        assert_eq!(receipts.get(0, 0).unwrap().records, 10);
    }
}
