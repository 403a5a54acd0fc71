//! Packed models that are kept, so that a model is packed once and mapped from then on.

use std::path::{Path, PathBuf};

use shoal_encoder::{Checkpoint, Isa, Model, PACKING, Packed, Precision, Purpose, packed};

use super::precision::{Agreement, Key};
use crate::Result;

/// The folder that was asked for, else the one in the platform's cache folder, if there is such.
pub(crate) fn folder(wanted: Option<&Path>) -> Option<PathBuf> {
    match wanted {
        Some(folder) => Some(folder.to_owned()),
        None => dirs::cache_dir().map(|folder| folder.join("shoal").join("models")),
    }
}

/// A folder of packed models, named by what they were made of. It may be emptied at any time; where it cannot be
/// written, models are packed in memory at each start.
pub(super) struct Cache {
    folder: Option<PathBuf>,
}

impl Cache {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        Self {
            folder: self::folder(folder),
        }
    }

    /// The packed model, from the folder if it is there, else packed now and put there.
    pub(super) fn open(
        &self,
        fingerprint: &str,
        purpose: Purpose,
        precision: Precision,
        isa: Isa,
        checkpoint: impl FnOnce() -> Result<Checkpoint>,
    ) -> Result<Model> {
        let path = self.path(fingerprint, isa, &format!("{purpose}-{precision}.shoal"));
        // Whatever is wrong with a file of the cache, another one can be made.
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

    /// How `int8` agrees with `f32`, if it was ever measured.
    pub(super) fn agreement(&self, key: Key<'_>) -> Option<Agreement> {
        let content = std::fs::read(self.agreement_path(key)?).ok()?;
        serde_json::from_slice(&content).ok()
    }

    fn agreement_path(&self, key: Key<'_>) -> Option<PathBuf> {
        let what = format!("{}-agreement.json", key.task);
        self.path(key.fingerprint, key.isa, &what)
    }

    /// Best effort: an agreement that is not remembered is measured again.
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
