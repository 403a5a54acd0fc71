//! The container of a packed model: one file with everything that a model needs, in the form that the
//! engine reads, so that opening it is mapping and checking, not converting.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic, `89 53 48 4C 0D 0A 1A 0A`: like PNG's, it shows whether a transfer in text mode changed line endings or cleared the eighth bit |
//! | 8..16 | checksum: XXH3 (64 bits, seed 0) of everything that follows this field |
//! | 16..20 | version of the format, [`VERSION`] |
//! | 20..24 | length of the metadata |
//! | 24..32 | length of the file |
//! | 32.. | metadata, JSON in UTF-8 |
//! | | zeros up to a multiple of 64: the start of the sections |
//! | | sections, each starting at a multiple of 64 bytes, zeros between and after them |
//!
//! All numbers are little-endian and unsigned; lengths are in bytes. The metadata is an object with two
//! keys: `model`, which the container does not interpret, and `sections`, an array
//! of `{"name", "offset", "length"}` in the order of the file, with offsets from the start of the
//! sections. Names are unique, of 1 to [`MAX_NAME`] bytes; sections do not overlap.
//!
//! The first 32 bytes and the checksum are the same in every version of the format, so that a damaged
//! file can be distinguished from one of a newer version.
//!
//! The checksum detects accidental damage, such as an incomplete copy or a lost disk block. It does not
//! protect against tampering. A file with a valid checksum is still checked: forged content can have
//! wrong weights, but cannot cause reads outside the file, or allocations out of proportion to its
//! length.

mod container;
mod header;
mod table;
mod writer;

pub use container::Container;
#[doc(hidden)]
pub use header::reseal;
pub use header::{MAX_METADATA, VERSION};
pub use table::{MAX_NAME, MAX_SECTIONS};
pub use writer::{save, to_bytes};
