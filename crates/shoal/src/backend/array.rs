//! Numbered workers: an array job of Kubernetes, Slurm or AWS Batch.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shoal_dispatch::{Backend, Watch};

use super::{BackendContext, BackendSettings};
use crate::Result;

/// How often the run directory is searched for new receipts.
const INTERVAL: Duration = Duration::from_secs(2);

/// Numbered workers, each with its share of the batches. A platform starts them; this process waits for their receipts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Array {
    /// The number of workers; 1 if `None`.
    pub concurrency: Option<usize>,
    /// Do not wait for them.
    pub detach: bool,
}

impl BackendSettings for Array {
    fn has_workers(&self) -> bool {
        false
    }

    fn detaches(&self) -> bool {
        self.detach
    }

    fn is_platform(&self) -> bool {
        true
    }

    fn build(&self, _: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        Ok(Box::new(Watch {
            workers: self.concurrency.unwrap_or(1),
            every: INTERVAL,
            detach: self.detach,
        }))
    }
}
