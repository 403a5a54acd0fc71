//! The function: the pure step (job, batch) → part.
//!
//! The same code runs on every backend. A result depends only on the job and the batch, so attempts may be repeated or run
//! concurrently: writes are create-only, and the first one is kept.
//!
//! A [`Runner`] computes the results. A [`Host`] is a process that runs functions: it reads the job of an invocation from
//! its run directory, and keeps the runner open. Each [`Environment`] of a host processes one invocation at a time in its
//! own [`Session`] of the runner.

mod clock;
mod environment;
mod host;
pub mod memory;
mod runner;
pub mod running;
mod store;
mod work;

use std::sync::Arc;

use shoal_job::input::Sources;
use shoal_job::wire::{Failure, FailureKind};
use shoal_job::{FunctionSpec, Job, RunDir};

pub use clock::Clock;
pub use environment::Environment;
pub use host::{Host, OpenRunner};
pub use runner::{Answers, RecordRef, Runner, Session, Usage};
pub use work::CallLimits;

/// The function of a job.
pub struct Function {
    run: RunDir,
    job: Job,
    sources: Sources,
    runner: Arc<dyn Runner>,
}

impl Function {
    /// The function of `job`, which writes parts to `run`.
    ///
    /// # Errors
    /// The runner is not the one that the job was planned with.
    pub fn new(run: RunDir, job: Job, runner: Arc<dyn Runner>) -> Result<Self, Failure> {
        check(&job.function, runner.spec())?;
        Ok(Self {
            run,
            job,
            sources: Sources::default(),
            runner,
        })
    }
}

/// Checks that a runner with `spec` can process a job that was planned with `planned`.
fn check(planned: &FunctionSpec, spec: &FunctionSpec) -> Result<(), Failure> {
    let differences = spec.differences(planned);
    if differences.is_empty() {
        return Ok(());
    }
    let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
    let reason = format!(
        "failed to use the model: it differs from the one that the job was planned with: {}; use the same model for both",
        differences.join("; ")
    );
    Err(Failure::new(FailureKind::Model, reason))
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are precise enough, and keep receipts small.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
