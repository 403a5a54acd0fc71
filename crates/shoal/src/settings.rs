//! The settings of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shoal_job::format::OutputFormat;
use shoal_job::spec::Parameters;
use shoal_job::store::is_url;

use crate::{BackendConfig, EngineSettings, Error, Limits, ModelSettings, Result, Setting};

/// A run stops if none of its first records has a result: this many, rounded up to whole batches.
pub const FIRST_RECORDS: u64 = 1000;

/// How a run handles bad records. They become dead letters in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The run continues, even if none of its first records has a result.
    Skip,
    /// As `Skip`, and the records are in the output too, with the reason in the column `error`
    /// ([`Parameters::error_column`]).
    Keep,
    /// The run stops.
    Fail,
}

impl OnError {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Keep, Self::Fail];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Keep => "keep",
            Self::Fail => "fail",
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Paths, folders, globs, URLs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// A file, a folder (ends in `/`, or is one), or `-` for standard output.
    pub output: String,
    /// The output's format; determined by its name if `None`.
    pub format: Option<OutputFormat>,
    /// The model, and what to do with it.
    pub model: ModelSettings,
    /// Columns, batch size and other parameters of the results. `output_format` is overwritten, and `error_column` is set for
    /// [`OnError::Keep`].
    pub parameters: Parameters,
    /// Where the functions run.
    pub backend: BackendConfig,
    /// The run directory, a folder or the URL of a prefix; if `None`, one under `store` or in the platform's data folder.
    pub run_dir: Option<PathBuf>,
    /// URL of a prefix of an object store for runs (`runs/`) and copies of local inputs (`inputs/`).
    pub store: Option<String>,
    /// How bad records are handled; if `None`, the run continues, unless none of its first [`FIRST_RECORDS`] has a result.
    pub on_error: Option<OnError>,
    /// Whether to discard an earlier run of the same command.
    pub fresh: bool,
    /// Limits of cost and time.
    pub limits: Limits,
    /// The least number of batches in memory at a time; 16,384 if `None`. Platforms need all batches of the run at once.
    pub batches_at_once: Option<NonZeroUsize>,
    /// The arguments of `shoal` that repeat the run, for its report. They are stored in the run directory and must not
    /// contain secrets.
    pub command: Option<Vec<String>>,
}

impl Settings {
    /// The defaults: bundled model, batches of 50, all cores.
    pub fn new<S: Into<String>>(
        inputs: impl IntoIterator<Item = S>,
        output: impl Into<String>,
    ) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            output: output.into(),
            ..Self::default()
        }
    }
    /// Fails if settings of the backend, limits or stores are out of range or contradict each other.
    pub(crate) fn check(&self) -> Result<()> {
        self.backend.check()?;
        self.limits.check(&self.backend)?;
        let wrong = |reason: String| Err(Error::setting(Setting::Store, reason));
        match &self.store {
            Some(_) if self.run_dir.is_some() => {
                return wrong("the run directory is set too, and only one of them can be".into());
            }
            Some(store) if !is_url(store) => {
                return wrong(format!(
                    "{store} is not the URL of an object store, such as s3://bucket/shoal; set a folder as the run directory"
                ));
            }
            _ => {}
        }
        let run_dir = self.run_dir.as_ref().and_then(|path| path.to_str());
        let has_store = self.store.is_some() || run_dir.is_some_and(is_url);
        if self.backend.settings().needs_store() && !has_store {
            return wrong(format!(
                "functions of the backend {} cannot read files of this machine; the run needs an object store, such as \
                 s3://bucket/shoal",
                self.backend.name()
            ));
        }
        Ok(())
    }
}

/// What may change when a run is resumed.
#[derive(Debug, Clone, Default)]
pub struct ResumeOptions {
    /// The output; as planned if `None`.
    pub output: Option<String>,
    /// The backend; that of the last start ([`BackendConfig::last`]) if `None`.
    pub backend: Option<BackendConfig>,
    /// Whether to use the output, inputs, model and backend of a run directory that another user created.
    pub trust: bool,
    /// Limits of cost and time.
    pub limits: Limits,
    /// How bad records are handled, as in [`Settings`]. Only a run that was planned with [`OnError::Keep`] can keep them.
    pub on_error: Option<OnError>,
    /// Whether to retry the records that crashed their function.
    pub retry: bool,
    /// How the engine runs the model; the precision is the run's own.
    pub engine: EngineSettings,
}
