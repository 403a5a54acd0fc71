//! What stands in for traces (`--otlp`) in a build without the feature `otel`.

use shoal::{Error, Event, Result};

/// There is none: `start` fails.
pub(crate) struct Traces;

impl Traces {
    pub(crate) fn start(_: &str) -> Result<Self> {
        Err(Error::Settings(
            "failed to use --otlp: this shoal was built without it (feature otel)".into(),
        ))
    }

    pub(crate) fn apply(&mut self, _: &Event) {}

    pub(crate) fn end(self, _: Option<&Error>) -> std::result::Result<(), String> {
        Ok(())
    }
}
