//! From text to token ids.
//!
//! Hugging Face's `tokenizers` reads every tokenizer. Those of BERT's form, nearly all that this crate
//! is used with, are converted to another form ([`word_piece`]). It gives the same ids several times
//! faster, and its bytes can be stored and used without parsing.

mod characters;
mod library;
mod pieces;
#[cfg(test)]
mod tests;
mod tokens;
mod word_piece;

use std::ops::Deref;
use std::path::Path;

use library::Library;
pub(crate) use library::{JSON, SETTINGS, VOCABULARY};
use tokens::Frame;
pub use tokens::Tokens;
use word_piece::WordPieceEncoder;

use crate::error::ModelError;

/// A tokenizer without the truncation and padding of its file.
pub(crate) struct TextEncoder {
    form: Form,
    frame: Frame,
}

enum Form {
    Library(Box<Library>),
    WordPiece(Box<WordPieceEncoder>),
}

/// A tokenizer as bytes.
pub(crate) enum Packed<'a> {
    /// For [`TextEncoder::from_packed`].
    WordPiece(&'a [u8]),
    /// For [`TextEncoder::from_json`].
    Json(Vec<u8>),
}

impl TextEncoder {
    /// The tokenizer of a model folder, from `tokenizer.json` or else `vocab.txt`, and the length
    /// limit that `tokenizer_config.json` states, if any. If `lowercase`, texts are first turned into
    /// lower case.
    pub(crate) fn open(
        folder: &Path,
        lowercase: bool,
    ) -> Result<(TextEncoder, Option<usize>), ModelError> {
        let (mut library, frame, limit) = library::open(folder)?;
        if lowercase {
            library.lowercase();
        }
        Ok((TextEncoder::new(library, frame)?, limit))
    }

    /// Reads the bytes of a `tokenizer.json`.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<TextEncoder, ModelError> {
        let (library, frame) = Library::from_json(bytes)?;
        TextEncoder::new(library, frame)
    }

    fn new(library: Library, frame: Frame) -> Result<TextEncoder, ModelError> {
        match library.pack(&frame) {
            Some(bytes) => TextEncoder::from_packed(bytes),
            None => Ok(TextEncoder {
                form: Form::Library(Box::new(library)),
                frame,
            }),
        }
    }

    /// The tokenizer as bytes for storage. The same tokenizer always gives the same bytes.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if the library cannot write its own form.
    pub(crate) fn pack(&self) -> Result<Packed<'_>, ModelError> {
        match &self.form {
            Form::Library(library) => Ok(Packed::Json(library.to_json()?)),
            Form::WordPiece(encoder) => Ok(Packed::WordPiece(encoder.bytes())),
        }
    }

    /// The tokenizer in the bytes of [`Packed::WordPiece`], at any alignment. They are checked in one pass
    /// and not copied: a vocabulary of 30,000 words takes less than a millisecond.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] for other bytes. Some damage goes unnoticed and changes ids, so verify a
    /// checksum first.
    pub(crate) fn from_packed(
        bytes: impl Deref<Target = [u8]> + Send + Sync + 'static,
    ) -> Result<TextEncoder, ModelError> {
        let (encoder, frame) = WordPieceEncoder::new(Box::new(bytes))?;
        Ok(TextEncoder {
            form: Form::WordPiece(Box::new(encoder)),
            frame,
        })
    }

    /// Number of special tokens around every text.
    pub(crate) fn frame(&self) -> usize {
        self.frame.size()
    }

    /// Whether a special token follows every text.
    pub(crate) fn ends_with_special_token(&self) -> bool {
        !self.frame.suffix.is_empty()
    }

    /// The ids of `text` with its special tokens, cut on the right to `max_tokens` in all, as
    /// `tokenizers` truncates. `max_tokens` must have room for the special tokens.
    pub(crate) fn encode(&self, text: &str, max_tokens: usize) -> Result<Tokens, ModelError> {
        let room = max_tokens - self.frame();
        match &self.form {
            Form::Library(library) => library.encode(text, room, &self.frame),
            Form::WordPiece(encoder) => Ok(encoder.encode(text, room, &self.frame)),
        }
    }
}
