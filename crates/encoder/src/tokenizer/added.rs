//! The special and added tokens of a model folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::AddedToken;

use super::folder::{ADDED, Class, Files, JSON, SETTINGS, SPECIAL};
use crate::error::ModelError;

/// The special tokens that every tokenizer of transformers may have, in its order, with their names in BERT's.
const NAMED: [(&str, Option<&str>); 7] = [
    ("bos_token", None),
    ("eos_token", None),
    (UNKNOWN, Some("[UNK]")),
    (LAST, Some("[SEP]")),
    ("pad_token", Some("[PAD]")),
    (FIRST, Some("[CLS]")),
    ("mask_token", Some("[MASK]")),
];
pub(super) const UNKNOWN: &str = "unk_token";
pub(super) const FIRST: &str = "cls_token";
pub(super) const LAST: &str = "sep_token";

/// A token in the files: its name, or an object.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Token {
    Name(String),
    Object(Properties),
}

#[derive(Clone, Deserialize)]
struct Properties {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Whether it is searched for in the normalized text; by default, if it is not special.
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Token::Name(content) | Token::Object(Properties { content, .. }) => content,
        }
    }

    fn special(self) -> Token {
        match self {
            Token::Object(properties) => Token::Object(Properties {
                special: true,
                ..properties
            }),
            name => name,
        }
    }

    fn into_added(self) -> AddedToken {
        match self {
            Token::Name(content) => AddedToken::from(content, true),
            Token::Object(token) => AddedToken {
                content: token.content,
                single_word: token.single_word,
                lstrip: token.lstrip,
                rstrip: token.rstrip,
                normalized: token.normalized.unwrap_or(!token.special),
                special: token.special,
            },
        }
    }
}

/// The entries of an object in the order of the file, on which the ids of new tokens depend.
struct Entries<T>(Vec<(String, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries<T>, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Visit<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<T>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Visit(PhantomData))
    }
}

/// Special tokens without a standard name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Extra {
    List(Vec<Token>),
    Named(Entries<Token>),
}

/// The tokens in `tokenizer_config.json` or `special_tokens_map.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stated {
    added_tokens_decoder: Option<BTreeMap<String, Properties>>,
    additional_special_tokens: Option<Vec<Token>>,
    extra_special_tokens: Option<Extra>,
    #[serde(flatten)]
    others: Entries<Value>,
}

impl Stated {
    /// The special tokens that have a key of their own. A key with null is there, without a token.
    fn named(&self, file: &str) -> Result<Vec<(String, Option<Token>)>, ModelError> {
        let mut named = Vec::new();
        for (key, value) in &self.others.0 {
            let standard = NAMED.iter().any(|(name, _)| name == key);
            let token = value.is_string() || value.is_object();
            if !key.ends_with("_token") || !standard && !token {
                continue;
            }
            let token = Deserialize::deserialize(value).map_err(|_| {
                ModelError::corrupt(file, format!("{key} is {value}, which is not a token"))
            })?;
            named.push((key.clone(), token));
        }
        Ok(named)
    }
}

/// The tokens in `tokenizer.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Saved {
    added_tokens: Vec<WithId>,
    padding: Option<Padding>,
}

#[derive(Deserialize)]
struct Padding {
    pad_token: Token,
}

#[derive(Deserialize)]
struct WithId {
    id: u64,
    #[serde(flatten)]
    token: Properties,
}

/// All special and added tokens.
pub(super) struct Added {
    /// The standard special tokens by their keys.
    named: BTreeMap<String, Option<String>>,
    /// The tokens to add to the words, in this order.
    pub(super) tokens: Vec<AddedToken>,
    /// Tokens that no file names.
    pub(super) defaults: BTreeSet<String>,
}

