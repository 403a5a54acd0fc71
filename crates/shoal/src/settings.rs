//! The settings of a run.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shoal_job::format::OutputFormat;
use shoal_job::spec::Parameters;
use shoal_job::windows::BATCHES_AT_ONCE;

use crate::{BackendConfig, Limits, ModelSettings};

/// What a bad record does to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The record becomes a dead letter, and the run continues.
    #[default]
    Skip,
    /// The run stops.
    Fail,
}

impl OnError {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Skip, Self::Fail];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Fail => "fail",
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Paths, folders, globs, URLs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// A file, a folder (ends in `/`, or is one), or `-` for standard output.
    pub output: String,
    /// The output's format, where its name does not say it.
    pub format: Option<OutputFormat>,
    /// The model, and what to do with it.
    pub model: ModelSettings,
    /// Columns, batch size and whatever else the results depend on. `output_format` is overwritten.
    pub parameters: Parameters,
    /// Where the functions run.
    pub backend: BackendConfig,
    /// The run directory, a folder or the URL of a prefix; where `None`, one under `store`, or in the platform's data folder.
    pub run_dir: Option<PathBuf>,
    /// URL of a prefix of an object store under which runs and copies of local inputs are kept: `runs/` and `inputs/`.
    pub store: Option<String>,
    /// What a bad record does.
    pub on_error: OnError,
    /// Whether to discard an earlier run of the same command.
    pub fresh: bool,
    /// Limits of cost and time.
    pub limits: Limits,
    /// Batches that are in memory at a time, at least. Platforms need all batches of the run at once.
    pub batches_at_once: NonZeroUsize,
    /// The arguments of the command `shoal` that repeat the run. They are kept in the run directory for its report, and must
    /// hold no secret.
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
            format: None,
            model: ModelSettings::default(),
            parameters: Parameters::default(),
            backend: BackendConfig::default(),
            run_dir: None,
            store: None,
            on_error: OnError::Skip,
            fresh: false,
            limits: Limits::default(),
            batches_at_once: BATCHES_AT_ONCE,
            command: None,
        }
    }
}
