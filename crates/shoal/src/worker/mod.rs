//! The side of the workers: one binary that processes batches wherever it runs. It answers lines of a pipe
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

use shoal_encoder::Precision;
use shoal_function::{Host, Runner};
use shoal_job::FunctionSpec;
use shoal_job::wire::{Failure, FailureKind};
use shoal_runners::EncoderRunner;
use shoal_tasks::TaskOptions;

use crate::model::Source;
use crate::{EngineSettings, Error, ModelSettings, Result};

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
            let runner = source.open(&ModelSettings {
                engine: settings.engine.clone(),
                ..ModelSettings::default()
            })?;
            Some((source, runner))
        }
    };
    let engine = settings.engine.clone();
    let open = move |spec: &FunctionSpec| {
        let runner = open(&engine, opened.as_ref(), spec)?;
        Ok(runner as Arc<dyn Runner>)
    };
    Ok(Arc::new(Host::new(
        name(),
        started.elapsed(),
        Box::new(open),
    )))
}

/// The runner of a job. Whether it is the one that was planned with, the function checks.
fn open(
    engine: &EngineSettings,
    opened: Option<&(Source, Arc<EncoderRunner>)>,
    spec: &FunctionSpec,
) -> std::result::Result<Arc<EncoderRunner>, Failure> {
    let failed = |reason: String| Failure::new(FailureKind::Model, reason);
    if spec.kind != EncoderRunner::KIND {
        return Err(failed(format!(
            "failed to find the function: this worker runs models, and the job wants a function of the kind {:?}",
            spec.kind
        )));
    }
    let task = TaskOptions::from_spec(&spec.task)
        .map_err(|e| failed(format!("failed to read the task of the job: {e}")))?;
    let settings = ModelSettings {
        reference: Some(spec.reference.clone()),
        task,
        max_tokens: spec.number("max_tokens"),
        engine: EngineSettings {
            precision: spec.setting("precision").and_then(Precision::named),
            ..engine.clone()
        },
    };
    let again = match opened {
        Some((_, runner)) if settings.engine.precision == Some(runner.model().precision()) => {
            let model = runner.model().clone();
            let runner =
                EncoderRunner::new(&spec.reference, model, &settings.task, settings.max_tokens);
            return runner.map(Arc::new).map_err(|e| failed(e.to_string()));
        }
        Some((source, _)) => source.open(&settings),
        None => settings.open(),
    };
    again.map_err(|error| match error {
        Error::Job(error) if error.is_retryable() => error.into(),
        error => failed(error.to_string()),
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
