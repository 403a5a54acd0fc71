//! From text to token ids.
//!
//! Hugging Face's `tokenizers` reads every tokenizer. Those of BERT's form, nearly all that this crate
//! is used with, are converted to another form ([`word_piece`]). It gives the same ids several times
//! faster, and its vocabulary can be stored and used without parsing.

mod characters;
mod library;
mod pieces;
#[cfg(test)]
mod tests;
mod tokens;
mod word_piece;

use std::path::Path;

use library::Library;
pub(crate) use library::{JSON, SETTINGS, VOCABULARY};
use shoal_kernels::{Bytes, copy_aligned};
use tokens::Frame;
pub use tokens::Tokens;
pub(crate) use word_piece::Settings;
use word_piece::WordPieceEncoder;

use crate::error::ModelError;

/// A tokenizer without the truncation and padding of its file.
pub(crate) enum TextEncoder {
    Library(Box<Library>),
    WordPiece(Box<WordPieceEncoder>),
}

impl TextEncoder {
    /// The tokenizer of a model folder, from `tokenizer.json` or else `vocab.txt`, and the length
    /// limit that `tokenizer_config.json` states, if any. If `lowercase`, texts are first turned into
    /// lower case.
    pub(crate) fn open(
        folder: &Path,
        lowercase: bool,
    ) -> Result<(TextEncoder, Option<usize>), ModelError> {
        let (mut library, limit) = Library::open(folder)?;
        if lowercase {
            library.lowercase();
        }
        Ok((TextEncoder::new(library)?, limit))
    }

    /// Reads the bytes of a `tokenizer.json`.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<TextEncoder, ModelError> {
        TextEncoder::new(Library::from_json(bytes)?)
    }

    fn new(library: Library) -> Result<TextEncoder, ModelError> {
        match library.pack() {
            Some((settings, bytes)) => TextEncoder::packed(settings, copy_aligned(&bytes)),
            None => Ok(TextEncoder::Library(Box::new(library))),
        }
    }

    /// The tokenizer with this packed vocabulary, at any alignment. It is checked in one pass and not copied: 30,000 words
    /// take less than a millisecond.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] for settings and bytes that are not a tokenizer. Some damage goes unnoticed and changes ids,
    /// so verify a checksum first.
    pub(crate) fn packed(settings: Settings, vocabulary: Bytes) -> Result<TextEncoder, ModelError> {
        let encoder = WordPieceEncoder::new(settings, vocabulary)?;
        Ok(TextEncoder::WordPiece(Box::new(encoder)))
    }

    /// What is stored of the tokenizer: the settings of a packed vocabulary and that vocabulary, for [`TextEncoder::packed`];
    /// or else a `tokenizer.json`. The same tokenizer always gives the same bytes.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if the library cannot write its own form.
    pub(crate) fn store(&self) -> Result<(Option<&Settings>, Bytes), ModelError> {
        match self {
            TextEncoder::Library(library) => Ok((None, copy_aligned(&library.to_json()?))),
            TextEncoder::WordPiece(encoder) => {
                Ok((Some(&encoder.settings), encoder.vocabulary.clone()))
            }
        }
    }

    fn frame(&self) -> &Frame {
        match self {
            TextEncoder::Library(library) => &library.frame,
            TextEncoder::WordPiece(encoder) => &encoder.settings.frame,
        }
    }

    /// Number of special tokens around every text.
    pub(crate) fn special_tokens(&self) -> usize {
        self.frame().size()
    }

    /// Whether a special token follows every text.
    pub(crate) fn ends_with_special_token(&self) -> bool {
        !self.frame().suffix.is_empty()
    }

    /// The ids of `text` with its special tokens, cut on the right to `max_tokens` in all, as
    /// `tokenizers` truncates. `max_tokens` must have room for the special tokens.
    pub(crate) fn encode(&self, text: &str, max_tokens: usize) -> Result<Tokens, ModelError> {
        let frame = self.frame();
        let room = max_tokens - frame.size();
        // Texts usually have fewer tokens than half their bytes, in any language.
        let mut ids = Vec::with_capacity(frame.size() + room.min(text.len() / 2) + 1);
        ids.extend_from_slice(&frame.prefix);
        let truncated = match self {
            TextEncoder::Library(library) => library.encode(text, room, &mut ids)?,
            TextEncoder::WordPiece(encoder) => encoder.encode(text, room, &mut ids),
        };
        ids.extend_from_slice(&frame.suffix);
        Ok(Tokens {
            ids,
            truncated,
            prompt: 0,
        })
    }
}
