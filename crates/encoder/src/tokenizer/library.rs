//! Tokenizers that run in Hugging Face's `tokenizers`, truncated by shoal.

use std::panic::catch_unwind;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{
    AddedToken, Encoding, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Token, Tokenizer,
};

use super::folder::JSON;
use super::pieces;
use super::tokens::{Frame, Side};
use super::word_piece::{MAX_ADDED, Rules, Settings as Packed};
use crate::error::ModelError;

/// A tokenizer of any form that `tokenizers` knows.
pub(crate) struct Library {
    inner: Tokenizer,
    pub(super) frame: Frame,
    divides_at_spaces: bool,
    /// Whether the file adds no token twice. If it does, with different properties, `tokenizers` does not
    /// say which of them it uses.
    added_once: bool,
}

/// Whether the tokens of a text up to any white space are the first tokens of the whole text, and those after it the last: BERT's normalizer changes no
/// character because of one beyond a space, and each word is tokenized on its own. Tokens that were added to the vocabulary
/// are searched for in the whole text.
fn divides_at_spaces(tokenizer: &Tokenizer) -> bool {
    let normalizer = tokenizer.get_normalizer();
    let pre_tokenizer = tokenizer.get_pre_tokenizer();
    let added = tokenizer.get_added_tokens_decoder();
    matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_))
        && matches!(
            normalizer,
            None | Some(NormalizerWrapper::BertNormalizer(_))
        )
        && matches!(
            pre_tokenizer,
            Some(PreTokenizerWrapper::BertPreTokenizer(_))
        )
        && added
            .values()
            .all(|token| !token.content.contains(char::is_whitespace))
}

/// The last white space up to `bound`, or else the first after it.
fn space_near(text: &str, bound: usize) -> Option<usize> {
    let (start, rest) = text.as_bytes().split_at(bound);
    let after = || Some(bound + rest.iter().position(u8::is_ascii_whitespace)?);
    start
        .iter()
        .rposition(u8::is_ascii_whitespace)
        .or_else(after)
}

/// The first white space in the last `bound` bytes, or else the last before them.
fn space_near_end(text: &str, bound: usize) -> Option<usize> {
    let (rest, end) = text.as_bytes().split_at(text.len() - bound);
    let before = || rest.iter().rposition(u8::is_ascii_whitespace);
    let after = end.iter().position(u8::is_ascii_whitespace);
    after.map(|at| rest.len() + at).or_else(before)
}

/// The parts of `tokenizer.json` that `tokenizers` assumes to be valid JSON; it panics if they are not.
/// Parsing them before gives an error instead.
#[derive(Deserialize)]
#[allow(dead_code)] // only parsed
struct Outline {
    #[serde(default)]
    added_tokens: Vec<IgnoredAny>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    post_processor: Option<Value>,
    decoder: Option<Value>,
}

/// A normalizer that turns texts into lower case and then does the same as `normalizer`, as
/// `do_lower_case` asks for (`base/modules/transformer.py` of sentence-transformers).
pub(super) fn lowercase_first(normalizer: Option<NormalizerWrapper>) -> NormalizerWrapper {
    match normalizer {
        None => Lowercase.into(),
        Some(already @ NormalizerWrapper::Lowercase(_)) => already,
        // BERT's own lower case comes last, which gives the same text, and can be packed.
        Some(NormalizerWrapper::BertNormalizer(mut bert)) => {
            bert.strip_accents = Some(bert.strip_accents.unwrap_or(bert.lowercase));
            bert.lowercase = true;
            bert.into()
        }
        Some(other) => Sequence::new(vec![Lowercase.into(), other]).into(),
    }
}

/// Reads the bytes of a `tokenizer.json`, and the number of tokens that it adds to the vocabulary.
///
/// # Panics
/// For some valid JSON, whose error is [`gives_up`].
pub(super) fn parse(bytes: &[u8]) -> Result<(Tokenizer, usize), ModelError> {
    let corrupt = |error: String| ModelError::corrupt(JSON, error);
    let outline: Outline =
        serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    let inner = Tokenizer::from_bytes(bytes).map_err(|error| corrupt(error.to_string()))?;
    Ok((inner, outline.added_tokens.len()))
}

