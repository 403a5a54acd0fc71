//! Inputs: finding them, telling what they are, cutting them and reading slices of them.

pub(crate) mod delimited;
pub(crate) mod jsonl;
mod locate;
pub(crate) mod parquet;
mod read;
pub(crate) mod schema;
mod stream;
pub(crate) mod text_folder;

use serde::{Deserialize, Serialize};

pub use locate::{Found, Spool, locate};
pub use read::{Rows, rows};
pub(crate) use stream::Stream;

use crate::store::{Location, Meta};
use crate::{Error, Result};

/// A record above this many bytes goes to the dead letters unread: it bounds what one row, or one quote left open, can
/// make shoal hold in memory.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;

/// How much of a source is looked at to tell its columns.
pub(crate) const HEAD_BYTES: usize = 1 << 20;

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values (RFC 4180) with a header.
    Csv,
    /// Tab-separated values, quoted like CSV, with a header.
    Tsv,
    /// A JSON object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// A folder of text files; `pos/` and `neg/` tell their labels (the layout of aclImdb).
    TextFolder,
}

impl Format {
    /// The name that users give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::TextFolder => "text-folder",
        }
    }

    /// The field separator of a delimited format.
    pub(crate) fn delimiter(self) -> u8 {
        if self == Self::Tsv { b'\t' } else { b',' }
    }
}

/// How a text format is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// What tells whether a source is still what the plan saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Length in bytes.
    pub bytes: u64,
    /// Time of the last change, as the store tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The store's own mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// BLAKE3 of the content, in hexadecimal, where the plan read all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
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

    /// What has changed at `location`, `None` where nothing has. Content is read only where the time of change differs
    /// and the length does not.
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
