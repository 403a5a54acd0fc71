//! The function: the pure step (job, batch) → part.
//!
//! It is the same code wherever it runs. A batch's result depends on nothing but the job and the batch, so any attempt
//! may be repeated or doubled: the part is put by a create-only write, and the first one stands.
//!
//! What computes the results is a [`Runner`]. A [`Host`] is a process that runs functions: it finds the job of an
//! invocation in its run directory, and keeps the runner. An [`Environment`] of it takes one invocation at a time, and
//! has a [`Session`] of the runner.

mod clock;
mod environment;
mod host;
mod memory;
mod runner;
mod store;
mod work;

use std::sync::Arc;

use shoal_job::input::Sources;
use shoal_job::wire::{Failure, FailureKind};
use shoal_job::{FunctionSpec, Job, RunDir};

pub use clock::Clock;
pub use environment::{CallLimits, Environment};
pub use host::{Host, OpenRunner};
pub use runner::{Answers, RecordRef, Runner, Session, Usage};

/// A job's function, ready to be called.
pub struct Function {
    run: RunDir,
    job: Job,
    sources: Sources,
    runner: Arc<dyn Runner>,
}

impl Function {
    /// The function of `job`, whose parts go to `run`.
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

/// Whether a runner with `spec` may process a job that was planned with `planned`.
fn check(planned: &FunctionSpec, spec: &FunctionSpec) -> Result<(), Failure> {
    let differences = spec.differences(planned);
    if differences.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "failed to use the model: the job was planned with another one than this function has: {}; give both the same model",
        differences.join("; ")
    );
    Err(Failure::new(FailureKind::Model, reason))
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are precise enough, and keep receipts small.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