/// The error for a file for which `tokenizers` panics.
pub(super) fn gives_up(file: &str) -> ModelError {
    let reason = "its parts contradict each other; the tokenizers library gives up on it";
    ModelError::corrupt(file, reason)
}

impl Library {
    /// Reads the bytes of a `tokenizer.json`.
    pub(super) fn from_json(
        bytes: &[u8],
        split_special_tokens: bool,
    ) -> Result<Library, ModelError> {
        // `tokenizers` also panics when it first uses some valid JSON, such as a template with an unknown token.
        catch_unwind(|| {
            let (mut inner, added) = parse(bytes)?;
            inner.set_encode_special_tokens(split_special_tokens);
            Library::new(inner, JSON, added)
        })
        .unwrap_or_else(|_| Err(gives_up(JSON)))
    }

    /// `file` is what messages name. `added` is the number of tokens that the files add to the vocabulary.
    pub(super) fn new(
        mut inner: Tokenizer,
        file: &str,
        added: usize,
    ) -> Result<Library, ModelError> {
        inner
            .with_truncation(None)
            .map_err(|error| ModelError::corrupt(file, error.to_string()))?;
        inner.with_padding(None);

        // What the post-processor puts around a text: it gets a text of one token that is in no
        // vocabulary.
        const MARK: u32 = u32::MAX;
        let text = Encoding::from_tokens(vec![Token::new(MARK, String::new(), (0, 0))], 0);
        let framed = inner
            .post_process(text, None, true)
            .map_err(|error| ModelError::corrupt(file, error.to_string()))?;
        let ids = framed.get_ids();
        let Some(at) = ids.iter().position(|&id| id == MARK) else {
            return Err(ModelError::unsupported(format!(
                "the post-processor in {file} does not keep the text"
            )));
        };
        if let Some(kind) = framed.get_type_ids().iter().find(|&&kind| kind != 0) {
            return Err(ModelError::unsupported(format!(
                "the post-processor in {file} gives a token the type {kind}; supported is 0"
            )));
        }
        let (prefix, suffix) = (ids[..at].to_vec(), ids[at + 1..].to_vec());
        if prefix.is_empty() {
            return Err(ModelError::unsupported(format!(
                "the tokenizer in {file} puts no token before the text; encoders of the BERT family \
                 need [CLS]"
            )));
        }
        let tokens = inner.get_added_vocabulary();
        let added_once =
            added == tokens.get_vocab().len() && added == tokens.get_added_tokens_decoder().len();
        Ok(Library {
            divides_at_spaces: divides_at_spaces(&inner),
            inner,
            frame: Frame { prefix, suffix },
            added_once,
        })
    }

    /// Whether special tokens in a text are text, which its `tokenizer.json` does not say.
    pub(super) fn splits_special_tokens(&self) -> bool {
        self.inner.get_encode_special_tokens()
    }

    /// Turns texts into lower case before anything else.
    pub(super) fn lowercase(&mut self) {
        let normalizer = lowercase_first(self.inner.get_normalizer().cloned());
        self.inner.with_normalizer(Some(normalizer));
        self.divides_at_spaces = divides_at_spaces(&self.inner);
    }

