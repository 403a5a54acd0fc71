//! The side of the workers: one binary that works off batches wherever it is put. It answers lines of a pipe
//! ([`stdio`]), requests ([`http`]) or the events of AWS Lambda, or finds its own share of a run ([`share`]).

mod allow;
#[cfg(feature = "lambda")]
mod emf;
mod environments;
pub mod http;
#[cfg(feature = "lambda")]
pub mod lambda;
mod request_guard;
pub mod share;
pub mod stdio;
mod token;

use std::sync::Arc;
use std::time::Instant;

use shoal_encoder::{Model, Precision};
use shoal_function::Host;
use shoal_job::spec::ModelSpec;
use shoal_job::wire::{Failure, FailureKind};

use crate::model::Source;
use crate::{EngineSettings, Error, Result};

pub use allow::Allow;
pub use token::Token;

/// The model that a worker uses, and how.
#[derive(Debug, Clone, Default)]
pub struct WorkerSettings {
    /// Opened before the first call; where `None`, that of each job, when it is called for.
    pub model: Option<String>,
    /// How the engine runs it. A job has its own precision: one that is given here is opened first, which saves time
    /// where it is the job's.
    pub engine: EngineSettings,
}

/// A process that runs functions. `started` is when the process did; the receipts of first calls tell how long it took
/// from there.
///
/// # Errors
/// The model that is to be opened first cannot be used.
pub fn host(settings: &WorkerSettings, started: Instant) -> Result<Arc<Host>> {
    let opened = match &settings.model {
        None => None,
        Some(reference) => {
            let source = Source::find(Some(reference))?;
            let (model, _) = source.open(&settings.engine, None)?;
            Some((source, model))
        }
    };
    let engine = settings.engine.clone();
    let open = move |spec: &ModelSpec| open(&engine, opened.as_ref(), spec);
    Ok(Arc::new(Host::new(
        name(),
        started.elapsed(),
        Box::new(open),
    )))
}

/// The model of a job. Whether it is the one that was planned with, the function checks.
fn open(
    engine: &EngineSettings,
    opened: Option<&(Source, Arc<Model>)>,
    spec: &ModelSpec,
) -> std::result::Result<Arc<Model>, Failure> {
    let engine = EngineSettings {
        precision: Precision::named(&spec.precision),
        ..engine.clone()
    };
    let again = match opened {
        Some((_, model)) if engine.precision == Some(model.precision()) => {
            return Ok(model.clone());
        }
        Some((source, _)) => source.open(&engine, None),
        None => Source::find(Some(&spec.reference)).and_then(|source| source.open(&engine, None)),
    };
    again.map(|(model, _)| model).map_err(|error| match error {
        Error::Job(error) if error.is_retryable() => error.into(),
        error => Failure::new(FailureKind::Model, error.to_string()),
    })
}

/// What tells this process from others in receipts.
fn name() -> String {
    let host = ["AWS_LAMBDA_LOG_STREAM_NAME", "HOSTNAME"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok())
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.as_deref().map_or("process", str::trim);
    format!("{host}-{}", std::process::id())
}
