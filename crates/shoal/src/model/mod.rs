//! Finds and opens models.

mod cache;
mod check;
mod hub;
#[cfg_attr(not(feature = "hub"), allow(dead_code))]
mod hub_cache;
#[cfg(feature = "hub")]
mod hub_client;
mod pack;
mod precision;
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_encoder::packed::Container;
use shoal_encoder::{Checkpoint, Isa, Model, Precision, Purpose, Target};
use shoal_job::store::{Location, is_url};
use shoal_job::{FunctionSpec, file_name};
use shoal_runners::EncoderRunner;
use shoal_tasks::{TaskKind, TaskOptions};

use crate::{Error, Result, Setting, bundled};
use cache::Cache;
pub(crate) use cache::folder as cache_folder;
pub use check::Comparison;
use hub_cache::Repo;
pub use pack::{PackSettings, PackSummary, pack};
pub(crate) use precision::Upcoming;

/// How the engine runs a model.
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {
    /// The precision. If `None`: that of a packed model; otherwise `int8` if a comparison shows that its results agree with
    /// those of `f32`.
    pub precision: Option<Precision>,
    /// The instruction set; the best one of the CPU, or of those that a packed model has, if `None`.
    pub isa: Option<Target>,
    /// The folder for packed models; in the platform's cache folder if `None`.
    pub cache_dir: Option<PathBuf>,
    /// The program of worker processes; `shoal` on the PATH if `None`. The command sets it to itself.
    pub worker_program: Option<PathBuf>,
}

impl EngineSettings {
    /// The given instruction set, if this CPU has it.
    fn isa(&self) -> Result<Option<Isa>> {
        let find = |target| {
            Isa::of(target).ok_or_else(|| {
                let all: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
                let reason = format!("this CPU lacks {target}; it has {}", all.join(", "));
                Error::setting(Setting::Isa, reason)
            })
        };
        self.isa.map(find).transpose()
    }
}

/// A model and its task.
#[derive(Debug, Clone, Default)]
pub struct ModelSettings {
    /// A model folder, a packed model or its URL, or a name on the Hugging Face hub; the bundled model if `None`.
    pub reference: Option<String>,
    /// The task and its options.
    pub task: TaskOptions,
    /// A token limit below the model's own.
    pub max_tokens: Option<usize>,
    /// How the engine runs it.
    pub engine: EngineSettings,
}

impl ModelSettings {
    /// Finds and opens the model. If no precision is given, an earlier comparison of `int8` with `f32` determines it; without
    /// one it is `f32`.
    ///
    /// # Errors
    /// The model cannot be found or used, or does not support the task.
    pub fn open(&self) -> Result<Arc<EncoderRunner>> {
        Ok(self.open_for(None)?.0)
    }

    /// As [`open`](Self::open). Without an earlier comparison, one is made on some upcoming records, if the job is large
    /// enough. Also explains the choice of the precision, if there was one.
    pub(crate) fn open_for(
        &self,
        upcoming: Option<Upcoming<'_>>,
    ) -> Result<(Arc<EncoderRunner>, Option<String>)> {
        Source::find(self.reference.as_deref())?.open_for(self, upcoming)
    }

    /// The model that a job was planned with.
    ///
    /// # Errors
    /// The job's task is damaged.
    pub(crate) fn planned(
        function: &FunctionSpec,
        engine: &EngineSettings,
    ) -> std::result::Result<Self, String> {
        let task = TaskOptions::from_spec(&function.task)
            .map_err(|e| format!("its task is damaged: {e}"))?;
        let precision = function.setting("precision").and_then(Precision::named);
        Ok(Self {
            reference: Some(function.reference.clone()),
            task,
            max_tokens: function.number("max_tokens"),
            engine: EngineSettings {
                precision,
                ..engine.clone()
            },
        })
    }

    /// The reference that a job stores, such as an absolute path.
    pub(crate) fn resolved_reference(&self) -> Result<String> {
        let source = Source::find(self.reference.as_deref())?;
        Ok(source.reference().to_owned())
    }

    pub(crate) fn runner(
        &self,
        reference: &str,
        model: impl Into<Arc<Model>>,
    ) -> Result<EncoderRunner> {
        let runner = EncoderRunner::new(reference, model.into(), &self.task, self.max_tokens)?;
        Ok(runner)
    }
}

/// A model that is found, but not opened.
#[derive(Debug)]
pub(crate) enum Source {
    Bundled,
    Folder {
        reference: String,
        path: PathBuf,
    },
    Packed {
        reference: String,
        location: Location,
    },
}

impl Source {
    /// Finds a model by its reference: a folder, a packed file or its URL, or a name on the Hugging Face hub; the bundled
    /// model if `None`.
    pub(crate) fn find(reference: Option<&str>) -> Result<Self> {
        let Some(reference) = reference.filter(|reference| *reference != bundled::NAME) else {
            return Ok(Self::Bundled);
        };
        if reference.is_empty() {
            return Err(Error::Settings(
                "failed to find the model: its name is empty".into(),
            ));
        }
        if is_url(reference) {
            let reference = reference.to_owned();
            let location = Location::parse(&reference).map_err(remote::of_model)?;
            return Ok(match location {
                Location::Local(path) if !path.is_file() => Self::Folder { reference, path },
                location => Self::Packed {
                    reference,
                    location,
                },
            });
        }
        let path = Path::new(reference);
        if path.exists() || !hub::is_hub_name(reference) {
            let path = std::path::absolute(path)
                .map_err(|e| shoal_job::Error::storage("find model", reference, e))?;
            let reference = file_name::text(&path)?.to_owned();
            return Ok(if path.is_file() {
                Self::Packed {
                    reference,
                    location: Location::Local(path),
                }
            } else {
                // A model's folder in the hub's cache stands for its snapshot.
                let snapshot = Repo::at(&path).and_then(|repo| repo.only_snapshot());
                let path = snapshot.unwrap_or(path);
                Self::Folder { reference, path }
            });
        }
        let path = hub::hub(reference)?;
        Ok(Self::Folder {
            reference: reference.to_owned(),
            path,
        })
    }

