//! Inputs: locating, planning and reading them.
//!
//! [`locate()`] expands the inputs to sources. A format is either a `TextFormat`, whose slices are ranges of bytes, or a
//! `ColumnarFormat`, whose slices are ranges of rows; `Kind` lists them.

mod arrow;
mod columnar;
mod columns;
mod compression;
mod content;
mod decode;
mod delimited;
pub(crate) mod footer;
mod found;
mod identity;
pub(crate) mod ipc;
mod json;
mod json_head;
mod jsonl;
mod kind;
mod locate;
mod look;
mod nested;
mod parquet;
mod partitions;
mod path;
mod preview;
mod ranged;
mod read;
mod row;
mod schema;
mod signature;
mod stream;
mod text;
mod text_folder;
mod values;

pub(crate) use columnar::caught;
pub use compression::Compression;
pub use found::Found;
pub(crate) use identity::digest_of;
pub(crate) use kind::Kind;
pub use locate::{Spool, locate};
pub use look::{look, sample};
pub use preview::{Preview, PreviewColumn, PreviewRow, preview};
pub use read::Sources;
pub(crate) use row::Content;
pub use row::MAX_RECORD_BYTES;
pub(crate) use schema::Resolver;
pub(crate) use text::{Head, Span, check_options, read_head};
