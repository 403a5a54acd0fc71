//! Tokenizers that run in Hugging Face's `tokenizers`, truncated by shoal.

use std::panic::catch_unwind;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, Encoding, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Token, Tokenizer,
};

use super::pieces;
use super::tokens::Frame;
use super::word_piece::{MAX_ADDED, Rules, Settings as Packed};
use crate::error::ModelError;
use crate::files::read;

pub(crate) const JSON: &str = "tokenizer.json";
pub(crate) const VOCABULARY: &str = "vocab.txt";
pub(crate) const SETTINGS: &str = "tokenizer_config.json";

/// A tokenizer of any form that `tokenizers` knows.
pub(crate) struct Library {
    inner: Tokenizer,
    pub(super) frame: Frame,
    divides_at_spaces: bool,
    /// Whether the file adds no token twice. If it does, with different properties, `tokenizers` does not
    /// say which of them it uses.
    added_once: bool,
}

/// Whether the tokens of a text up to any white space are the first tokens of the whole text: BERT's normalizer changes no
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

/// The keys of `tokenizer_config.json` that are used.
#[derive(Default, Deserialize)]
struct Settings {
    do_lower_case: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    // May be as large as 10³⁰, which means that there is no limit.
    model_max_length: Option<f64>,
    unk_token: Option<Value>,
    cls_token: Option<Value>,
    sep_token: Option<Value>,
    pad_token: Option<Value>,
    mask_token: Option<Value>,
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

impl Library {
    /// The tokenizer of a model folder, from `tokenizer.json` or else `vocab.txt`, and the length
    /// limit that `tokenizer_config.json` states, if any.
    pub(super) fn open(folder: &Path) -> Result<(Library, Option<usize>), ModelError> {
        let settings = folder.join(SETTINGS);
        let settings: Settings = if settings.is_file() {
            serde_json::from_slice(&read(&settings)?)
                .map_err(|error| ModelError::corrupt(SETTINGS, error.to_string()))?
        } else {
            Settings::default()
        };
        let limit = settings
            .model_max_length
            .filter(|limit| (1.0..1e9).contains(limit))
            .map(|limit| limit as usize);
        let json = folder.join(JSON);
        let vocabulary = folder.join(VOCABULARY);
        let library = if json.is_file() {
            Library::from_json(&read(&json)?)?
        } else if vocabulary.is_file() {
            Library::from_vocabulary(&read(&vocabulary)?, &settings)?
        } else {
            return Err(ModelError::NotAModel {
                path: folder.to_owned(),
                reason: format!("it has neither {JSON} nor {VOCABULARY}"),
            });
        };
        Ok((library, limit))
    }

    /// Reads the bytes of a `tokenizer.json`.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Library, ModelError> {
        let outline: Outline = serde_json::from_slice(bytes)
            .map_err(|error| ModelError::corrupt(JSON, error.to_string()))?;
        // `tokenizers` panics on some valid JSON, such as a template with an unknown token, when it reads
        // or first uses it.
        catch_unwind(|| {
            let inner = Tokenizer::from_bytes(bytes)
                .map_err(|error| ModelError::corrupt(JSON, error.to_string()))?;
            Library::new(inner, JSON, outline.added_tokens.len())
        })
        .unwrap_or_else(|_| {
            let reason = "its parts contradict each other; the tokenizers library gives up on it";
            Err(ModelError::corrupt(JSON, reason))
        })
    }