    /// The reference in `job.json`, by which [`find`](Self::find) finds it again.
    fn reference(&self) -> &str {
        match self {
            Self::Bundled => bundled::NAME,
            Self::Folder { reference, .. } | Self::Packed { reference, .. } => reference,
        }
    }

    /// Opens it with all settings except the reference.
    #[cfg(feature = "worker")]
    pub(crate) fn open(&self, settings: &ModelSettings) -> Result<Arc<EncoderRunner>> {
        Ok(self.open_for(settings, None)?.0)
    }

    fn open_for(
        &self,
        settings: &ModelSettings,
        upcoming: Option<Upcoming<'_>>,
    ) -> Result<(Arc<EncoderRunner>, Option<String>)> {
        let (model, choice) = self.open_model(settings, upcoming)?;
        let runner = settings.runner(self.reference(), model)?;
        Ok((Arc::new(runner), choice))
    }

    fn open_model(
        &self,
        settings: &ModelSettings,
        upcoming: Option<Upcoming<'_>>,
    ) -> Result<(Model, Option<String>)> {
        let ModelSettings { engine, task, .. } = settings;
        let isa = engine.isa()?;
        if let Self::Packed {
            reference,
            location,
        } = self
        {
            let open = |path: &Path| {
                let container = Container::open_as(path, reference)?;
                let isas = isa.map_or_else(Isa::available, |isa| vec![isa]);
                Ok(Model::read(&container, &isas)?)
            };
            let model = match location {
                Location::Local(path) => open(path)?,
                Location::Remote(_) => remote::open(location, engine.cache_dir.as_deref(), open)?,
            };
            return match engine.precision {
                Some(wanted) if wanted != model.precision() => Err(Error::setting(
                    Setting::Precision,
                    format!(
                        "{reference} is packed in {}; name the model that it was packed from, or pack that in {wanted}",
                        model.precision()
                    ),
                )),
                _ => Ok((model, None)),
            };
        }
        let isa = isa.unwrap_or_else(Isa::best);
        let fingerprint = self.fingerprint()?;
        let cache = Cache::new(engine.cache_dir.as_deref());
        let purpose = match (task.kind, self) {
            (Some(kind), _) => kind.purpose(),
            (None, Self::Bundled) => Purpose::Classify,
            (None, _) => self.checkpoint()?.default_purpose(),
        };
        let (precision, choice) = match engine.precision {
            Some(precision) => (precision, None),
            None => {
                let key = cache::Key {
                    fingerprint: &fingerprint,
                    task: task.kind.unwrap_or(TaskKind::of(purpose)),
                    isa,
                };
                precision::choose(self, settings, &cache, key, upcoming)?
            }
        };
        let checkpoint = || self.checkpoint();
        let model = cache.open(&fingerprint, purpose, precision, isa, checkpoint)?;
        Ok((model, choice))
    }

    /// The files of a model that is not packed.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint> {
        match self {
            Self::Bundled => Ok(bundled::checkpoint()?),
            Self::Folder { path, .. } => Ok(Checkpoint::open(path)?),
            Self::Packed { reference, .. } => Err(packed_already(reference)),
        }
    }

    pub(crate) fn fingerprint(&self) -> Result<String> {
        match self {
            Self::Bundled => Ok(bundled::FINGERPRINT.to_owned()),
            Self::Folder { path, .. } => Ok(Checkpoint::fingerprint(path)?),
            Self::Packed { reference, .. } => Err(packed_already(reference)),
        }
    }
}

fn packed_already(reference: &str) -> Error {
    Error::Settings(format!(
        "failed to pack {reference}: it is packed already; name the model that it was packed from"
    ))
}

#[cfg(test)]
mod tests {
    use shoal_encoder::ModelError;

    use super::*;

    #[test]
    fn a_missing_folder_is_an_error() {
        let source = Source::find(Some("./nowhere")).unwrap();
        let Err(error) = source.open_for(&ModelSettings::default(), None) else {
            panic!("opened")
        };
        assert!(
            matches!(error, Error::Model(ModelError::NotFound { .. })),
            "{error}"
        );
    }

    #[test]
    fn the_token_limit_must_fit_the_model() {
        let cache = tempfile::tempdir().unwrap();
        let settings = ModelSettings {
            max_tokens: Some(513),
            engine: EngineSettings {
                cache_dir: Some(cache.path().to_owned()),
                ..EngineSettings::default()
            },
            ..ModelSettings::default()
        };
        let Err(error) = settings.open() else {
            panic!("opened")
        };
        assert!(error.to_string().contains("2 to 512"), "{error}");
    }
}
