//! `--otlp`: the trace of a command, if the feature is built in and the option is set.

use super::progress::say;
use shoal::{Error, Event, Result, Summary};

/// A trace, if the option is set.
pub(super) struct Traced {
    #[cfg(feature = "otel")]
    traces: Option<shoal::traces::Traces>,
}

impl Traced {
    /// To the collector at `url`.
    #[cfg(feature = "otel")]
    pub(super) fn start(url: Option<&str>) -> Result<Self> {
        let traces = url.map(shoal::traces::Traces::start).transpose()?;
        Ok(Self { traces })
    }

    #[cfg(not(feature = "otel"))]
    pub(super) fn start(url: Option<&str>) -> Result<Self> {
        match url {
            None => Ok(Self {}),
            Some(_) => Err(Error::Settings(
                "failed to use --otlp: this shoal was built without it (feature otel)".into(),
            )),
        }
    }

    /// Takes the next event of the run.
    #[cfg_attr(
        not(feature = "otel"),
        allow(unused_variables, reason = "nothing is traced")
    )]
    pub(super) fn apply(&mut self, event: &Event) {
        #[cfg(feature = "otel")]
        if let Some(traces) = &mut self.traces {
            traces.apply(event);
        }
    }

    /// Ends the trace as the run did. A run does not fail for its trace.
    pub(super) fn end(self, end: &Result<Summary>) {
        let error = match end {
            Ok(_) | Err(Error::Detached { .. }) => None,
            Err(error) => Some(error),
        };
        #[cfg(feature = "otel")]
        if let Some(Err(reason)) = self.traces.map(|traces| traces.end(error)) {
            say(&format!(
                "warning: the trace was not sent, or not all of it (--otlp): {reason}"
            ));
        }
        #[cfg(not(feature = "otel"))]
        let _ = (error, say as fn(&str));
    }
}
