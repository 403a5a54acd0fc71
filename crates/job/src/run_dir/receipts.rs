//! Reading receipts.

use bytes::Bytes;

use super::RunDir;
use crate::receipts::{Receipts, is_plausible};
use crate::spec::{Batch, MAX_BATCHES};
use crate::wire::Receipt;
use crate::{Error, Result};

/// The receipts that exist: a bit for each batch with one at offset 0, and a list of the others.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    at_start: Vec<u64>,
    /// Sorted.
    elsewhere: Vec<(u64, u64)>,
}

impl Listed {
    fn insert(&mut self, (batch, offset): (u64, u64)) {
        if batch >= MAX_BATCHES {
            return;
        }
        if offset > 0 {
            self.elsewhere.push((batch, offset));
            return;
        }
        let word = (batch / 64) as usize;
        if word >= self.at_start.len() {
            self.at_start.resize(word + 1, 0);
        }
        self.at_start[word] |= 1 << (batch % 64);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.at_start.is_empty() && self.elsewhere.is_empty()
    }

    /// Batch and offset of the receipts of the batches `first..end`, unordered.
    fn within(&self, first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
        let is_there = move |batch: &u64| {
            let word = self.at_start.get((batch / 64) as usize).copied();
            word.unwrap_or_default() & (1 << (batch % 64)) != 0
        };
        let end_of_list = (self.at_start.len() * 64) as u64;
        let at_start = (first..end.min(end_of_list)).filter(is_there);
        let from = self.elsewhere.partition_point(|(batch, _)| *batch < first);
        let of_them = self.elsewhere[from..].iter().copied();
        at_start
            .map(|batch| (batch, 0))
            .chain(of_them.take_while(move |(batch, _)| *batch < end))
    }
}

impl RunDir {
    /// The receipt of the range of a batch that begins at `offset`. A malformed receipt counts as none, so that the range is
    /// processed again.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipt(&self, batch: u64, offset: u64) -> Result<Option<Receipt>> {
        let content = self.get(&Self::receipt_name(batch, offset));
        parse_receipt(content, (batch, offset))
    }

    /// All receipts.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipts(&self) -> Result<Receipts> {
        self.receipts_beyond(&Receipts::default())
    }

    /// The receipts that are not among `known`.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipts_beyond(&self, known: &Receipts) -> Result<Receipts> {
        let listed = self.list_receipts()?;
        let all = listed.within(0, MAX_BATCHES);
        self.read_receipts(all.filter(|(batch, offset)| known.get(*batch, *offset).is_none()))
    }

    /// The receipts among `listed` from the first to the last of `batches`, which must be sorted.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipts_of(&self, batches: &[Batch], listed: &Listed) -> Result<Receipts> {
        let (Some(first), Some(last)) = (batches.first(), batches.last()) else {
            return Ok(Receipts::default());
        };
        self.read_receipts(listed.within(first.index, last.index + 1))
    }

    /// Lists the receipts by their names.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn list_receipts(&self) -> Result<Listed> {
        let mut listed = Listed::default();
        self.each_name("receipts", &mut |name| {
            if let Some(place) = parse_receipt_name(name) {
                listed.insert(place);
            }
        })?;
        listed.elsewhere.sort_unstable();
        Ok(listed)
    }

    /// The receipts at these batches and offsets, without those that were deleted since they were listed.
    fn read_receipts(&self, places: impl Iterator<Item = (u64, u64)>) -> Result<Receipts> {
        let mut receipts = Receipts::default();
        let name = |(batch, offset): &(u64, u64)| Self::receipt_name(*batch, *offset);
        self.get_each(places, name, |place, content| {
            receipts.extend(parse_receipt(content, place)?);
            Ok(())
        })?;
        Ok(receipts)
    }
}

/// The batch and the offset in the name of a receipt.
fn parse_receipt_name(name: &str) -> Option<(u64, u64)> {
    let stem = name.strip_suffix(".json")?;
    match stem.split_once('.') {
        None => Some((stem.parse().ok()?, 0)),
        Some((batch, offset)) => Some((batch.parse().ok()?, offset.parse().ok()?)),
    }
}

/// The receipt in a file. Malformed and too large files, links, pipes and devices count as none.
fn parse_receipt(
    content: Result<Option<Bytes>>,
    (batch, offset): (u64, u64),
) -> Result<Option<Receipt>> {
    let content = match content {
        Err(Error::Corrupt { .. } | Error::Conflict { .. }) => None,
        content => content?,
    };
    Ok(content
        .and_then(|content| serde_json::from_slice::<Receipt>(&content).ok())
        .filter(|receipt| (receipt.batch, receipt.offset) == (batch, offset))
        .filter(is_plausible))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn receipts_are_listed_by_batch() {
        let mut listed = Listed::default();
        assert!(listed.is_empty());
        for place in [(0, 0), (63, 0), (64, 0), (200, 0), (64, 7), (64, 3), (3, 9)] {
            listed.insert(place);
        }
        listed.insert((u64::MAX, 0));
        listed.insert((MAX_BATCHES, 5));
        listed.elsewhere.sort_unstable();
        let within = |first, end| {
            let mut found: Vec<_> = listed.within(first, end).collect();
            found.sort_unstable();
            found
        };
        let all = [(0, 0), (3, 9), (63, 0), (64, 0), (64, 3), (64, 7), (200, 0)];
        assert_eq!(within(0, MAX_BATCHES), all);
        assert_eq!(within(1, 64), [(3, 9), (63, 0)]);
        assert_eq!(within(64, 65), [(64, 0), (64, 3), (64, 7)]);
        assert_eq!(within(65, 200), []);
        assert_eq!(within(500, 600), []);
    }

    #[test]
    fn folders_and_stores_give_the_same_receipts() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunDir::open(dir.path()).unwrap();
        let memory = Arc::new(object_store::memory::InMemory::new());
        let store = RunDir::on(memory, "run".into(), "memory:///run");
        let content = |batch: u64| {
            serde_json::json!({
                "batch": batch, "attempt": 1, "records": 1, "failed": 0, "truncated": 0, "tokens": 2,
                "part": { "bytes": 1, "checksum": "" }, "cold": false, "engine": "none",
                "timings": { "init": 0.0, "read": 0.0, "tokenize": 0.0, "model": 0.0, "write": 0.0, "total": 0.0 },
            })
            .to_string()
        };
        for run in [&folder, &store] {
            assert!(run.receipts().unwrap().is_empty());
            for batch in 0..5 {
                run.put_new(&RunDir::receipt_name(batch, 0), content(batch))
                    .unwrap();
            }
            run.put_new(&RunDir::receipt_name(5, 0), content(6))
                .unwrap();
            run.put_new(&RunDir::receipt_name(7, 0), "{").unwrap();
            run.put_new("receipts/notes.txt", content(8)).unwrap();
        }
        let found = folder.receipts().unwrap();
        assert_eq!(found, store.receipts().unwrap());
        assert_eq!(found.len(), 5);
        let mut known = found.clone();
        known.remove(2, 0);
        for run in [&folder, &store] {
            let beyond = run.receipts_beyond(&known).unwrap();
            let batches: Vec<_> = beyond.values().map(|receipt| receipt.batch).collect();
            assert_eq!(batches, [2]);
        }
    }
}