    /// Settings and vocabulary of the same tokenizer in the form of [`word_piece`](super::word_piece), if it has that form.
    pub(super) fn pack(&self) -> Option<(Packed, Vec<u8>)> {
        let ModelWrapper::WordPiece(model) = self.inner.get_model() else {
            return None;
        };
        let rules = match self.inner.get_normalizer() {
            None => Rules::default(),
            Some(NormalizerWrapper::BertNormalizer(normalizer)) => Rules {
                clean: normalizer.clean_text,
                ideographs: normalizer.handle_chinese_chars,
                strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
                lowercase: normalizer.lowercase,
            },
            Some(_) => return None,
        };
        let Some(PreTokenizerWrapper::BertPreTokenizer(_)) = self.inner.get_pre_tokenizer() else {
            return None;
        };
        let added = self.inner.get_added_vocabulary();
        let plain = |token: &AddedToken| {
            // White space that a token includes would be dropped anyway, unless two tokens share it.
            let space = token.content.contains(char::is_whitespace);
            !token.normalized && !token.single_word && !space
        };
        let decoder = added.get_added_tokens_decoder();
        if !self.added_once || !decoder.values().all(plain) {
            return None;
        }
        let added = match self.splits_special_tokens() {
            false => added.get_vocab().clone().into_iter().collect(),
            // A special token also hides shorter ones that begin where it does.
            true if decoder.values().all(|token| token.special) => Vec::new(),
            true => return None,
        };
        let mut added: Vec<(String, u32)> = added;
        if added.len() > MAX_ADDED {
            return None;
        }
        added.sort_unstable();
        let vocabulary = self.inner.get_vocab(false);
        let settings = Packed {
            rules,
            max_characters: model.max_input_chars_per_word,
            unknown: *vocabulary.get(&model.unk_token)?,
            frame: self.frame.clone(),
            added,
        };
        Some((
            settings,
            pieces::pack(&vocabulary, &model.continuing_subword_prefix)?,
        ))
    }

    /// A `tokenizer.json` that gives the same tokens.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        match self.inner.to_string(false) {
            Ok(json) => Ok(json.into_bytes()),
            Err(error) => Err(ModelError::corrupt(JSON, error.to_string())),
        }
    }

    /// Adds the tokens of `text` to `ids`, cut on `side` to `room`; returns whether there are more.
    pub(super) fn encode(
        &self,
        text: &str,
        room: usize,
        side: Side,
        ids: &mut Vec<u32>,
    ) -> Result<bool, ModelError> {
        let encoding = self.tokens_at_end(text, room, side)?;
        let words = encoding.get_ids();
        let kept = room.min(words.len());
        ids.extend_from_slice(match side {
            Side::Right => &words[..kept],
            Side::Left => &words[words.len() - kept..],
        });
        Ok(words.len() > room)
    }

    /// All tokens of `text`, or at least `room + 1` at the end that is not cut off.
    ///
    /// Normalizing and splitting a text takes about a hundred times its size in memory, while a model
    /// reads only a few kilobytes. So of a long text only that end is tokenized, and more of it if it
    /// has too few tokens. A text without white space is tokenized whole.
    fn tokens_at_end(&self, text: &str, room: usize, side: Side) -> Result<Encoding, ModelError> {
        const BYTES_A_TOKEN: usize = 16;
        let mut bound = (room + 1).saturating_mul(BYTES_A_TOKEN).max(4096);
        while self.divides_at_spaces && bound < text.len() / 2 {
            let part = match side {
                Side::Right => space_near(text, bound).map(|cut| &text[..cut]),
                Side::Left => space_near_end(text, bound).map(|cut| &text[cut..]),
            };
            let Some(part) = part else {
                break;
            };
            let encoding = self.all_tokens(part)?;
            if encoding.len() > room {
                return Ok(encoding);
            }
            bound = part.len().max(bound).saturating_mul(4);
        }
        self.all_tokens(text)
    }

    pub(super) fn all_tokens(&self, text: &str) -> Result<Encoding, ModelError> {
        self.inner
            .encode_fast(text, false)
            .map_err(|error| ModelError::corrupt("the tokenizer", error.to_string()))
    }

    /// A token with an id of `rows` or more, and that id; the smallest such id.
    pub(super) fn beyond(&self, rows: usize) -> Option<(String, u32)> {
        let vocabulary = self.inner.get_vocab(true).into_iter();
        let beyond = vocabulary.filter(|&(_, id)| id as usize >= rows);
        beyond.min_by_key(|&(_, id)| id)
    }
}
