//! Logs: lines on standard error, as text or as JSON.
//!
//! No field contains text of a record, a token or credentials. Since the fields of other libraries are unknown, only their
//! warnings and errors are logged.

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
    /// Text for people.
    Text,
    /// A JSON object per line.
    Json,
}

impl Format {
    /// All formats by name.
    pub const ALL: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// The lowest level of logs: `error`, `warn` (failures that a run survives), `info` (phases of a run, invocations of a
/// worker), `debug` (calls) and `trace`.
pub use tracing::Level;

/// All levels by name.
pub const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// The value with the name `text`.
pub fn named<T: Copy>(text: &str, all: &[(&str, T)]) -> std::result::Result<T, String> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        format!("valid values are {}", names.join(", "))
    })
}

/// The value of an environment variable.
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

/// Starts logging. `level` applies to shoal's own lines; `None` logs nothing.
#[cfg(feature = "worker")]
pub fn start(format: Format, level: Option<Level>) {
    use tracing_subscriber::Layer;
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let own = level.map_or(LevelFilter::OFF, LevelFilter::from_level);
    let filter = Targets::new()
        .with_default(own.min(LevelFilter::WARN))
        .with_target("shoal", own);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // A run does not fail because of its log.
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
        // Only this call sets it.
        let _ = STARTED.set(format);
    }
}

/// Logs an invocation that this process handled.
pub fn invocation(
    invocation: &Invocation,
    result: &std::result::Result<Receipt, Failure>,
    duration: Duration,
) {
    let run = &*invocation.run;
    let (batch, attempt) = (invocation.batch.index, invocation.attempt);
    let ms = (duration.as_secs_f64() * 1e6).round() / 1e3;
    match result {
        Ok(Receipt {
            offset,
            records,
            failed,
            remaining,
            units,
            cold,
            ..
        }) => info!(
            target: "shoal::worker",
            run, batch, offset, attempt, records, failed, remaining, units, cold, ms, outcome = "done", "invocation"
        ),
        Err(Failure { kind, reason, .. }) => {
            let (offset, outcome) = (invocation.batch.offset, kind.name());
            warn!(
                target: "shoal::worker",
                run, batch, offset, attempt, records = 0, ms, outcome, reason, "invocation"
            );
        }
    }
}

/// Logs an event of a run.
pub fn event(run: &str, event: &Event) {
    match event {
        // There are thousands of these, for the progress bar.
        Event::Planning { records: 1.. }
        | Event::Collecting { parts: 1.., .. }
        | Event::Progressed { .. } => {}
        Event::Planning { .. } => info!(target: "shoal::run", run, "planning"),
        Event::Collecting { of, .. } => info!(target: "shoal::run", run, parts = of, "collecting"),
        Event::Planned {
            records,
            batches,
            notes,
        } => {
            for note in notes {
                warn!(target: "shoal::run", run, note, "input");
            }
            info!(target: "shoal::run", run, records, batches, "planned");
        }
        Event::Started {
            backend,
            concurrency,
            reused_batches,
            reused_records,
        } => info!(
            target: "shoal::run",
            run, backend, concurrency, reused_batches, reused_records, "started"
        ),
        Event::Dispatched {
            batch,
            offset,
            until,
            attempt,
            worker,
            second,
        } => debug!(
            target: "shoal::run",
            run, batch, offset, until, attempt, worker, second, "dispatched"
        ),
        Event::Superseded {
            batch,
            offset,
            attempt,
            worker,
        } => {
            debug!(target: "shoal::run", run, batch, offset, attempt, worker, "superseded");
        }
        Event::Finished { worker, receipt } => {
            let Receipt {
                batch,
                offset,
                attempt,
                records,
                failed,
                ref timings,
                ..
            } = **receipt;
            let ms = timings.total;
            debug!(
                target: "shoal::run",
                run, batch, offset, attempt, worker, records, failed, ms, "finished"
            );
        }
        Event::Failed {
            batch,
            offset,
            attempt,
            worker,
            kind,
            reason,
            retry,
        } => {
            if *kind == FailureKind::Throttled {
                debug!(
                    target: "shoal::run",
                    run, batch, offset, attempt, worker, retry, reason, "throttled"
                );
            } else {
                let kind = kind.name();
                warn!(
                    target: "shoal::run",
                    run, batch, offset, attempt, worker, kind, retry, reason, "failed"
                );
            }
        }
        Event::Detached { execution } => {
            info!(target: "shoal::run", run, execution, "detached");
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
