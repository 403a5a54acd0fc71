//! A source with its format and compression.

use super::compression::Compression;
use crate::format::Format;
use crate::spec::Partition;
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
    /// The columns that are in its path.
    pub partitions: Vec<Partition>,
    /// What was detected about it that users may not expect, as in "it is …".
    pub notes: Vec<String>,
    /// Whether it is a copy of standard input.
    pub spooled: bool,
}

impl Found {
    /// Whether it is compressed.
    pub fn is_compressed(&self) -> bool {
        self.compression != Compression::None
    }
}
