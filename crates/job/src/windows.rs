//! Windows of batches, so that memory does not grow with the number of batches.

use std::num::NonZeroUsize;

use crate::{Batch, Job, Receipts, Result, RunDir};

/// The default size of a window. Its batches and their receipts take about ten megabytes.
pub const BATCHES_AT_ONCE: NonZeroUsize = NonZeroUsize::new(1 << 14).unwrap();

impl RunDir {
    /// The batches of `job`, `size` at a time.
    ///
    /// # Errors
    /// The batch table cannot be read.
    pub fn windows<'a>(
        &'a self,
        job: &'a Job,
        size: NonZeroUsize,
    ) -> Result<impl Iterator<Item = Result<Vec<Batch>>> + 'a> {
        let mut table = self.table(job)?;
        Ok(std::iter::from_fn(move || {
            let window: Result<Vec<_>> = table.by_ref().take(size.get()).collect();
            Some(window).filter(|window| !matches!(window, Ok(batches) if batches.is_empty()))
        }))
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
