//! A run in chapters: some of its batches at a time, so that memory does not grow with their number.

use std::num::NonZeroUsize;

use crate::run_dir::Table;
use crate::{Batch, Job, Receipts, Result, RunDir};

/// The batches of a run that are in memory at a time, with their receipts, where they need not all be: about ten megabytes.
pub const BATCHES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();

/// A batch table, so many batches at a time.
pub struct Chapters<'a> {
    table: Table<'a>,
    size: NonZeroUsize,
}

impl Iterator for Chapters<'_> {
    type Item = Result<Vec<Batch>>;

    fn next(&mut self) -> Option<Self::Item> {
        let window: Result<Vec<Batch>> = self.table.by_ref().take(self.size.get()).collect();
        match window {
            Ok(batches) if batches.is_empty() => None,
            window => Some(window),
        }
    }
}

impl RunDir {
    /// The batches of `job`, `size` at a time.
    ///
    /// # Errors
    /// The batch table cannot be read.
    pub fn windows<'a>(&'a self, job: &'a Job, size: NonZeroUsize) -> Result<Chapters<'a>> {
        Ok(Chapters {
            table: self.table(job)?,
            size,
        })
    }

    /// Hands the batches of `job`, `size` at a time, with the receipts of what is done of them to `see`.
    ///
    /// # Errors
    /// Batch table or receipts cannot be read, or `see` fails.
    pub fn each_window(
        &self,
        job: &Job,
        size: NonZeroUsize,
        see: &mut dyn FnMut(&[Batch], &Receipts) -> Result<()>,
    ) -> Result<()> {
        let listed = self.list_receipts()?;
        for batches in self.windows(job, size)? {
            let batches = batches?;
            let mut receipts = self.receipts_of(&batches, &listed)?;
            receipts.retain_ranges_of(&batches);
            see(&batches, &receipts)?;
        }
        Ok(())
    }
}
