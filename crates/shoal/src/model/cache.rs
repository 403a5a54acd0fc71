//! The cache of packed models: a model is packed once, then mapped.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shoal_encoder::{Checkpoint, Isa, Model, PACKING, Packed, Precision, Purpose, packed};
use shoal_tasks::TaskKind;

use crate::Result;

/// The given folder, or the default one in the platform's cache folder.
pub(crate) fn folder(given: Option<&Path>) -> Option<PathBuf> {
    match given {
        Some(folder) => Some(folder.to_owned()),
        None => dirs::cache_dir().map(|folder| folder.join("shoal").join("models")),
    }
}

/// The agreement of `int8` with `f32` on some records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Agreement {
    /// The mean of the task's [agreement](shoal_tasks::Task::agreement) over the records, from 0 to 1.
    pub(super) agreement: f64,
    /// What was measured, such as "same label".
    pub(super) measure: String,
    /// The number of records.
    pub(super) records: u64,
}

/// The model, task and instruction set of an agreement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) fingerprint: &'a str,
    pub(super) task: TaskKind,
    pub(super) isa: Isa,
}

/// A folder of packed models, named by their content. It may be emptied at any time; if it cannot be written, models are
/// packed in memory at each start.
pub(super) struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: self::folder(folder),
        }
    }

    /// Opens the packed model in the folder, or packs it and stores it there.
    pub(super) fn open(
        &self,
        fingerprint: &str,
        purpose: Purpose,
        precision: Precision,
        isa: Isa,
        checkpoint: impl FnOnce() -> Result<Checkpoint>,
    ) -> Result<Model> {
        let path = self.path(fingerprint, isa, &format!("{purpose}-{precision}.shoal"));
        // An unusable file is replaced.
        if let Some(path) = &path
            && path.is_file()
            && let Ok(model) = Model::open_packed(path, &[isa])
            && model.fingerprint() == fingerprint
            && model.purpose() == purpose
            && model.precision() == precision
        {
            return Ok(model);
        }
        let packed = Packed::new(
            &checkpoint()?,
            fingerprint.to_owned(),
            purpose,
            precision,
            &[isa.target()],
        )?;
        if let Some(path) = path
            && std::fs::create_dir_all(path.parent().expect("it is in a folder")).is_ok()
            && packed.save(&path).is_ok()
            && let Ok(model) = Model::open_packed(&path, &[isa])
        {
            return Ok(model);
        }
        Ok(Model::read(
            &packed.into_container("the packed model")?,
            &[isa],
        )?)
    }

    /// The agreement of `int8` with `f32`, if it was measured before.
    pub(super) fn agreement(&self, key: Key<'_>) -> Option<Agreement> {
        let content = std::fs::read(self.agreement_path(key)?).ok()?;
        serde_json::from_slice(&content).ok()
    }

    fn agreement_path(&self, key: Key<'_>) -> Option<PathBuf> {
        let what = format!("{}-agreement.json", key.task);
        self.path(key.fingerprint, key.isa, &what)
    }

    /// Stores an agreement. Failures are ignored: it is measured again.
    pub(super) fn remember_agreement(&self, key: Key<'_>, agreement: &Agreement) {
        let Some(path) = self.agreement_path(key) else {
            return;
        };
        let folder = path.parent().expect("it is in a folder");
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(folder)?;
            let temporary = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(temporary.as_file(), agreement)?;
            temporary.persist(&path)?;
            Ok(())
        };
        let _ = write();
    }

    fn path(&self, fingerprint: &str, isa: Isa, what: &str) -> Option<PathBuf> {
        let version = format!("{}.{PACKING}", packed::VERSION);
        let fingerprint = &fingerprint[..fingerprint.len().min(32)];
        let name = format!("{fingerprint}-{version}-{}-{what}", isa.name());
        Some(self.folder.as_ref()?.join(name))
    }
}
