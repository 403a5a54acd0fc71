//! Workers process batches: they answer lines of a pipe ([`stdio`]), HTTP requests ([`http`]) or the events of AWS Lambda, or
//! process their share of a run ([`share`]).

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

use shoal_function::{Host, Runner};
use shoal_job::FunctionSpec;
use shoal_job::wire::{Failure, FailureKind};
use shoal_runners::EncoderRunner;

use crate::model::Source;
use crate::{EngineSettings, Error, ModelSettings, Result};

pub use allow::Allow;
pub use token::Token;

/// The model of a worker.
#[derive(Debug, Clone, Default)]
pub struct WorkerSettings {
    /// Opened before the first call; if `None`, the model of each job, opened by its first call.
    pub model: Option<String>,
    /// How the engine runs it. Jobs have their own precision, so this one only saves time if it is the same.
    pub engine: EngineSettings,
}

/// A process that runs functions. `started` is the start of the process: receipts of first calls include the time since then.
///
/// # Errors
/// The model cannot be used.
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

/// The runner of a job. The function checks that it is the planned one.
fn open(
    engine: &EngineSettings,
    opened: Option<&(Source, Arc<EncoderRunner>)>,
    spec: &FunctionSpec,
) -> std::result::Result<Arc<EncoderRunner>, Failure> {
    let failed = |reason: String| Failure::new(FailureKind::Model, reason);
    if spec.kind != EncoderRunner::KIND {
        return Err(failed(format!(
            "failed to find the function: this worker can only run models, and the job has a function of the kind {:?}",
            spec.kind
        )));
    }
    let settings = ModelSettings::planned(spec, engine)
        .map_err(|e| failed(format!("failed to read the job: {e}")))?;
    let runner = match opened {
        Some((_, runner)) if settings.engine.precision == Some(runner.model().precision()) => {
            let model = runner.model().clone();
            settings.runner(&spec.reference, model).map(Arc::new)
        }
        Some((source, _)) => source.open(&settings),
        None => settings.open(),
    };
    runner.map_err(|error| match error {
        Error::Job(error) if error.is_retryable() => error.into(),
        error => failed(error.to_string()),
    })
}

/// The name of this process in receipts.
fn name() -> String {
    let host = ["AWS_LAMBDA_LOG_STREAM_NAME", "HOSTNAME"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok())
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.as_deref().map_or("process", str::trim);
    format!("{host}-{}", std::process::id())
}
