//! Reading receipts.

use std::path::Path;

use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;

use super::objects::{MOST_RECEIPT_BYTES, READS_AT_ONCE, read_file};
use super::{Root, RunDir};
use crate::receipts::{Receipts, is_plausible};
use crate::spec::{Batch, MAX_BATCHES};
use crate::store::runtime;
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
        let content = match self.get(&Self::receipt_name(batch, offset)) {
            Err(Error::Corrupt { .. } | Error::Conflict { .. }) => None,
            content => content?,
        };
        Ok(content.and_then(|content| parse_receipt(&content, (batch, offset))))
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
        const FOLDER: &str = "receipts";
        let mut listed = Listed::default();
        match &self.root {
            Root::Folder(root) => {
                let folder = root.join(FOLDER);
                let failed = |e| Error::storage("read", folder.display().to_string(), e);
                let entries = match std::fs::read_dir(&folder) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(listed),
                    entries => entries.map_err(failed)?,
                };
                for entry in entries {
                    let name = entry.map_err(failed)?.file_name();
                    name.to_str()
                        .and_then(parse_receipt_name)
                        .into_iter()
                        .for_each(|place| listed.insert(place));
                }
            }
            Root::Url(_) => {
                let folder = object_store::path::Path::from(FOLDER);
                let mut found = self.store.list(Some(&folder));
                let list = async {
                    while let Some(meta) = found.try_next().await? {
                        meta.location
                            .filename()
                            .and_then(parse_receipt_name)
                            .into_iter()
                            .for_each(|place| listed.insert(place));
                    }
                    Ok(())
                };
                runtime()
                    .block_on(list)
                    .map_err(|e| self.error("list", FOLDER, e))?;
            }
        }
        listed.elsewhere.sort_unstable();
        Ok(listed)
    }

    /// The receipts at these batches and offsets. Files that are too large, links, pipes and devices are skipped, and so are
    /// receipts that were deleted since they were listed.
    fn read_receipts(&self, places: impl Iterator<Item = (u64, u64)>) -> Result<Receipts> {
        if let Root::Folder(root) = &self.root {
            let mut receipts = Receipts::default();
            for place in places {
                let path = root.join(Self::receipt_name(place.0, place.1));
                let content = read_small_file(&path)
                    .map_err(|e| Error::storage("read", path.display().to_string(), e))?;
                receipts.extend(content.and_then(|content| parse_receipt(&content, place)));
            }
            return Ok(receipts);
        }
        let read = |place: (u64, u64)| async move {
            let path = Self::receipt_name(place.0, place.1).into();
            match self.store.get(&path).await {
                Ok(found) if found.meta.size > MOST_RECEIPT_BYTES => Ok(None),
                Ok(found) => Ok(parse_receipt(&found.bytes().await?, place)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        let reads = futures_util::stream::iter(places.map(|place| Ok(read(place))));
        let found = reads
            .try_buffer_unordered(READS_AT_ONCE)
            .try_filter_map(|receipt| async move { Ok(receipt) })
            .try_collect::<Receipts>();
        runtime()
            .block_on(found)
            .map_err(|e| self.error("read", "receipts", e))
    }
}

/// The content of a regular file that is not larger than a receipt can be.
fn read_small_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match path.symlink_metadata() {
        Ok(meta) if !meta.is_file() || meta.len() > MOST_RECEIPT_BYTES => Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        meta => meta.and_then(|_| read_file(path)),
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

fn parse_receipt(content: &[u8], (batch, offset): (u64, u64)) -> Option<Receipt> {
    serde_json::from_slice::<Receipt>(content)
        .ok()
        .filter(|receipt| (receipt.batch, receipt.offset) == (batch, offset))
        .filter(is_plausible)
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
