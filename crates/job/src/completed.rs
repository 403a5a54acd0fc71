//! The completed ranges of a run, in a few bytes per batch.

use crate::Receipts;
use crate::wire::{BatchRange, Receipt};

/// The completed ranges of a run, in the order of the input. Hardly any batch has more than one range; a batch with one
/// takes four bytes.
#[derive(Debug, Clone, Default)]
pub struct CompletedRanges {
    /// By batch, the number of records if the batch is one range; 0 for the others.
    whole: Vec<u32>,
    /// By batch, a bit that is set if that range has dead letters.
    with_letters: Vec<u64>,
    /// All other ranges in order, and whether they have dead letters.
    others: Vec<(BatchRange, bool)>,
}

impl CompletedRanges {
    /// The ranges of `receipts`.
    pub fn of(receipts: &Receipts) -> Self {
        let mut ranges = Self::default();
        ranges.add(receipts);
        ranges
    }

    /// Adds the ranges of `receipts`, whose batches must come after all batches added before.
    pub fn add(&mut self, receipts: &Receipts) {
        receipts.values().for_each(|receipt| self.push(receipt));
    }

    fn push(&mut self, receipt: &Receipt) {
        let range = receipt.range();
        let has_letters = receipt.dead_letters.is_some();
        let is_whole = range.offset == 0 && range.is_last && !range.is_quarantined;
        let (Some(records), Ok(batch)) = (
            u32::try_from(range.records).ok().filter(|_| is_whole),
            usize::try_from(range.batch),
        ) else {
            self.others.push((range, has_letters));
            return;
        };
        if batch >= self.whole.len() {
            self.whole.resize(batch + 1, 0);
            self.with_letters.resize(batch / 64 + 1, 0);
        }
        self.whole[batch] = records;
        self.with_letters[batch / 64] |= u64::from(has_letters) << (batch % 64);
    }

    /// The ranges in order, and whether they have dead letters.
    pub fn iter(&self) -> impl Iterator<Item = (BatchRange, bool)> {
        let mut others = self.others.iter().copied().peekable();
        let mut whole = (0u64..)
            .zip(&self.whole)
            .filter(|(_, records)| **records > 0)
            .map(|(batch, records)| {
                let range = BatchRange {
                    batch,
                    offset: 0,
                    records: u64::from(*records),
                    is_last: true,
                    is_quarantined: false,
                };
                let word = self.with_letters[(batch / 64) as usize];
                (range, word & (1 << (batch % 64)) != 0)
            })
            .peekable();
        std::iter::from_fn(move || match (others.peek(), whole.peek()) {
            (Some((other, _)), Some((range, _))) if other.batch < range.batch => others.next(),
            (_, Some(_)) => whole.next(),
            (_, None) => others.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::tests::receipt;
    use crate::wire::Stored;

    #[test]
    fn ranges_are_in_the_order_of_the_input() {
        let letters = |receipt: Receipt| Receipt {
            dead_letters: Some(Stored::of(b"")),
            ..receipt
        };
        let quarantined = Receipt {
            failed: 1,
            quarantined: 1,
            ..letters(receipt(3, 4, 1, 5))
        };
        let all = [
            receipt(0, 0, 10, 0),
            letters(receipt(1, 0, 4, 6)),
            receipt(1, 4, 6, 0),
            letters(receipt(2, 0, 10, 0)),
            receipt(3, 0, 4, 6),
            quarantined,
            receipt(3, 5, 5, 0),
            receipt(70, 0, 7, 0),
            // Too many records for the compact form.
            receipt(71, 0, 1 << 33, 0),
        ];
        let mut ranges = CompletedRanges::default();
        for window in [&all[..3], &all[3..5], &all[5..]] {
            let mut receipts = Receipts::default();
            receipts.extend(window.iter().cloned());
            ranges.add(&receipts);
        }
        let expected = all.iter().map(|r| (r.range(), r.dead_letters.is_some()));
        assert!(ranges.iter().eq(expected));
        assert_eq!(CompletedRanges::default().iter().count(), 0);
    }
}
