//! Input and output formats.

use serde::{Deserialize, Serialize};

/// The format of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values (RFC 4180), or other delimited text.
    Csv,
    /// Tab-separated values, in which quotes are ordinary characters.
    Tsv,
    /// JSON Lines: one object per line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// The file format of Arrow IPC, also known as Feather version 2.
    Arrow,
    /// A folder of text files, labelled by the subfolders `pos/` and `neg/` (the layout of aclImdb).
    TextFolder,
}

impl Format {
    /// The file formats. A folder of text files needs no name.
    pub const FILES: [Self; 5] = [
        Self::Csv,
        Self::Tsv,
        Self::Jsonl,
        Self::Parquet,
        Self::Arrow,
    ];

    /// Its name in options and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::TextFolder => "text-folder",
        }
    }

    /// The format of a file extension in lower case.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "csv" => Some(Self::Csv),
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "parquet" | "pq" => Some(Self::Parquet),
            "arrow" | "ipc" | "feather" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// Whether the format has typed columns. Its slices are ranges of rows.
    pub fn is_columnar(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }
}

/// The format of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputFormat {
    /// Comma-separated values with a header.
    Csv,
    /// JSON Lines: one object per line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// The file format of Arrow IPC.
    Arrow,
}

impl OutputFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Jsonl, Self::Parquet, Self::Arrow];

    /// Its file extension, and its name in options and messages.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Whether the format has typed columns.
    pub fn is_columnar(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// The format of a file extension.
    pub fn of_extension(extension: &str) -> Option<Self> {
        let format = Format::of_extension(&extension.to_ascii_lowercase())?;
        let mut formats = Self::ALL.into_iter();
        formats.find(|known| known.extension() == format.name())
    }
}
