//! From text to token ids.
//!
//! Hugging Face's `tokenizers` reads every tokenizer. Those of BERT's form, nearly all that this crate
//! is used with, are converted to another form ([`word_piece`]). It gives the same ids several times
//! faster, and its vocabulary can be stored and used without parsing.

mod added;
mod characters;
mod folder;
mod library;
mod load;
mod pieces;
#[cfg(test)]
mod tests;
mod tokens;
mod word_piece;

use std::path::Path;

use folder::Files;
pub(crate) use folder::{JSON, names};
use library::Library;
use serde_json::Value;
use shoal_kernels::{Bytes, copy_aligned};
use tokens::Frame;
pub use tokens::Tokens;
pub(crate) use tokens::{Side, Truncation};
pub(crate) use word_piece::Settings;
use word_piece::WordPieceEncoder;

use crate::error::ModelError;

/// A tokenizer without the truncation and padding of its file.
pub(crate) enum TextEncoder {
    Library(Box<Library>),
    WordPiece(Box<WordPieceEncoder>),
}

impl TextEncoder {
    /// The tokenizer of a model folder, and how its files cut long texts. `config` is the content of `config.json`, and the
    /// model has embeddings for `rows` tokens. If `lowercase`, texts are first turned into lower case.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for settings that change ids and are not supported, [`ModelError::Corrupt`] for files
    /// that are no tokenizer or have a token without an embedding.
    pub(crate) fn open(
        folder: &Path,
        config: &Value,
        rows: usize,
        lowercase: bool,
    ) -> Result<(TextEncoder, Truncation), ModelError> {
        TextEncoder::load(&Files::read(folder)?, config, rows, lowercase)
    }

    /// As [`open`](Self::open), for a folder with the bytes of a `tokenizer.json` and no other file of a tokenizer.
    pub(crate) fn of_json(
        bytes: &[u8],
        config: &Value,
        rows: usize,
    ) -> Result<(TextEncoder, Truncation), ModelError> {
        TextEncoder::load(&Files::of_json(bytes), config, rows, false)
    }

    fn load(
        files: &Files,
        config: &Value,
        rows: usize,
        lowercase: bool,
    ) -> Result<(TextEncoder, Truncation), ModelError> {
        let (mut library, truncation) = load::load(files, config, rows)?;
        if lowercase {
            library.lowercase();
        }
        let encoder = TextEncoder::new(library)?;
        encoder.check(rows)?;
        Ok((encoder, truncation))
    }

    /// Reads a stored `tokenizer.json`, which is used as it is. If `split_special_tokens`, special tokens in a text are text.
    pub(crate) fn from_json(
        bytes: &[u8],
        split_special_tokens: bool,
    ) -> Result<TextEncoder, ModelError> {
        TextEncoder::new(Library::from_json(bytes, split_special_tokens)?)
    }

    /// What [`from_json`](Self::from_json) needs beside the stored `tokenizer.json`.
    pub(crate) fn splits_special_tokens(&self) -> bool {
        match self {
            TextEncoder::Library(library) => library.splits_special_tokens(),
            // Its added tokens are those that are searched for.
            TextEncoder::WordPiece(_) => false,
        }
    }

    /// Checks that a model with embeddings for `rows` tokens has one for every token.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] names a token without an embedding.
    pub(crate) fn check(&self, rows: usize) -> Result<(), ModelError> {
        let beyond = match self {
            TextEncoder::Library(library) => library.beyond(rows),
            TextEncoder::WordPiece(encoder) => encoder.beyond(rows),
        };
        let (token, id) = match beyond {
            Some((token, id)) => (format!("the token {token:?}"), id),
            None => match self.special_ids().find(|&id| id as usize >= rows) {
                Some(id) => ("a special token".to_owned(), id),
                None => return Ok(()),
            },
        };
        Err(ModelError::corrupt(
            "the tokenizer",
            format!(
                "{token} has the id {id}, but the model has embeddings for {rows} tokens only (vocab_size); use the \
                 tokenizer that belongs to the weights, or resize the embeddings with transformers: \
                 model.resize_token_embeddings({})",
                id + 1
            ),
        ))
    }

    /// The ids that are not those of a piece.
    fn special_ids(&self) -> impl Iterator<Item = u32> {
        let unknown = match self {
            TextEncoder::Library(_) => None,
            TextEncoder::WordPiece(encoder) => Some(encoder.settings.unknown),
        };
        let Frame { prefix, suffix } = self.frame();
        prefix.iter().chain(suffix).copied().chain(unknown)
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

    /// The ids of `text` with its special tokens, cut on `side` to `max_tokens` in all, as
    /// `tokenizers` truncates. `max_tokens` must have room for the special tokens.
    pub(crate) fn encode(
        &self,
        text: &str,
        max_tokens: usize,
        side: Side,
    ) -> Result<Tokens, ModelError> {
        let frame = self.frame();
        let room = max_tokens - frame.size();
        // Texts usually have fewer tokens than half their bytes, in any language.
        let mut ids = Vec::with_capacity(frame.size() + room.min(text.len() / 2) + 1);
        ids.extend_from_slice(&frame.prefix);
        let truncated = match self {
            TextEncoder::Library(library) => library.encode(text, room, side, &mut ids)?,
            TextEncoder::WordPiece(encoder) => encoder.encode(text, room, side, &mut ids),
        };
        ids.extend_from_slice(&frame.suffix);
        Ok(Tokens {
            ids,
            truncated,
            prompt: 0,
        })
    }
}
