//! From what the user calls a model to an opened one.

mod cache;
mod check;
mod hub;
mod pack;
mod precision;
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_encoder::packed::Container;
use shoal_encoder::{Checkpoint, Isa, Model, Precision, Purpose, Target};
use shoal_job::store::{Location, is_url};
use shoal_runners::EncoderRunner;
use shoal_tasks::{TaskKind, TaskOptions};

use crate::{Error, Result, Setting, bundled};
use cache::Cache;
pub(crate) use cache::folder as cache_folder;
pub use check::Comparison;
pub use pack::{PackSettings, PackSummary, pack};
pub(crate) use precision::Upcoming;
pub use precision::{Agreement, PrecisionChoice};

/// How the engine is to run a model.
#[derive(Debug, Clone, Default)]
pub struct EngineSettings {
    /// `int8` or `f32`. Where `None`: that of a packed model; else `int8` where a comparison shows that its results agree
    /// with those of `f32`.
    pub precision: Option<Precision>,
    /// Name of the instruction set; the best that the CPU has, and a packed model is packed for, where `None`.
    pub isa: Option<String>,
    /// Where packed models are kept; a folder in the platform's cache folder where `None`.
    pub cache_dir: Option<PathBuf>,
    /// The program that worker processes run; `shoal` on the PATH where `None`. The command sets it to itself.
    pub worker_program: Option<PathBuf>,
}

impl EngineSettings {
    /// The instruction set that was asked for.
    fn isa(&self) -> Result<Option<Isa>> {
        let Some(name) = &self.isa else {
            return Ok(None);
        };
        let target = target(name)?;
        if let Some(isa) = Isa::of(target) {
            return Ok(Some(isa));
        }
        let has: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
        let reason = format!("this CPU lacks {name}; it has {}", has.join(", "));
        Err(Error::setting(Setting::Isa, reason))
    }
}

/// A model, and what to do with it.
#[derive(Debug, Clone, Default)]
pub struct ModelSettings {
    /// A model folder, a packed model or its URL, or a name on the Hugging Face hub; the bundled model where `None`.
    pub reference: Option<String>,
    /// The task and its options.
    pub task: TaskOptions,
    /// A limit in tokens below the model's own.
    pub max_tokens: Option<usize>,
    /// How the engine runs it.
    pub engine: EngineSettings,
}

impl ModelSettings {
    /// Finds the model and opens it. Where no precision is asked for, an earlier comparison of `int8` with `f32` decides;
    /// without one it is `f32`.
    ///
    /// # Errors
    /// The model cannot be found or used, or not for the task.
    pub fn open(&self) -> Result<Arc<EncoderRunner>> {
        Ok(self.open_for(None)?.0)
    }

    /// The reference by which a job records it, such as an absolute path.
    pub(crate) fn resolved_reference(&self) -> Result<String> {
        Ok(Source::find(self.reference.as_deref())?
            .reference()
            .to_owned())
    }

    /// As [`open`](Self::open); without an earlier comparison, one is made on some of the records to come, where that
    /// pays.
    pub(crate) fn open_for(
        &self,
        upcoming: Option<Upcoming<'_>>,
    ) -> Result<(Arc<EncoderRunner>, PrecisionChoice)> {
        Source::find(self.reference.as_deref())?.open_for(self, upcoming)
    }
}

/// The instruction set of this name, which this CPU need not have.
fn target(name: &str) -> Result<Target> {
    Target::named(name).ok_or_else(|| {
        let known = Target::ALL.map(Target::name).join(", ");
        Error::setting(
            Setting::Isa,
            format!("there is no such instruction set: {name:?}; there are {known}"),
        )
    })
}

/// A model found, but not yet opened.
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
    /// Finds the model that `reference` names: none for the bundled one, a folder, a packed file, the
    /// URL of one, or a name on the Hugging Face hub.
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
            let reference = path.display().to_string();
            return Ok(if path.is_file() {
                Self::Packed {
                    reference,
                    location: Location::Local(path),
                }
            } else {
                Self::Folder { reference, path }
            });
        }
        let path = hub::hub(reference)?;
        Ok(Self::Folder {
            reference: reference.to_owned(),
            path,
        })
    }

    /// Its name in `job.json`, from which [`find`](Self::find) finds it again.
    fn reference(&self) -> &str {
        match self {
            Self::Bundled => bundled::NAME,
            Self::Folder { reference, .. } | Self::Packed { reference, .. } => reference,
        }
    }

    /// Opens it with all settings but the reference.
    #[cfg(feature = "worker")]
    pub(crate) fn open(&self, settings: &ModelSettings) -> Result<Arc<EncoderRunner>> {
        Ok(self.open_for(settings, None)?.0)
    }

    fn open_for(
        &self,
        settings: &ModelSettings,
        upcoming: Option<Upcoming<'_>>,
    ) -> Result<(Arc<EncoderRunner>, PrecisionChoice)> {
        let (model, choice) = self.open_model(settings, upcoming)?;
        let ModelSettings {
            task, max_tokens, ..
        } = settings;
        let runner = EncoderRunner::new(self.reference(), model.into(), task, *max_tokens)?;
        Ok((Arc::new(runner), choice))
    }

    fn open_model(
        &self,
        settings: &ModelSettings,
        upcoming: Option<Upcoming<'_>>,
    ) -> Result<(Model, PrecisionChoice)> {
        let ModelSettings { engine, task, .. } = settings;
        let isa = engine.isa()?;
        if let Self::Packed {
            reference,
            location,
        } = self
        {
            let open = |path: &Path| {
                let container = Container::open_as(path, reference)?;
                Ok(match isa {
                    Some(isa) => Model::read(&container, &[isa])?,
                    None => Model::read(&container, &Isa::available())?,
                })
            };
            let model = match location {
                Location::Local(path) => open(path)?,
                Location::Remote(_) => remote::open(location, engine.cache_dir.as_deref(), open)?,
            };
            return match engine.precision {
                Some(wanted) if wanted != model.precision() => Err(Error::setting(
                    Setting::Precision,
                    format!(
                        "{reference} is packed in {}; give the model that it was packed from, or pack that in {wanted}",
                        model.precision()
                    ),
                )),
                _ => Ok((model, PrecisionChoice::Given)),
            };
        }
        let isa = isa.unwrap_or_else(Isa::best);
        let fingerprint = self.fingerprint()?;
        let cache = Cache::new(engine.cache_dir.as_deref());
        let purpose = match task.kind {
            Some(kind) => kind.purpose(),
            None => self.purpose()?,
        };
        let (precision, choice) = match engine.precision {
            Some(precision) => (precision, PrecisionChoice::Given),
            None => {
                let key = precision::Key {
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

    /// What the model was made for.
    pub(crate) fn purpose(&self) -> Result<Purpose> {
        match self {
            Self::Bundled => Ok(Purpose::Classify),
            _ => Ok(self.checkpoint()?.default_purpose()),
        }
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
        "failed to pack {reference}: it is packed already; give the model that it was packed from"
    ))
}

#[cfg(test)]
mod tests {
    use shoal_encoder::ModelError;

    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_named() {
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

    #[test]
    fn unknown_instruction_sets_are_refused() {
        for (name, says) in [("sse9", "no such"), ("", "no such")] {
            let engine = EngineSettings {
                isa: Some(name.into()),
                ..EngineSettings::default()
            };
            let error = engine.isa().unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains("portable"),
                "{error}"
            );
        }
    }
}
