//! Where functions run. Each backend has a file here with its settings, their validation and how it is built.

mod array;
#[cfg(feature = "aws")]
mod aws;
mod expected;
mod http;
mod lambda;
mod local;
mod process;
mod step_functions;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_dispatch::Backend;
use shoal_function::Runner;
use shoal_job::run_dir::BACKEND;
use shoal_job::{Batch, Job, RunDir};

use crate::{EngineSettings, Error, Machine, Result, Setting};

pub use array::Array;
#[cfg(feature = "aws")]
pub(crate) use aws::config as aws_config;
#[cfg(feature = "aws")]
pub use aws::platform_progress;
pub(crate) use expected::expected;
pub use http::Http;
pub(crate) use http::token;
pub use lambda::Lambda;
pub use local::Local;
#[cfg(feature = "worker")]
pub(crate) use local::threads;
pub use process::Process;
pub use step_functions::{Children, StepFunctions};

macro_rules! backends {
    ($($(#[doc = $doc:literal])* $variant:ident: $name:literal,)*) => {
        /// A kind of backend.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum BackendKind {
            $($(#[doc = $doc])* $variant,)*
        }

        impl BackendKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        /// A backend and its settings. `backend.json` of a run directory holds it, with every setting by the name that it
        /// has in `shoal.toml`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "backend", rename_all = "kebab-case")]
        pub enum BackendConfig {
            $($(#[doc = $doc])* $variant($variant),)*
        }

        impl From<BackendKind> for BackendConfig {
            /// The backend with its default settings.
            fn from(kind: BackendKind) -> Self {
                match kind {
                    $(BackendKind::$variant => Self::$variant($variant::default()),)*
                }
            }
        }

        impl BackendConfig {
            /// The kind of backend.
            pub fn kind(&self) -> BackendKind {
                match self {
                    $(Self::$variant(_) => BackendKind::$variant,)*
                }
            }

            fn settings(&self) -> &dyn BackendSettings {
                match self {
                    $(Self::$variant(settings) => settings,)*
                }
            }

            /// Batches in flight, where the user gave a number.
            pub fn concurrency(&self) -> Option<usize> {
                match self {
                    $(Self::$variant(settings) => settings.concurrency,)*
                }
            }

            /// Sets the number of batches in flight.
            pub fn set_concurrency(&mut self, concurrency: Option<usize>) {
                match self {
                    $(Self::$variant(settings) => settings.concurrency = concurrency,)*
                }
            }
        }
    };
}

backends! {
    /// Threads of this process.
    Local: "local",
    /// Processes of this machine.
    Process: "process",
    /// HTTP workers.
    Http: "http",
    /// Workers that find their share of the batches by a number.
    Array: "array",
    /// AWS Lambda, called directly.
    Lambda: "lambda",
    /// A Distributed Map of AWS Step Functions.
    StepFunctions: "step-functions",
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.iter().find(|kind| kind.name() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!(
                "there is no backend {text:?}; the backends are {}",
                names.join(", ")
            )
        })
    }
}

/// What a backend is built for.
#[cfg_attr(
    not(feature = "aws"),
    allow(dead_code, reason = "only Step Functions looks at the batches")
)]
pub(crate) struct BackendContext<'a> {
    pub(crate) run: &'a RunDir,
    pub(crate) job: &'a Job,
    pub(crate) batches: &'a [Batch],
    pub(crate) runner: &'a Arc<dyn Runner>,
    pub(crate) engine: &'a EngineSettings,
}

/// What every backend provides. Its settings also have the field `concurrency`.
pub(crate) trait BackendSettings {
    /// Fails on a value that is out of range or missing.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>>;

    /// Batches in flight where the user gives no number.
    fn default_concurrency(&self) -> usize;

    /// Seconds that one call may take, where the user gave a limit.
    fn timeout(&self) -> Option<u64> {
        None
    }

    /// What this machine costs, where functions run on it and it has a price.
    fn machine(&self) -> Option<&Machine> {
        None
    }

    /// The Lambda function, where one is called.
    fn function(&self) -> Option<&str> {
        None
    }

    /// Whether the run continues on a platform while nobody waits for it.
    fn detaches(&self) -> bool {
        false
    }

    /// Whether functions can read and write nothing but an object store.
    fn needs_store(&self) -> bool {
        self.function().is_some()
    }

    /// Whether a platform distributes the batches itself, or bills for them.
    fn is_platform(&self) -> bool {
        self.needs_store()
    }
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self::Local(Local::default())
    }
}

impl BackendConfig {
    /// The backend that `run` was dispatched to last; the default if it never was. It does not detach.
    ///
    /// # Errors
    /// The run directory cannot be read or is damaged.
    pub fn last(run: &RunDir) -> Result<Self> {
        let Some(content) = run.get(BACKEND)? else {
            return Ok(Self::default());
        };
        let parse = || -> serde_json::Result<Self> {
            let mut settings: Map<String, Value> = serde_json::from_slice(&content)?;
            settings.remove("detach");
            serde_json::from_value(settings.into())
        };
        parse().map_err(|e| {
            let reason = format!("{BACKEND} is damaged: {e}");
            shoal_job::Error::Corrupt {
                run: run.name(),
                reason,
            }
            .into()
        })
    }

