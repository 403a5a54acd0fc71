//! Deleting what a run has written.

use futures_util::{StreamExt, TryStreamExt};

use super::{BATCHES, FILES, FOLDERS, INPUT, JOB, LOCK, Root, RunDir};
use crate::format::OutputFormat;
use crate::store::runtime;
use crate::wire::BatchRange;
use crate::{Error, Result};

impl RunDir {
    /// Forgets that a piece was ever done.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn forget(&self, range: BatchRange, format: OutputFormat) -> Result<()> {
        // The receipt goes first: what has none is always done again.
        self.delete(&Self::receipt_name(range.batch, range.offset))?;
        self.delete(&Self::dead_letters_name(range))?;
        self.delete(&Self::part_name(range, format))
    }

    /// Removes everything that a run puts into its directory, and nothing else. What is done goes first, then the plan, so
    /// that a removal that is cut short leaves a run that has more to do, or none, and never what was done by another plan.
    ///
    /// # Errors
    /// Something cannot be removed.
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

    /// Removes what a process that was killed had written of an object: to a folder it is written under the object's name with
    /// a number behind it, and nobody sees it there.
    fn clear_half_written(&self, name: &str) -> Result<()> {
        let Root::Folder(root) = &self.place else {
            return Ok(());
        };
        let failed = |e| Error::storage("clear", root.display().to_string(), e);
        for entry in std::fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?.file_name();
            let number = entry
                .to_str()
                .and_then(|entry| entry.strip_prefix(name)?.strip_prefix('#'));
            if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                std::fs::remove_file(root.join(&entry)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Removes what a planning that was cut short has left. In a store nothing is removed, since somebody else may be planning
    /// the same there at this moment, whom nobody can keep from it; what is left is written anew.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear_leftovers(&self) -> Result<()> {
        match &self.place {
            Root::Folder(_) => self.clear(),
            Root::Url(_) => Ok(()),
        }
    }

    fn clear_folder(&self, name: &str) -> Result<()> {
        match &self.place {
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
                runtime()
                    .block_on(deleted.try_collect::<Vec<_>>())
                    .map(drop)
                    .map_err(|e| self.error("delete", name, e))
            }
        }
    }

    /// Whether all that lies in the directory may be a run's: a folder with other files is not made one by mistake.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn is_ours(&self) -> Result<bool> {
        let listed = runtime()
            .block_on(self.store.list_with_delimiter(None))
            .map_err(|e| self.error("list", "", e))?;
        let files = listed.objects.iter().map(|meta| &meta.location);
        let folders = listed.common_prefixes.iter();
        Ok(files
            .chain(folders)
            .filter_map(|path| path.filename())
            .all(|name| FILES.contains(&name) || name == LOCK || FOLDERS.contains(&name)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_removal_that_is_cut_short_leaves_the_plan() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        for name in [JOB, BATCHES, "input/0000.jsonl", "receipts/00000000.json"] {
            run.replace(name, "{}").unwrap();
        }
        let half_written = dir.path().join("batches.jsonl#1");
        std::fs::write(&half_written, "{").unwrap();
        // A file where a folder belongs cannot be removed as one. Receipts go before what they vouch for.
        run.replace("parts", "").unwrap();
        assert!(run.clear().is_err());
        let is_there = |name| run.get(name).unwrap().is_some();
        assert!(is_there(JOB) && is_there(BATCHES) && is_there("input/0000.jsonl"));
        assert!(!is_there("receipts/00000000.json"));
        run.delete("parts").unwrap();
        run.clear().unwrap();
        assert!(!is_there(JOB) && !is_there("input/0000.jsonl"));
        assert!(!half_written.exists());
    }

    #[test]
    fn what_another_command_may_be_planning_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunDir::open(dir.path()).unwrap();
        let memory = Arc::new(object_store::memory::InMemory::new());
        let store = RunDir::on(memory, "run".into(), "memory:///run");
        for (run, is_left) in [(&folder, false), (&store, true)] {
            run.replace("input/0000.jsonl", "{}").unwrap();
            run.clear_leftovers().unwrap();
            let there = run.get("input/0000.jsonl").unwrap();
            assert_eq!(there.is_some(), is_left);
        }
    }
}
