//! The function: the pure step (job, batch) → part.
//!
//! It is the same code wherever it runs. A batch's result depends on nothing but the job and the batch, so any attempt
//! may be repeated or doubled: the part is put by a create-only write, and the first one stands.

mod decision;
mod store;
mod work;

use std::sync::Arc;
use std::time::Instant;

use shoal_encoder::{Model, Session};
use shoal_job::input::Sources;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Cancel, Job, RunDir};

pub use decision::Decision;

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
        if job.model.labels != model.labels() {
            return Err(Failure {
                kind: FailureKind::Model,
                reason: format!(
                    "the job was planned with the labels {}, the model has {}",
                    job.model.labels.join(", "),
                    model.labels().join(", ")
                ),
            });
        }
        let decision = Decision::new(&model, job.parameters.threshold);
        Ok(Self {
            run,
            job,
            sources: Sources::default(),
            model,
            decision,
        })
    }

    /// One environment that takes invocations in turn. The model's memory is shared, the scratch memory is its own.
    pub fn worker(&self) -> Worker<'_> {
        Worker {
            function: self,
            session: None,
        }
    }
}

/// An environment of the function: it takes one invocation at a time.
pub struct Worker<'f> {
    function: &'f Function,
    session: Option<Session>,
}

impl Worker<'_> {
    /// Works off a batch: writes its dead letters, its part and its receipt, and answers the receipt.
    ///
    /// `cancel` is looked at between micro-batches; a batch that is left leaves nothing behind.
    ///
    /// # Errors
    /// A [`Failure`], whose kind tells whether another attempt may help.
    pub fn handle(&mut self, invocation: &Invocation, cancel: &Cancel) -> Result<Receipt, Failure> {
        let started = Instant::now();
        let cold = self.session.is_none();
        let session = self
            .session
            .get_or_insert_with(|| Session::new(self.function.model.clone()));
        let init = if cold {
            started.elapsed()
        } else {
            Default::default()
        };
        let mut done = work::work(self.function, session, &invocation.batch, cancel)?;
        done.timings.init = milliseconds(init);
        store::store(self.function, invocation, done, cold, started)
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Microseconds are precise enough, and keep receipts small.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
