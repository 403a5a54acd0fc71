//! Builds the tokenizer of a model folder.

use std::panic::catch_unwind;

use serde_json::Value;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Model, ModelWrapper, Tokenizer};

use super::added::{Added, FIRST, LAST, UNKNOWN};
use super::folder::{Class, Files, JSON, Settings, VOCABULARY};
use super::library::{self, Library};
use super::tokens::Truncation;
use crate::error::ModelError;

/// The tokenizer that transformers makes of `files` for a model whose `config.json` is `config` and that has embeddings
/// for `rows` tokens.
pub(super) fn load(
    files: &Files,
    config: &Value,
    rows: usize,
) -> Result<(Library, Truncation), ModelError> {
    let settings = Settings::read(files)?;
    let truncation = Truncation {
        limit: settings.limit(),
        side: settings.side(files)?,
    };
    let class = settings.class(files, config)?;
    let added = Added::read(files, class)?;
    // `tokenizers` panics on some valid files.
    let library = catch_unwind(|| match class {
        Class::Bert => bert(files, &settings, &added, rows),
        Class::AsSaved => as_saved(files, &settings, &added),
    });
    let library = library.unwrap_or_else(|_| Err(library::gives_up(files.of_words())))?;
    Ok((library, truncation))
}

/// As `models/bert/tokenization_bert.py` builds it.
fn bert(
    files: &Files,
    settings: &Settings,
    added: &Added,
    rows: usize,
) -> Result<Library, ModelError> {
    let file = files.of_words();
    let corrupt = |error: tokenizers::Error| ModelError::corrupt(file, error.to_string());
    let words = match files.get(JSON) {
        Some(json) => match library::parse(json)?.0.get_model() {
            ModelWrapper::WordPiece(model) => model.get_vocab().into_iter().collect(),
            _ => {
                return Err(ModelError::corrupt(
                    JSON,
                    "its model is not a WordPiece model",
                ));
            }
        },
        None => {
            WordPiece::read_bytes(files.get(VOCABULARY).unwrap_or_default()).map_err(corrupt)?
        }
    };
    let unknown = added.named(UNKNOWN)?;
    let missing =
        |token: &str| ModelError::corrupt(file, format!("the special token {token:?} is missing"));
    if !words.contains_key(unknown) {
        return Err(missing(unknown));
    }
    let model = WordPiece::builder()
        .vocab(words)
        .unk_token(unknown.to_owned())
        .build()
        .map_err(corrupt)?;
    let mut inner = Tokenizer::new(model);
    inner.with_normalizer(Some(BertNormalizer::new(
        true,
        settings.tokenize_chinese_chars.unwrap_or(true),
        settings.strip_accents,
        settings.do_lower_case.unwrap_or(true),
    )));
    inner.with_pre_tokenizer(Some(BertPreTokenizer));
    inner.set_encode_special_tokens(settings.split_special_tokens.unwrap_or(false));
    // Transformers gives every token an id, also those that no file names and that have no embedding.
    let mut size = inner.get_vocab_size(true);
    let has_room = |token: &&AddedToken| {
        let is_new = inner.token_to_id(&token.content).is_none();
        let has_room = !is_new || size < rows || !added.defaults.contains(&token.content);
        size += usize::from(is_new && has_room);
        has_room
    };
    let tokens: Vec<AddedToken> = added.tokens.iter().filter(has_room).cloned().collect();
    inner.add_tokens(&tokens);
    let special = |key: &str| {
        let token = added.named(key)?;
        let id = inner.token_to_id(token).ok_or_else(|| missing(token))?;
        Ok::<_, ModelError>((token.to_owned(), id))
    };
    let frame = BertProcessing::new(special(LAST)?, special(FIRST)?);
    inner.with_post_processor(Some(frame));
    let added = inner.get_added_vocabulary().len();
    Library::new(inner, file, added)
}

/// `tokenizer.json` with the tokens that other files add.
fn as_saved(files: &Files, settings: &Settings, added: &Added) -> Result<Library, ModelError> {
    let json = files.get(JSON).unwrap_or_default();
    let (inner, _) = library::parse(json)?;
    let present = inner.get_added_tokens_decoder();
    let find = |token: &AddedToken| present.values().find(|old| old.content == token.content);
    let (old, new): (Vec<_>, Vec<_>) = added
        .tokens
        .iter()
        .cloned()
        .partition(|token| find(token).is_some());
    let changed = |token: &AddedToken| find(token).is_some_and(|old| differ(old, token));
    let (mut inner, saved) = match old.iter().any(changed) {
        false => library::parse(json)?,
        true => library::parse(&with_properties(json, &old)?)?,
    };
    inner.set_encode_special_tokens(settings.split_special_tokens.unwrap_or(false));
    inner.add_tokens(&new);
    Library::new(inner, JSON, saved + new.len())
}

/// Whether two tokens with the same content have other properties; their own comparison ignores those.
fn differ(a: &AddedToken, b: &AddedToken) -> bool {
    serde_json::to_value(a).ok() != serde_json::to_value(b).ok()
}

/// The bytes of `tokenizer.json` with the properties of `tokens` for its own tokens of the same content.
fn with_properties(json: &[u8], tokens: &[AddedToken]) -> Result<Vec<u8>, ModelError> {
    let corrupt = |error: serde_json::Error| ModelError::corrupt(JSON, error.to_string());
    let mut json: Value = serde_json::from_slice(json).map_err(corrupt)?;
    let saved = json["added_tokens"].as_array_mut().into_iter().flatten();
    for saved in saved.filter_map(Value::as_object_mut) {
        let content = saved.get("content").and_then(Value::as_str);
        if let Some(token) = tokens.iter().find(|token| Some(&*token.content) == content)
            && let Ok(Value::Object(properties)) = serde_json::to_value(token)
        {
            saved.extend(properties);
        }
    }
    serde_json::to_vec(&json).map_err(corrupt)
}
