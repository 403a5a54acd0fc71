//! Logs: lines on standard error, as text or as JSON.
//!
//! No field contains text of a record, a token or credentials. Of other libraries, only warnings and errors are logged, since
//! their fields are not known.

use std::sync::OnceLock;
use std::time::Duration;

use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use tracing::{debug, info, warn};

/// The variable with the format of logs.
pub const FORMAT: &str = "SHOAL_LOG_FORMAT";
/// The variable with the level of logs.
pub const LEVEL: &str = "SHOAL_LOG";

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object in each line.
    Json,
}

impl Format {
    /// All formats by name.
    pub const ALL: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// The level of logs: each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Errors.
    Error,
    /// Failures that a run survives.
    Warn,
    /// The phases of a run, and the invocations of a worker.
    Info,
    /// Each call.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// All levels by name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// The value called `text`.
pub fn named<T: Copy>(text: &str, all: &[(&str, T)]) -> std::result::Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        format!("valid values are {}", names.join(", "))
    })
}

/// The value of a variable, for a program that is started without a command line.
#[cfg(feature = "lambda")]
pub fn variable<T: Copy>(name: &str, all: &[(&str, T)]) -> crate::Result<Option<T>> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty());
    let value = text.map(|text| {
        named(&text, all).map_err(|reason| {
            crate::Error::Settings(format!("failed to use {name} {text}: {reason}"))
        })
    });
    value.transpose()
}

static STARTED: OnceLock<Format> = OnceLock::new();

/// Whether everything on standard error is JSON.
pub fn is_json() -> bool {
    STARTED.get() == Some(&Format::Json)
}

/// Starts logging. `level` is the level of shoal's own lines; `None` logs nothing.
#[cfg(feature = "worker")]
pub fn start(format: Format, level: Option<Level>) {
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let own = match level {
        None => LevelFilter::OFF,
        Some(Level::Error) => LevelFilter::ERROR,
        Some(Level::Warn) => LevelFilter::WARN,
        Some(Level::Info) => LevelFilter::INFO,
        Some(Level::Debug) => LevelFilter::DEBUG,
        Some(Level::Trace) => LevelFilter::TRACE,
    };
    let filter = Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("shoal", own);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // A run does not stop because nobody reads its logs.
        .log_internal_errors(false);
    let lines = match format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines
            .json()
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if started.is_ok() {
        // It is set nowhere else.
        let _ = STARTED.set(format);
    }
}

/// Logs an invocation that this process handled.
pub fn invocation(
    invocation: &Invocation,
    result: &std::result::Result<Receipt, Failure>,
    took: Duration,
) {
    let run = &*invocation.run;
    let (batch, attempt) = (invocation.batch.index, invocation.attempt);
    let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    match result {
        Ok(receipt) => info!(
            target: "shoal::worker",
            run,
            batch,
            offset = receipt.offset,
            attempt,
            records = receipt.records,
            failed = receipt.failed,
            remaining = receipt.remaining,
            units = receipt.units,
            cold = receipt.cold,
            ms,
            outcome = "done",
            "invocation"
        ),
        Err(failure) => warn!(
            target: "shoal::worker",
            run,
            batch,
            offset = invocation.batch.offset,
            attempt,
            records = 0,
            ms,
            outcome = failure.kind.name(),
            reason = failure.reason.as_str(),
            "invocation"
        ),
    }
}

/// Logs an event of the run with this name.
pub fn event(run: &str, event: &Event) {
    match event {
        // There are thousands of these; they only report progress.
        Event::Planning { records: 1.. } | Event::Progressed { .. } => {}
        Event::Collecting { parts: 1.., .. } => {}
        Event::Planning { .. } => info!(target: "shoal::run", run, "planning"),
        Event::Collecting { of, .. } => info!(target: "shoal::run", run, parts = of, "collecting"),
        Event::Planned { records, batches } => {
            info!(target: "shoal::run", run, records, batches, "planned");
        }
        Event::Started {
            backend,
            concurrency,
            reused_batches,
            reused_records,
        } => info!(
            target: "shoal::run",
            run,
            backend = backend.as_str(),
            concurrency,
            reused_batches,
            reused_records,
            "started"
        ),
        Event::Dispatched {
            batch,
            offset,
            until,
            attempt,
            worker,
            second,
        } => {
            debug!(target: "shoal::run", run, batch, offset, until, attempt, worker, second, "dispatched")
        }
        Event::Superseded {
            batch,
            offset,
            attempt,
            worker,
        } => debug!(target: "shoal::run", run, batch, offset, attempt, worker, "superseded"),
        Event::Finished { worker, receipt } => debug!(
            target: "shoal::run",
            run,
            batch = receipt.batch,
            offset = receipt.offset,
            attempt = receipt.attempt,
            worker,
            records = receipt.records,
            failed = receipt.failed,
            ms = receipt.timings.total,
            "finished"
        ),
        Event::Failed {
            batch,
            offset,
            attempt,
            worker,
            kind,
            reason,
            retry,
        } if *kind == FailureKind::Throttled => {
            debug!(target: "shoal::run", run, batch, offset, attempt, worker, retry, reason, "throttled");
        }
        Event::Failed {
            batch,
            offset,
            attempt,
            worker,
            kind,
            reason,
            retry,
        } => warn!(
            target: "shoal::run",
            run,
            batch,
            offset,
            attempt,
            worker,
            kind = kind.name(),
            retry,
            reason,
            "failed"
        ),
        Event::Detached { execution } => {
            let execution = execution.as_deref();
            info!(target: "shoal::run", run, execution, "left to the platform");
        }
        Event::Waiting { batch, attempt, ms } => {
            debug!(target: "shoal::run", run, batch, attempt, ms, "waiting");
        }
        Event::Held { ms } => debug!(target: "shoal::run", run, ms, "held"),
        Event::Verifying { parts } => info!(target: "shoal::run", run, parts, "verifying"),
        Event::Stopped { reason } => warn!(target: "shoal::run", run, reason, "stopped"),
        Event::Cancelled => info!(target: "shoal::run", run, "cancelled"),
        Event::Completed { results, failed } => {
            info!(target: "shoal::run", run, results, failed, "completed");
        }
    }
}
