//! Deleting the files of a run.

use futures_util::{StreamExt, TryStreamExt};

use super::{BATCHES, FILES, FOLDERS, INPUT, JOB, LOCK, Root, RunDir, SPOOL};
use crate::format::OutputFormat;
use crate::wire::BatchRange;
use crate::{Error, Result};

impl RunDir {
    /// Deletes the receipt, dead letters and part of a range.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn forget(&self, range: BatchRange, format: OutputFormat) -> Result<()> {
        // The receipt first: a range without one is processed again.
        self.delete(&Self::receipt_name(range.batch, range.offset))?;
        self.delete(&Self::dead_letters_name(range))?;
        self.delete(&Self::part_name(range, format))
    }

    /// Deletes all files of the run, and nothing else. Results are deleted before the plan, so that an interrupted deletion
    /// never leaves results without their plan.
    ///
    /// # Errors
    /// A file cannot be deleted.
    pub fn clear(&self) -> Result<()> {
        let of_plan = |name: &&str| [JOB, BATCHES, INPUT].contains(name);
        for name in FOLDERS.iter().filter(|name| !of_plan(name)) {
            self.clear_folder(name)?;
        }
        for name in FILES.iter().filter(|name| !of_plan(name)) {
            self.delete(name)?;
        }
        self.delete(JOB)?;
        self.delete(BATCHES)?;
        self.clear_half_written(BATCHES)?;
        self.clear_folder(INPUT)
    }

    /// Deletes the temporary files of interrupted writes: the object's name, `#` and a number.
    fn clear_half_written(&self, name: &str) -> Result<()> {
        let Root::Folder(root) = &self.root else {
            return Ok(());
        };
        let mut paths = Vec::new();
        self.each_name("", &mut |entry| {
            let number = entry
                .strip_prefix(name)
                .and_then(|end| end.strip_prefix('#'));
            if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                paths.push(root.join(entry));
            }
        })?;
        // The store refuses such names.
        paths
            .iter()
            .try_for_each(|path| std::fs::remove_file(path).map_err(Error::file("delete", path)))
    }

    /// Deletes the files of an interrupted planning. In a store nothing is deleted, because another command may be planning
    /// the same run; the files are overwritten.
    ///
    /// # Errors
    /// A file cannot be deleted.
    pub fn clear_leftovers(&self) -> Result<()> {
        match &self.root {
            Root::Folder(_) => self.clear(),
            Root::Url(_) => Ok(()),
        }
    }

    fn clear_folder(&self, name: &str) -> Result<()> {
        match &self.root {
            Root::Folder(root) => {
                let path = root.join(name);
                match std::fs::remove_dir_all(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(Error::storage("delete", path.display().to_string(), e))
                    }
                    _ => Ok(()),
                }
            }
            Root::Url(_) => {
                let folder = object_store::path::Path::from(name);
                let found = self.store.list(Some(&folder)).map_ok(|meta| meta.location);
                let deleted = self.store.delete_stream(found.boxed());
                self.block_on(name, deleted.try_collect::<Vec<_>>())
                    .map(drop)
                    .map_err(|e| self.error("delete", name, e))
            }
        }
    }

    /// Whether the directory contains only files of a run.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn is_ours(&self) -> Result<bool> {
        let listed = self
            .block_on("", self.store.list_with_delimiter(None))
            .map_err(|e| self.error("list", "", e))?;
        let files = listed.objects.iter().map(|meta| &meta.location);
        let folders = listed.common_prefixes.iter();
        Ok(files
            .chain(folders)
            .filter_map(|path| path.filename())
            .all(|name| {
                FILES.contains(&name) || [LOCK, SPOOL].contains(&name) || FOLDERS.contains(&name)
            }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_interrupted_deletion_leaves_the_plan() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        for name in [JOB, BATCHES, "input/0000.jsonl", "receipts/00000000.json"] {
            run.replace(name, "{}").unwrap();
        }
        let half_written = dir.path().join("batches.jsonl#1");
        std::fs::write(&half_written, "{").unwrap();
        // A file in place of a folder makes the deletion fail.
        run.replace("parts", "").unwrap();
        assert!(run.clear().is_err());
        let exists = |name| run.get(name).unwrap().is_some();
        assert!(exists(JOB) && exists(BATCHES) && exists("input/0000.jsonl"));
        assert!(!exists("receipts/00000000.json"));
        run.delete("parts").unwrap();
        run.clear().unwrap();
        assert!(!exists(JOB) && !exists("input/0000.jsonl"));
        assert!(!half_written.exists());
    }

    #[test]
    fn leftovers_in_a_store_are_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunDir::open(dir.path()).unwrap();
        let memory = Arc::new(object_store::memory::InMemory::new());
        let store = RunDir::on(memory, "run".into(), "memory:///run");
        for (run, is_kept) in [(&folder, false), (&store, true)] {
            run.replace("input/0000.jsonl", "{}").unwrap();
            run.clear_leftovers().unwrap();
            let content = run.get("input/0000.jsonl").unwrap();
            assert_eq!(content.is_some(), is_kept);
        }
    }
}