impl Added {
    /// What the files say, as `_from_pretrained` of `tokenization_utils_base.py` and the constructor in
    /// `tokenization_utils_tokenizers.py` merge it.
    pub(super) fn read(files: &Files, class: Class) -> Result<Added, ModelError> {
        let settings: Stated = files.parse(SETTINGS)?.unwrap_or_default();
        let saved: Saved = files.parse(JSON)?.unwrap_or_default();
        let mut named = settings.named(SETTINGS)?;
        let mut extra = match (
            settings.extra_special_tokens,
            settings.additional_special_tokens,
        ) {
            (Some(Extra::Named(entries)), _) => {
                let entries = entries.0.into_iter();
                named.extend(entries.map(|(key, token)| (key, Some(token))));
                Vec::new()
            }
            (Some(Extra::List(list)), other) if list.is_empty() => other.unwrap_or_default(),
            (Some(Extra::List(list)), _) => list,
            (None, other) => other.unwrap_or_default(),
        };
        let by_id: BTreeMap<u64, Token> = match settings.added_tokens_decoder {
            Some(decoder) => {
                let token = |(id, token): (String, Properties)| {
                    let id = id.parse().map_err(|_| {
                        let reason = format!("added_tokens_decoder has the id {id:?}");
                        ModelError::corrupt(SETTINGS, reason)
                    })?;
                    Ok((id, Token::Object(token)))
                };
                decoder
                    .into_iter()
                    .map(token)
                    .collect::<Result<_, ModelError>>()?
            }
            None => {
                let special: Stated = files.parse(SPECIAL)?.unwrap_or_default();
                for (key, token) in special.named(SPECIAL)? {
                    named.retain(|(other, _)| *other != key);
                    named.push((key, token.map(Token::special)));
                }
                let of_settings: BTreeSet<String> = extra
                    .iter()
                    .chain(named.iter().filter_map(|(_, token)| token.as_ref()))
                    .map(|token| token.content().to_owned())
                    .collect();
                match special.extra_special_tokens {
                    Some(Extra::List(list)) => extra.extend(list.into_iter().map(Token::special)),
                    Some(Extra::Named(entries)) => {
                        let entries = entries.0.into_iter();
                        named.extend(entries.map(|(key, token)| (key, Some(token))));
                    }
                    None if extra.is_empty() => {
                        extra = special.additional_special_tokens.unwrap_or_default();
                    }
                    None => {}
                }
                older(files, saved.added_tokens, &of_settings)?
            }
        };
        if let (Class::AsSaved, Some(padding)) = (class, saved.padding)
            && !named.iter().any(|(key, _)| key == "pad_token")
        {
            named.push(("pad_token".to_owned(), Some(padding.pad_token)));
        }
        Ok(Added::new(class, named, by_id, extra))
    }

    fn new(
        class: Class,
        mut named: Vec<(String, Option<Token>)>,
        by_id: BTreeMap<u64, Token>,
        extra: Vec<Token>,
    ) -> Added {
        let stated: BTreeSet<String> = by_id
            .values()
            .chain(&extra)
            .chain(named.iter().filter_map(|(_, token)| token.as_ref()))
            .map(|token| token.content().to_owned())
            .collect();
        let mut defaults = BTreeSet::new();
        let mut standard = Vec::new();
        for (key, default) in NAMED {
            if let Some(at) = named.iter().position(|(other, _)| other == key) {
                standard.push(named.remove(at));
            } else if let (Class::Bert, Some(default)) = (class, default) {
                if !stated.contains(default) {
                    defaults.insert(default.to_owned());
                }
                standard.push((key.to_owned(), Some(Token::Name(default.to_owned()))));
            }
        }
        let special: BTreeSet<String> = standard
            .iter()
            .chain(&named)
            .filter_map(|(_, token)| Some(token.as_ref()?.content().to_owned()))
            .collect();
        let names = standard.iter().map(|(key, token)| {
            let content = token.as_ref().map(|token| token.content().to_owned());
            (key.clone(), content)
        });
        let names = names.collect();
        let more = standard
            .into_iter()
            .chain(named)
            .filter_map(|(_, token)| token);
        let mut seen = BTreeSet::new();
        let tokens = by_id
            .into_values()
            .chain(more)
            .chain(extra)
            .filter(|token| seen.insert(token.content().to_owned()))
            .map(|token| match special.contains(token.content()) {
                true => token.special(),
                false => token,
            })
            .map(Token::into_added);
        let tokens: Vec<AddedToken> = tokens.collect();
        Added {
            named: names,
            tokens,
            defaults,
        }
    }

    /// The special token with this key.
    pub(super) fn named(&self, key: &str) -> Result<&str, ModelError> {
        self.named
            .get(key)
            .and_then(Option::as_deref)
            .ok_or_else(|| {
                ModelError::unsupported(format!("{key} is null; BERT's tokenizer needs one"))
            })
    }
}

/// Added tokens by id where the settings do not list them: those of `added_tokens.json`, then those of `tokenizer.json`.
fn older(
    files: &Files,
    saved: Vec<WithId>,
    special: &BTreeSet<String>,
) -> Result<BTreeMap<u64, Token>, ModelError> {
    let mut by_id = BTreeMap::new();
    let added: BTreeMap<String, u64> = files.parse(ADDED)?.unwrap_or_default();
    for (content, id) in added {
        let special = special.contains(&content);
        let token = Properties {
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: Some(!special),
            special,
        };
        by_id.insert(id, Token::Object(token));
    }
    for WithId { id, token } in saved {
        by_id.insert(id, Token::Object(token));
    }
    Ok(by_id)
}
