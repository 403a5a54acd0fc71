//! What is said of the work for those who read logs: lines on standard error, as text or as JSON.
//!
//! No text of a record, no token and no credentials is ever a field; what other libraries say is kept below warnings, since
//! nobody vouches for theirs.

use std::sync::OnceLock;
use std::time::Duration;

use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use tracing::{debug, info, warn};

/// The variable that says how logs are written.
pub const FORMAT: &str = "SHOAL_LOG_FORMAT";
/// The variable that says how much is logged.
pub const LEVEL: &str = "SHOAL_LOG";

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Format {
    pub const ALL: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// How much is logged: each level says what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    pub const ALL: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];
}

/// The value of this name.
pub fn named<T: Copy>(text: &str, all: &[(&str, T)]) -> std::result::Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        format!("there are {}", names.join(", "))
    })
}

/// What stands in a variable, for who is started without a command line.
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

/// Whether all that is said on standard error is to be JSON.
pub fn is_json() -> bool {
    STARTED.get() == Some(&Format::Json)
}

/// Writes logs from now on. `level` is that of what shoal says; `None` is nothing at all.
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
        // Who does not listen does not stop a run.
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
        // Set nowhere else.
        let _ = STARTED.set(format);
    }
}

/// One call of a function that was worked on here.
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

/// One step of the run of this name.
pub fn event(run: &str, event: &Event) {
    match event {
        // They come by the thousand, and say how far it is.
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
        #[allow(
            unreachable_patterns,
            reason = "steps that say no more than their name"
        )]
        other => debug!(target: "shoal::run", run, step = other.name(), "step"),
    }
}
