//! Detects changes of sources.

use super::text_folder;
use crate::spec::Identity;
use crate::store::Location;
use crate::{Error, Result};

impl Identity {
    /// The identity of the source at `location`, without a digest.
    pub(crate) fn of(location: &Location) -> Result<Self> {
        if let Location::Local(path) = location
            && path.is_dir()
        {
            return text_folder::identity(path);
        }
        location.meta()
    }

    /// Describes the change of the source at `location`, or `None` if it is unchanged. The content is read only if the
    /// modification time differs and the length does not.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn change(&self, location: &Location) -> Result<Option<String>> {
        let now = Self::of(location)?;
        if matches!(location, Location::Local(path) if path.is_dir()) {
            return Ok((now != *self).then(|| "files in it were changed, added or removed".into()));
        }
        if now.bytes != self.bytes {
            return Ok(Some(format!(
                "it had {} bytes, has {}",
                self.bytes, now.bytes
            )));
        }
        if now.modified == self.modified && now.etag == self.etag {
            return Ok(None);
        }
        match &self.digest {
            Some(digest) if *digest == digest_of(location)? => Ok(None),
            Some(_) => Ok(Some("its content is different".into())),
            None => Ok(Some("it was written again".into())),
        }
    }
}

/// BLAKE3 of a source's bytes, in hexadecimal.
pub(crate) fn digest_of(location: &Location) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(location.open(None)?)
        .map_err(|e| Error::storage("read", location.uri(), e))?;
    Ok(hasher.finalize().to_hex().to_string())
}
