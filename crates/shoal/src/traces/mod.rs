//! Traces of runs for OpenTelemetry: a span for each start of a run, for its stages and for each attempt at a batch. They are
//! sent as JSON by OTLP over HTTP. An unreachable collector only causes a warning.

mod otlp;
mod spans;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shoal_job::Event;

use crate::{Error, Result, Setting};
use otlp::{Collector, Span};
use spans::Spans;

/// OpenTelemetry's variable with the collector's URL.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The URL of a local collector.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// The setting that refers to that variable.
const FROM_ENVIRONMENT: &str = "env";
/// The highest number of spans per request …
const MAX_SPANS: usize = 512;
/// … and how long the first of them waits for others.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// A trace in progress.
pub struct Traces {
    spans: Spans,
    sender: JoinHandle<std::result::Result<(), String>>,
}

impl Traces {
    /// Starts a trace. `url` is the base URL of the collector, or `env` for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    ///
    /// # Errors
    /// The URL is invalid.
    pub fn start(url: &str) -> Result<Self> {
        let base = match url {
            FROM_ENVIRONMENT => {
                std::env::var(ENDPOINT).unwrap_or_else(|_| DEFAULT_ENDPOINT.to_owned())
            }
            url => url.to_owned(),
        };
        if !(base.starts_with("http://") || base.starts_with("https://")) {
            let reason = "name the URL of a collector that accepts OTLP over HTTP, such as http://localhost:4318, or env for \
                          the one in OTEL_EXPORTER_OTLP_ENDPOINT";
            return Err(Error::setting(Setting::Otlp, reason));
        }
        let collector = Collector::new(&base).map_err(|e| Error::setting(Setting::Otlp, e))?;
        let (send, waiting) = channel();
        let sender = std::thread::Builder::new()
            .name("shoal-traces".into())
            .spawn(move || deliver(&collector, &waiting))
            .map_err(|e| Error::Settings(format!("failed to start a thread: {e}")))?;
        Ok(Self {
            spans: Spans::begin(send),
            sender,
        })
    }

    /// Adds the next event of the run.
    pub fn apply(&mut self, event: &Event) {
        self.spans.apply(event);
    }

    /// Ends the trace, with the run's error if it failed, and waits until it is sent.
    ///
    /// # Errors
    /// The trace could not be sent completely.
    pub fn end(self, error: Option<&Error>) -> std::result::Result<(), String> {
        self.spans.end(error.map(ToString::to_string));
        self.sender
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Sends spans as they arrive, until sending fails.
fn deliver(collector: &Collector, waiting: &Receiver<Span>) -> std::result::Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("failed to start a runtime: {e}"))?;
    while let Ok(first) = waiting.recv() {
        let mut spans = vec![first];
        let until = Instant::now() + MAX_DELAY;
        while spans.len() < MAX_SPANS {
            match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(span) => spans.push(span),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        runtime.block_on(collector.send(&spans))?;
    }
    Ok(())
}
