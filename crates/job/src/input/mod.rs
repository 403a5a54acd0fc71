//! Inputs: locating, scanning and reading them.

pub(crate) mod arrow;
mod columns;
pub(crate) mod delimited;
pub(crate) mod footer;
pub(crate) mod ipc;
pub(crate) mod jsonl;
mod locate;
mod look;
pub(crate) mod parquet;
mod ranged;
mod read;
mod sample;
pub(crate) mod schema;
pub(crate) mod span;
mod stream;
pub(crate) mod text_folder;

pub use locate::{Found, Spool, locate};
pub use look::look;
pub use read::{Rows, Sources};
pub use sample::sample;
pub(crate) use stream::Stream;

use crate::spec::Identity;
use crate::store::{Location, Meta};
use crate::{Error, Result};

/// Maximum size of a record. Larger ones become dead letters unread, which bounds the memory for a row or an unclosed quote.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;

/// The error for an oversized record that the plan does not mark as such.
const TOO_LONG: &str = "a record is larger than the plan allows; start a new run";

/// Size of the head of a source, from which its columns are resolved.
pub(crate) const HEAD_BYTES: usize = 1 << 20;

/// The compression of a text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Uncompressed.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Identity {
    pub(crate) fn new(meta: Meta, digest: Option<String>) -> Self {
        Self {
            bytes: meta.bytes,
            modified: meta.modified,
            etag: meta.etag,
            digest,
        }
    }

    /// Describes the change of the source at `location`, or `None` if it is unchanged. The content is read only if the
    /// modification time differs and the length does not.
    ///
    /// # Errors
    /// The source cannot be read.
    pub fn change(&self, location: &Location) -> Result<Option<String>> {
        if let Location::Local(path) = location
            && path.is_dir()
        {
            let now = text_folder::identity(path)?;
            return Ok((now != *self).then(|| "files in it were changed, added or removed".into()));
        }
        let now = location.meta()?;
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
