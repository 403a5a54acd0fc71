//! What each format is.

use super::columnar::ColumnarFormat;
use super::delimited::Delimited;
use super::jsonl::JsonLines;
use super::text::TextFormat;
use super::{arrow, parquet};
use crate::format::Format;

/// How a format is planned and read.
pub(crate) enum Kind {
    /// In ranges of bytes.
    Text(&'static dyn TextFormat),
    /// In ranges of rows.
    Columnar(&'static ColumnarFormat),
}

impl Kind {
    pub(crate) fn of(format: Format) -> Self {
        match format {
            Format::Csv => Self::Text(&Delimited(Format::Csv)),
            Format::Tsv => Self::Text(&Delimited(Format::Tsv)),
            Format::Jsonl => Self::Text(&JsonLines { is_folder: false }),
            Format::TextFolder => Self::Text(&JsonLines { is_folder: true }),
            Format::Parquet => Self::Columnar(&parquet::FORMAT),
            Format::Arrow => Self::Columnar(&arrow::FORMAT),
        }
    }
}