    /// The content of `backend.json`. It holds no secret: tokens come from the environment only, and the query of a URL,
    /// which may be a key, is left out.
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut kept = self.clone();
        if let Self::Http(Http { urls, .. }) = &mut kept {
            for url in urls {
                *url = shoal_dispatch::redact_url(url);
            }
        }
        let mut content = serde_json::to_vec_pretty(&kept).expect("settings are always JSON");
        content.push(b'\n');
        content
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Batches in flight.
    pub(crate) fn calls_in_flight(&self) -> usize {
        self.concurrency()
            .unwrap_or_else(|| self.settings().default_concurrency())
    }

    /// What this machine costs, where functions run on it and it has a price.
    pub fn machine(&self) -> Option<&Machine> {
        self.settings().machine()
    }

    /// The time limit of one call that the user gave.
    pub(crate) fn given_timeout(&self) -> Option<Duration> {
        self.settings().timeout().map(Duration::from_secs)
    }

    /// The time limit of one call.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let platform = self.function().map(|_| lambda::MAX_TIMEOUT);
        self.given_timeout().or(platform)
    }

    /// The Lambda function, where one is called.
    pub(crate) fn function(&self) -> Option<&str> {
        self.settings().function()
    }

    /// Whether the run continues on a platform while nobody waits for it.
    pub(crate) fn detaches(&self) -> bool {
        self.settings().detaches()
    }

    /// URLs of HTTP workers.
    pub(crate) fn urls(&self) -> &[String] {
        match self {
            Self::Http(Http { urls, .. }) => urls,
            _ => &[],
        }
    }

    /// Whether functions can read and write nothing but an object store.
    pub(crate) fn needs_store(&self) -> bool {
        self.settings().needs_store()
    }

    /// Whether a platform distributes the batches itself, or bills for them.
    pub(crate) fn is_platform(&self) -> bool {
        self.settings().is_platform()
    }

    /// Fails on a setting that is out of range or missing.
    pub(crate) fn check(&self) -> Result<()> {
        if self.concurrency() == Some(0) {
            return Err(Error::setting(
                Setting::Concurrency,
                "it must be at least 1",
            ));
        }
        if self.given_timeout() == Some(Duration::ZERO) {
            return Err(Error::setting(
                Setting::Timeout,
                "it must be at least 1 second",
            ));
        }
        self.settings().check()
    }

    pub(crate) fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        self.settings().build(context)
    }
}

/// The number of cores.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// A backend of a feature that this build lacks.
#[cfg(not(feature = "aws"))]
fn not_built(kind: BackendKind) -> Error {
    Error::Platform {
        backend: kind.name(),
        reason: "this build of shoal does not include it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_backend_of_its_own() {
        for kind in BackendKind::ALL.iter().copied() {
            assert_eq!(BackendConfig::from(kind).kind(), kind);
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let error = "swarm".parse::<BackendKind>().unwrap_err();
        assert!(error.contains("step-functions"), "{error}");
    }

    #[test]
    fn backend_json_holds_the_settings_but_no_key_of_a_url() {
        let config = BackendConfig::Http(Http {
            urls: vec!["https://worker/?code=secret".into()],
            concurrency: Some(3),
            timeout: None,
        });
        let content = String::from_utf8(config.file()).unwrap();
        assert!(!content.contains("secret"), "{content}");
        let kept: BackendConfig = serde_json::from_str(&content).unwrap();
        assert_eq!(kept.concurrency(), Some(3));
        assert_eq!(kept.urls(), ["https://worker/?…"]);
    }

    #[test]
    fn settings_of_another_backend_are_not_read() {
        let content = r#"{"backend": "local", "url": ["http://x"], "concurrency": 2}"#;
        let config: BackendConfig = serde_json::from_str(content).unwrap();
        let expected = Local {
            concurrency: Some(2),
            machine: None,
        };
        assert_eq!(config, BackendConfig::Local(expected));
    }

    #[test]
    fn values_out_of_range_are_errors() {
        let http = BackendConfig::from(BackendKind::Http);
        let zero = {
            let mut local = BackendConfig::default();
            local.set_concurrency(Some(0));
            local
        };
        let steps = BackendConfig::StepFunctions(StepFunctions {
            tolerated_failures: Some(101.0),
            ..StepFunctions::default()
        });
        let lambda = BackendConfig::Lambda(Lambda {
            timeout: Some(0),
            ..Lambda::default()
        });
        for (config, expected) in [
            (http, Setting::Url),
            (zero, Setting::Concurrency),
            (steps, Setting::ToleratedFailures),
            (lambda, Setting::Timeout),
        ] {
            match config.check() {
                Err(Error::Setting { setting, .. }) => assert_eq!(setting, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
