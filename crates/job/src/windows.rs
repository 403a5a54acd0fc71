//! Windows of batches, so that memory does not grow with the number of batches.

use std::num::NonZeroUsize;

use crate::run_dir::Table;
use crate::{Batch, Job, Receipts, Result, RunDir};

/// The default size of a window. Its batches and their receipts take about ten megabytes.
pub const BATCHES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();

/// An iterator over the batches of a job, a window at a time.
pub struct Windows<'a> {
    table: Table<'a>,
    size: NonZeroUsize,
}

impl Iterator for Windows<'_> {
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
    pub fn windows<'a>(&'a self, job: &'a Job, size: NonZeroUsize) -> Result<Windows<'a>> {
        Ok(Windows {
            table: self.table(job)?,
            size,
        })
    }

    /// Calls `visit` with the batches of `job`, `size` at a time, and their receipts.
    ///
    /// # Errors
    /// The batch table or the receipts cannot be read, or `visit` fails.
    pub fn each_window(
        &self,
        job: &Job,
        size: NonZeroUsize,
        visit: &mut dyn FnMut(&[Batch], &Receipts) -> Result<()>,
    ) -> Result<()> {
        let listed = self.list_receipts()?;
        for batches in self.windows(job, size)? {
            let batches = batches?;
            let mut receipts = self.receipts_of(&batches, &listed)?;
            receipts.retain_ranges_of(&batches);
            visit(&batches, &receipts)?;
        }
        Ok(())
    }
}
