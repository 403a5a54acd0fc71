//! Reading a packed model.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use shoal_kernels::{ALIGNMENT, Bytes, MappedFile, Pod, View};

use super::header::{self, LEN, MAX_METADATA, malformed};
use super::table;
use crate::error::ModelError;

/// An opened packed model: verified, its sections read without copying.
pub struct Container {
    /// For messages.
    path: PathBuf,
    bytes: Bytes,
    model: Box<RawValue>,
    /// Ranges within `bytes`.
    sections: HashMap<String, Range<usize>>,
}

impl Container {
    /// Maps the file at `path` and verifies it, which reads it once. It must not be changed in
    /// place while the container or anything taken out of it lives; replacing it by renaming
    /// another file over it is safe.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the file cannot be read, otherwise as [`Container::from_bytes`].
    pub fn open(path: &Path) -> Result<Container, ModelError> {
        Container::open_as(path, path)
    }

    /// As [`Container::open`]; messages call the file `name`, for example the URL that it was downloaded
    /// from.
    ///
    /// # Errors
    /// As [`Container::open`].
    pub fn open_as(path: &Path, name: impl Into<PathBuf>) -> Result<Container, ModelError> {
        let file = MappedFile::open(path).map_err(|source| ModelError::Io {
            path: path.to_owned(),
            source,
        })?;
        Container::from_bytes(file.into(), name)
    }

    /// Verifies a file in memory, which must start on a 64-byte boundary, as with
    /// [`to_bytes`](super::to_bytes) and [`include_aligned!`](shoal_kernels::include_aligned). Messages call it
    /// `path`. Only the metadata is copied.
    ///
    /// # Errors
    /// * [`ModelError::NotPacked`] for any other file,
    /// * [`ModelError::Damaged`] for a file that is not as it was written,
    /// * [`ModelError::Malformed`] for one with a valid checksum that has another version of the format, violates it or
    ///   does not start on a boundary.
    pub fn from_bytes(bytes: Bytes, path: impl Into<PathBuf>) -> Result<Container, ModelError> {
        let path = path.into();
        if cfg!(target_endian = "big") {
            return Err(ModelError::unsupported(format!(
                "{} is a packed model, which needs a little-endian machine",
                path.display()
            )));
        }
        let metadata = header::verify(&path, &bytes)?;
        if !bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) {
            let reason = "it does not start on a 64-byte boundary in memory";
            return Err(malformed(&path, reason));
        }
        if metadata > MAX_METADATA {
            let reason =
                format!("its metadata of {metadata} bytes are more than {MAX_METADATA} bytes");
            return Err(malformed(&path, reason));
        }
        let end = LEN + metadata;
        let Some(json) = bytes.get(LEN..end) else {
            let reason = format!(
                "its metadata would end at {end}, but the file has {} bytes",
                bytes.len()
            );
            return Err(malformed(&path, reason));
        };
        let (model, table) = table::parse(json, bytes.len())
            .map_err(|reason| malformed(&path, format!("{reason}; pack it again")))?;
        let start = table::start(metadata);
        let sections = table
            .into_iter()
            .map(|section| {
                // The table was checked to be within the bytes, so this is within `usize`.
                let from = start + section.offset as usize;
                (section.name, from..from + section.length as usize)
            })
            .collect();
        Ok(Container {
            path,
            bytes,
            model,
            sections,
        })
    }

    /// The path or name that the container was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the file in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The metadata that the file was written with.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if it does not deserialize to an `M`.
    pub fn model<M: DeserializeOwned>(&self) -> Result<M, ModelError> {
        serde_json::from_str(self.model.get())
            .map_err(|error| self.malformed(format!("its description of the model: {error}")))
    }

    /// Names and lengths in bytes of all sections, in no particular order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, usize)> {
        self.sections
            .iter()
            .map(|(name, range)| (&**name, range.len()))
    }

    /// The bytes of a section, which start on a 64-byte boundary.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if there is no such section.
    pub fn section(&self, name: &str) -> Result<Bytes, ModelError> {
        self.sections
            .get(name)
            .map(|range| self.bytes.slice(range.clone()))
            .ok_or_else(|| self.malformed(format!("the section {name:?} is missing")))
    }

    /// The elements of a section.
    ///
    /// # Errors
    /// [`ModelError::Malformed`] if there is no such section, or its length is not a multiple of
    /// the size of a `T`.
    pub fn view<T: Pod>(&self, name: &str) -> Result<View<T>, ModelError> {
        View::new(self.section(name)?)
            .map_err(|error| self.malformed(format!("the section {name:?}: {error}")))
    }

    /// An error of content that does not fit together.
    pub(crate) fn malformed(&self, reason: String) -> ModelError {
        malformed(&self.path, format!("{reason}; pack it again"))
    }
}
