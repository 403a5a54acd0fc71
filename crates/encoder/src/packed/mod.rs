//! The container of a packed model: one file that holds what a model needs in the form in which
//! the engine reads it, so that opening means mapping and checking, not converting.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | magic, `89 53 48 4C 0D 0A 1A 0A`: like PNG's, it shows when a transfer in text mode changed line endings or took the eighth bit |
//! | 8..16 | checksum: XXH3 (64 bits, seed 0) of everything that follows this field |
//! | 16..20 | version of the format, [`VERSION`] |
//! | 20..24 | length of the metadata |
//! | 24..32 | length of the file |
//! | 32.. | metadata, JSON in UTF-8 |
//! | | zeros up to a multiple of 64: the start of the sections |
//! | | sections, each from a multiple of 64 bytes, zeros between and after them |
//!
//! All numbers are little-endian and unsigned, and so are lengths in bytes. The metadata is an
//! object with two keys: `model`, which the container does not look into, and `sections`, an array
//! of `{"name", "offset", "length"}` in the order of the file, with offsets from the start of the
//! sections. Names are unique, of 1 to [`MAX_NAME`] bytes; sections do not overlap.
//!
//! The first 32 bytes and the checksum are the same in every version of the format, so that a
//! damaged file and one of a newer version can be told apart.
//!
//! The checksum finds damage: a copy that stopped, a disk that lost a block. It is no protection
//! from somebody who means to deceive. What it lets through is still checked, so that a forged
//! file may hold wrong weights, but cannot make the reader leave the file's bounds or reserve
//! memory that the file's length does not account for.

mod container;
mod header;
mod table;
mod writer;

pub use container::Container;
#[doc(hidden)]
pub use header::reseal;
pub use header::{MAX_METADATA, VERSION};
pub use table::{MAX_NAME, MAX_SECTIONS};
pub use writer::{Writer, save, to_bytes};
