//! The function: the pure step (job, batch) → part.
//!
//! It is the same code wherever it runs. A batch's result depends on nothing but the job and the batch, so any attempt
//! may be repeated or doubled: the part is put by a create-only write, and the first one stands.
//!
//! A [`Host`] is a process that runs functions: it finds the job of an invocation in its run directory, and keeps the
//! model. An [`Environment`] of it takes one invocation at a time.

mod clock;
mod decision;
mod environment;
mod host;
mod memory;
mod store;
mod work;

use std::sync::Arc;

use shoal_encoder::Model;
use shoal_job::input::Sources;
use shoal_job::spec::ModelSpec;
use shoal_job::wire::{Failure, FailureKind};
use shoal_job::{Job, RunDir};

pub use clock::Clock;
pub use decision::Decision;
pub use environment::{CallLimits, Environment};
pub use host::{Host, OpenModel};

/// A job's function, ready to be called.
pub struct Function {
    run: RunDir,
    job: Job,
    sources: Sources,
    model: Arc<Model>,
    decision: Decision,
}

impl Function {
    /// The function of `job`, whose parts go to `run`.
    ///
    /// # Errors
    /// The model is not the one that the job was planned with.
    pub fn new(run: RunDir, job: Job, model: Arc<Model>) -> Result<Self, Failure> {
        check(&job.model, &model)?;
        let decision = Decision::new(&model, job.parameters.threshold);
        Ok(Self {
            run,
            job,
            sources: Sources::default(),
            model,
            decision,
        })
    }
}

/// Whether `model` is the one that a job was planned with.
fn check(planned: &ModelSpec, model: &Model) -> Result<(), Failure> {
    let differs = |what: &str, then: &str, now: &str| {
        let reason = format!(
            "failed to use the model: the job was planned with {what} {then} of {}, this function has {now}; give both the \
             same model",
            planned.reference
        );
        Err(Failure::new(FailureKind::Model, reason))
    };
    let precision = model.precision().to_string();
    if planned.fingerprint != model.fingerprint() {
        return differs("fingerprint", &planned.fingerprint, model.fingerprint());
    }
    if planned.precision != precision {
        return differs("precision", &planned.precision, &precision);
    }
    if planned.labels != model.labels() {
        return differs(
            "labels",
            &planned.labels.join(", "),
            &model.labels().join(", "),
        );
    }
    Ok(())
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are precise enough, and keep receipts small.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
