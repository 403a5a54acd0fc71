//! The interface for a backend under test, and the run that it processes.

use std::path::Path;
use std::time::Duration;

use shoal_dispatch::{Backend, Plan, RetryPolicy};
use shoal_job::{Batch, Job, RunDir};
use tempfile::TempDir;

use crate::faults::{self, FaultRule};
use crate::function::Function;
use crate::test_run::Malformed;

/// The maximum number of attempts for a batch.
pub(crate) const ATTEMPTS: u32 = 3;

/// Short delays, because no real platform needs time to recover.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: ATTEMPTS,
    delay: Duration::from_millis(1),
    longest_delay: Duration::from_millis(5),
    time: Duration::from_secs(600),
    grace: Duration::from_millis(500),
};

/// Creates the backend under test.
pub trait BackendHarness {
    /// The name in the output of the suite.
    fn name(&self) -> &'static str;

    /// The backend for `run`. It has a concurrency of at least 3 and calls the scripted function.
    fn backend<'a>(&'a self, run: &'a TestRun) -> Box<dyn Backend + 'a>;

    /// Creates the run directory in the empty folder `folder`.
    ///
    /// [`scripted`](crate::scripted) and [`work_lines`](crate::work_lines) look for the script in the parent of the run
    /// directory. A harness that overrides this default must use [`TestRun::function`] instead.
    ///
    /// # Panics
    /// Panics if the run directory cannot be created.
    fn run_dir(&self, folder: &Path) -> RunDir {
        RunDir::create(&folder.join("run")).expect("the folder can be written")
    }

    /// Whether the backend emits an event for every call and every failure, or only for finished batches.
    fn reports_attempts(&self) -> bool {
        true
    }

    /// Whether the backend looks for a receipt before it retries a batch. A platform with its own retries calls the
    /// function again, which then finds the receipt.
    fn checks_receipt_before_retry(&self) -> bool {
        true
    }

    /// The names of cases that do not apply to this backend, each with the reason.
    fn skipped(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}

/// A planned run in its own folder, with the script of its faults.
#[derive(Debug)]
pub struct TestRun {
    pub(crate) folder: TempDir,
    /// The run directory.
    pub run: RunDir,
    /// The job.
    pub job: Job,
    /// All batches.
    pub batches: Vec<Batch>,
    pub(crate) malformed: Malformed,
}

impl TestRun {
    /// The run's own folder, which contains the script.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The scripted function of this run.
    pub fn function(&self) -> Function {
        Function::new(self.run.clone(), self.folder())
    }

    /// The plan for `batches` of this run, for workers that pick their own share.
    pub fn plan<'a>(&'a self, batches: &'a [Batch]) -> Plan<'a> {
        Plan {
            retry: RETRY,
            ..Plan::new(&self.run, &self.job, batches)
        }
    }

    /// Replaces the script.
    pub(crate) fn set_faults(&self, rules: &[FaultRule]) {
        faults::save(self.folder(), rules);
    }

    /// Deletes the receipt of a range.
    pub(crate) fn delete_receipt(&self, batch: u64, offset: u64) {
        self.run
            .delete(&RunDir::receipt_name(batch, offset))
            .expect("the run can be changed");
    }
}
