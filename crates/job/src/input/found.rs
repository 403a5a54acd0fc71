//! A source with its format and compression.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;
use serde::Serialize;

use crate::format::Format;
use crate::store::Location;

/// A source with its format.
#[derive(Debug, Clone)]
pub struct Found {
    /// The name in messages.
    pub uri: String,
    /// Its location.
    pub location: Location,
    /// Its format.
    pub format: Format,
    /// Its compression.
    pub compression: Compression,
    /// Whether it is a copy of standard input.
    pub spooled: bool,
}

impl Found {
    /// Whether it is compressed.
    pub fn is_compressed(&self) -> bool {
        self.compression != Compression::None
    }
}

/// The compression of a text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Uncompressed.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

impl Compression {
    /// `reader`'s bytes, decompressed.
    pub(super) fn decompress(self, reader: impl Read + 'static) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::new(reader))),
            Self::Zstd => Box::new(zstd::Decoder::new(reader)?),
        })
    }
}
