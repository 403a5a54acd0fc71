//! What a run is asked to do.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shoal_job::format::OutputFormat;
use shoal_job::spec::Parameters;
use shoal_job::windows::BATCHES_AT_ONCE;

use crate::{BackendConfig, Limits, ModelSettings};

/// What happens to a run when a record is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The record goes to the dead letters, the run goes on.
    #[default]
    Skip,
    /// The run stops.
    Fail,
}

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Paths, folders, globs, URLs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// A file, a folder (ends in `/`, or is one), or `-` for standard output.
    pub output: String,
    /// The output's format, where its name does not tell it.
    pub format: Option<OutputFormat>,
    /// The model, and what to do with it.
    pub model: ModelSettings,
    /// Everything else that the results depend on. `output_format` is overwritten.
    pub parameters: Parameters,
    /// Where the functions run.
    pub place: BackendConfig,
    /// The run directory, a folder or the URL of a prefix; one under `store`, or below the platform's data folder, where
    /// `None`.
    pub run_dir: Option<PathBuf>,
    /// URL of a prefix of an object store under which runs and copies of local inputs are kept: `runs/` and `inputs/`.
    pub store: Option<String>,
    /// What a bad record does.
    pub on_error: OnError,
    /// Whether to start over where there is a run already.
    pub fresh: bool,
    /// What it may cost and take.
    pub limits: Limits,
    /// Batches that are in memory at a time with their receipts, at least; of platforms that are told of all of them at once,
    /// it is all.
    pub batches_at_once: NonZeroUsize,
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
            place: BackendConfig::default(),
            run_dir: None,
            store: None,
            on_error: OnError::Skip,
            fresh: false,
            limits: Limits::default(),
            batches_at_once: BATCHES_AT_ONCE,
        }
    }
}
