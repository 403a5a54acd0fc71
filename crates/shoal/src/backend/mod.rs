//! The backends: where functions run. Each has a file here with its settings, and a line in `backends!`.

mod array;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "aws")]
mod aws_checks;
mod expected;
mod http;
mod lambda;
mod local;
mod process;
mod step_functions;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_dispatch::Backend;
use shoal_function::Runner;
use shoal_job::run_dir::BACKEND;
use shoal_job::{Batch, Job, RunDir};

use crate::doctor::Check;
use crate::platform::Platform;
use crate::{EngineSettings, Error, Machine, Result, Setting};

#[cfg(feature = "aws")]
pub(crate) use aws::config as aws_config;
#[cfg(feature = "aws")]
pub use aws::platform_progress;
pub(crate) use expected::expected;
#[cfg(feature = "worker")]
pub(crate) use local::threads;

macro_rules! backends {
    ($($(#[doc = $doc:literal])* $module:ident::$variant:ident = $name:literal,)*) => {
        $(pub use $module::$variant;)*

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

        /// A backend and its settings. `backend.json` of a run directory stores it, under the names of `shoal.toml`.
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

            pub(crate) fn settings(&self) -> &dyn BackendSettings {
                match self {
                    $(Self::$variant(settings) => settings,)*
                }
            }

            /// The user's number of batches in flight.
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
    local::Local = "local",
    /// Processes of this machine.
    process::Process = "process",
    /// HTTP workers.
    http::Http = "http",
    /// Numbered workers of an array job.
    array::Array = "array",
    /// AWS Lambda, called directly.
    lambda::Lambda = "lambda",
    /// A Distributed Map of AWS Step Functions.
    step_functions::StepFunctions = "step-functions",
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a backend is built for.
#[cfg_attr(
    not(feature = "aws"),
    allow(dead_code, reason = "only Step Functions reads the batches")
)]
pub(crate) struct BackendContext<'a> {
    pub(crate) run: &'a RunDir,
    pub(crate) job: &'a Job,
    pub(crate) batches: &'a [Batch],
    pub(crate) runner: &'a Arc<dyn Runner>,
    pub(crate) engine: &'a EngineSettings,
}

/// The settings of a backend, and what the rest of the library needs to know about it. Settings also have the field
/// `concurrency`.
pub(crate) trait BackendSettings {
    /// Fails if a value is out of range or missing.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>>;

    /// Adds the checks of `shoal doctor`.
    fn diagnose(&self, _checks: &mut Vec<Check>) {}

    /// The default number of batches in flight.
    fn default_concurrency(&self) -> usize {
        1
    }

    /// The user's time limit for one call, in seconds.
    fn timeout(&self) -> Option<u64> {
        None
    }

    /// The price of this machine, if functions run on it and its price is known.
    fn machine(&self) -> Option<&Machine> {
        None
    }

    /// Whether functions are threads of this process, so that they can be any [`Runner`].
    fn is_in_process(&self) -> bool {
        false
    }

    /// Whether functions run on the cores of this machine.
    fn uses_local_cores(&self) -> bool {
        self.is_in_process()
    }

    /// Whether it starts its workers, or calls workers that are running.
    fn has_workers(&self) -> bool {
        true
    }

    /// The name of the called Lambda function.
    fn function(&self) -> Option<&str> {
        None
    }

    /// Whether children of a Distributed Map are billed beside the function.
    fn bills_children(&self) -> bool {
        false
    }

    /// The URLs of its workers.
    fn urls(&self) -> &[String] {
        &[]
    }

    /// The file of a run directory that names the execution to continue.
    fn execution(&self) -> Option<&'static str> {
        None
    }

    /// Whether the run continues on a platform without this process.
    fn detaches(&self) -> bool {
        false
    }

    /// Whether functions can only read and write an object store.
    fn needs_store(&self) -> bool {
        self.function().is_some()
    }

    /// Whether a platform distributes the batches itself, or bills for them.
    fn is_platform(&self) -> bool {
        self.needs_store()
    }

    /// The platforms to simulate when a job is planned for this backend.
    fn platforms(&self) -> Vec<Platform> {
        Vec::new()
    }
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self::Local(Local::default())
    }
}

impl BackendConfig {
    /// The last backend of `run`, without detaching; the default backend if the run was never dispatched.
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
        let damaged = |e| shoal_job::Error::Corrupt {
            run: run.name(),
            reason: format!("{BACKEND} is damaged: {e}"),
        };
        Ok(parse().map_err(damaged)?)
    }

    /// The content of `backend.json`. It holds no secret: tokens come from the environment only, and URLs are redacted.
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut content = serde_json::to_vec_pretty(self).expect("settings are always JSON");
        content.push(b'\n');
        content
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The number of batches in flight.
    pub(crate) fn calls_in_flight(&self) -> usize {
        self.concurrency()
            .unwrap_or_else(|| self.settings().default_concurrency())
    }

    /// The user's time limit for one call.
    pub(crate) fn given_timeout(&self) -> Option<Duration> {
        self.settings().timeout().map(Duration::from_secs)
    }

    /// The time limit of one call.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let platform = self.settings().function().map(|_| lambda::MAX_TIMEOUT);
        self.given_timeout().or(platform)
    }

    /// Fails if a setting is out of range or missing.
    pub(crate) fn check(&self) -> Result<()> {
        let at_least_one = "it must be at least 1";
        if self.concurrency() == Some(0) {
            return Err(Error::setting(Setting::Concurrency, at_least_one));
        }
        if self.settings().timeout() == Some(0) {
            return Err(Error::setting(Setting::Timeout, at_least_one));
        }
        self.settings().check()
    }
}

/// The error of a backend that is not part of this build.
#[cfg(not(feature = "aws"))]
pub(crate) fn not_built(kind: BackendKind) -> Error {
    Error::Platform {
        backend: kind.name(),
        reason: "this build of shoal does not include it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_settings() {
        for kind in BackendKind::ALL.iter().copied() {
            assert_eq!(BackendConfig::from(kind).kind(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    /// A field without its method would be accepted and have no effect.
    #[test]
    fn each_shared_setting_reaches_its_method() {
        for kind in BackendKind::ALL.iter().copied() {
            let mut settings = serde_json::to_value(BackendConfig::from(kind)).unwrap();
            let settings = settings.as_object_mut().unwrap();
            let mut set = |name: &str, value: Value| {
                let field = settings.get_mut(name);
                field.map(|field| *field = value).is_some()
            };
            let has_timeout = set("timeout", 7.into());
            let has_machine = set("machine", "m=1.5:2".into());
            let has_function = set("function", "f".into());
            let has_urls = set("url", vec!["http://worker"].into());
            let detaches = set("detach", true.into());
            let config = serde_json::from_value::<BackendConfig>(settings.clone().into()).unwrap();
            let config = config.settings();
            assert_eq!(config.timeout().is_some(), has_timeout, "{kind}");
            assert_eq!(config.machine().is_some(), has_machine, "{kind}");
            assert_eq!(config.function().is_some(), has_function, "{kind}");
            assert_eq!(!config.urls().is_empty(), has_urls, "{kind}");
            assert_eq!(config.detaches(), detaches, "{kind}");
        }
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
        assert_eq!(kept.settings().urls(), ["https://worker/?…"]);
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