    /// BERT's tokenizer over the words of a `vocab.txt`.
    fn from_vocabulary(bytes: &[u8], settings: &Settings) -> Result<Library, ModelError> {
        let corrupt = |error: tokenizers::Error| ModelError::corrupt(VOCABULARY, error.to_string());
        let name = |token: &Option<Value>, default: &str| {
            // Older files describe the token as an object.
            let text = |token: &Value| {
                token
                    .get("content")
                    .unwrap_or(token)
                    .as_str()
                    .map(str::to_owned)
            };
            token
                .as_ref()
                .and_then(text)
                .unwrap_or_else(|| default.to_owned())
        };
        let unknown = name(&settings.unk_token, "[UNK]");
        let first = name(&settings.cls_token, "[CLS]");
        let last = name(&settings.sep_token, "[SEP]");
        let words = WordPiece::read_bytes(bytes).map_err(corrupt)?;
        let model = WordPiece::builder()
            .vocab(words)
            .unk_token(unknown.clone())
            .build()
            .map_err(corrupt)?;
        let mut inner = Tokenizer::new(model);
        let id = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| {
                let reason = format!("the special token {token:?} is missing");
                ModelError::corrupt(VOCABULARY, reason)
            })
        };
        id(&unknown)?;
        let frame = BertProcessing::new((last.clone(), id(&last)?), (first.clone(), id(&first)?));
        let special: Vec<AddedToken> = [
            unknown,
            last,
            name(&settings.pad_token, "[PAD]"),
            first,
            name(&settings.mask_token, "[MASK]"),
        ]
        .into_iter()
        // A token that is not in the vocabulary would get an id without an embedding.
        .filter(|token| inner.token_to_id(token).is_some())
        .map(|token| AddedToken::from(token, true))
        .collect();
        inner.with_normalizer(Some(BertNormalizer::new(
            true,
            settings.tokenize_chinese_chars.unwrap_or(true),
            settings.strip_accents,
            settings.do_lower_case.unwrap_or(true),
        )));
        inner.with_pre_tokenizer(Some(BertPreTokenizer));
        inner.with_post_processor(Some(frame));
        inner.add_special_tokens(&special);
        // All have the same properties, so a duplicate does not matter.
        let added = inner.get_added_vocabulary().len();
        Library::new(inner, VOCABULARY, added)
    }

    /// `added` is the number of tokens that the file adds to the vocabulary.
    fn new(mut inner: Tokenizer, file: &str, added: usize) -> Result<Library, ModelError> {
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
        if !self.added_once || !added.get_added_tokens_decoder().values().all(plain) {
            return None;
        }
        let mut added: Vec<(String, u32)> = added.get_vocab().clone().into_iter().collect();
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

    /// Adds the tokens of `text` to `ids`, cut on the right to `room`; returns whether there are more.
    pub(super) fn encode(
        &self,
        text: &str,
        room: usize,
        ids: &mut Vec<u32>,
    ) -> Result<bool, ModelError> {
        let encoding = self.leading_tokens(text, room)?;
        let words = encoding.get_ids();
        ids.extend_from_slice(&words[..room.min(words.len())]);
        Ok(words.len() > room)
    }

    /// All tokens of `text`, or at least its first `room + 1`.
    ///
    /// Normalizing and splitting a text takes about a hundred times its size in memory, while a model
    /// reads only a few kilobytes. So of a long text only a beginning is tokenized, and a longer one if it
    /// has too few tokens. A text without white space is tokenized whole.
    fn leading_tokens(&self, text: &str, room: usize) -> Result<Encoding, ModelError> {
        const BYTES_A_TOKEN: usize = 16;
        let mut bound = (room + 1).saturating_mul(BYTES_A_TOKEN).max(4096);
        while self.divides_at_spaces && bound < text.len() / 2 {
            let Some(cut) = space_near(text, bound) else {
                break;
            };
            let encoding = self.all_tokens(&text[..cut])?;
            if encoding.len() > room {
                return Ok(encoding);
            }
            bound = cut.max(bound).saturating_mul(4);
        }
        self.all_tokens(text)
    }

    pub(super) fn all_tokens(&self, text: &str) -> Result<Encoding, ModelError> {
        self.inner
            .encode_fast(text, false)
            .map_err(|error| ModelError::corrupt("the tokenizer", error.to_string()))
    }
}
