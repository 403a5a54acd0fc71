//! The files of a model folder that determine token ids, read as `AutoTokenizer` of transformers 5.24 reads them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::tokens::Side;
use crate::error::ModelError;
use crate::files::{CONFIG, read};

pub(crate) const JSON: &str = "tokenizer.json";
pub(crate) const VOCABULARY: &str = "vocab.txt";
pub(crate) const SETTINGS: &str = "tokenizer_config.json";
pub(super) const SPECIAL: &str = "special_tokens_map.json";
pub(super) const ADDED: &str = "added_tokens.json";

/// The class that BERT and DistilBERT have if no file names one.
const DEFAULT_CLASS: &str = "BertTokenizer";
/// Classes that are the same as [`DEFAULT_CLASS`].
const BERT: [&str; 8] = [
    DEFAULT_CLASS,
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "ConvBertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
    "LxmertTokenizer",
    "LayoutLMTokenizer",
];
/// Classes that do what `tokenizer.json` says. Multilingual models of BERT's architecture have that of XLM-RoBERTa.
const AS_SAVED: [&str; 4] = [
    "PreTrainedTokenizer",
    "PythonBackend",
    "TokenizersBackend",
    "XLMRobertaTokenizer",
];

/// The names of the files in `folder` that determine token ids. `vocab.txt` has no effect beside `tokenizer.json`.
pub(crate) fn names(folder: &Path) -> Vec<&'static str> {
    let is_there = |name: &&str| folder.join(name).is_file();
    let words = [JSON, VOCABULARY].into_iter().find(is_there);
    let others = [SETTINGS, SPECIAL, ADDED].into_iter().filter(is_there);
    words.into_iter().chain(others).collect()
}

/// The bytes of these files, by name.
pub(super) struct Files(BTreeMap<&'static str, Vec<u8>>);

impl Files {
    pub(super) fn read(folder: &Path) -> Result<Files, ModelError> {
        let names = names(folder).into_iter();
        let files = names.map(|name| Ok((name, read(&folder.join(name))?)));
        let files = Files(files.collect::<Result<_, ModelError>>()?);
        if files.get(JSON).is_none() && files.get(VOCABULARY).is_none() {
            return Err(ModelError::NotAModel {
                path: folder.to_owned(),
                reason: format!(
                    "it has neither {JSON} nor {VOCABULARY}; save the model's tokenizer there with transformers: \
                     AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"
                ),
            });
        }
        Ok(files)
    }

    /// A `tokenizer.json` alone.
    pub(super) fn of_json(bytes: &[u8]) -> Files {
        Files([(JSON, bytes.to_vec())].into())
    }

    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// The content of a JSON file, if it is there.
    pub(super) fn parse<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, ModelError> {
        let parse = |bytes| {
            serde_json::from_slice(bytes)
                .map_err(|error| ModelError::corrupt(name, error.to_string()))
        };
        self.get(name).map(parse).transpose()
    }

    /// The name of the file with the words.
    pub(super) fn of_words(&self) -> &'static str {
        if self.0.contains_key(JSON) {
            JSON
        } else {
            VOCABULARY
        }
    }
}

/// What a tokenizer's class takes from its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Only the words; the rest follows from the settings.
    Bert,
    /// All that `tokenizer.json` says.
    AsSaved,
}

/// The settings in `tokenizer_config.json`, apart from special and added tokens.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) do_lower_case: Option<bool>,
    pub(super) tokenize_chinese_chars: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    pub(super) split_special_tokens: Option<bool>,
    truncation_side: Option<String>,
    tokenizer_class: Option<String>,
    fast_tokenizer_files: Option<Vec<String>>,
    // May be as large as 10³⁰, which means that there is no limit.
    model_max_length: Option<f64>,
    max_len: Option<f64>,
}

#[derive(Default, Deserialize)]
struct Truncation {
    truncation: Option<Direction>,
}

#[derive(Deserialize)]
struct Direction {
    direction: Option<String>,
}

impl Settings {
    pub(super) fn read(files: &Files) -> Result<Settings, ModelError> {
        let settings: Settings = files.parse(SETTINGS)?.unwrap_or_default();
        let versions = settings.fast_tokenizer_files.as_deref();
        if versions.is_some_and(|names| names.iter().any(|name| name != JSON)) {
            return Err(ModelError::unsupported(format!(
                "fast_tokenizer_files in {SETTINGS} names other files than {JSON}; rename the one that is to be used to \
                 {JSON}, and remove the key"
            )));
        }
        Ok(settings)
    }

    /// What the class takes from the files; the class is in `tokenizer_config.json`, or else in `config`, the content of
    /// `config.json`.
    pub(super) fn class(&self, files: &Files, config: &Value) -> Result<Class, ModelError> {
        let of_model = config.get("tokenizer_class").and_then(Value::as_str);
        let (file, name) = match (&self.tokenizer_class, of_model) {
            (Some(name), _) => (SETTINGS, &**name),
            (None, Some(name)) => (CONFIG, name),
            (None, None) => (SETTINGS, DEFAULT_CLASS),
        };
        let unsupported = |reason: String| {
            Err(ModelError::unsupported(format!(
                "tokenizer_class in {file} is {name:?}{}, {reason}",
                match (&self.tokenizer_class, of_model) {
                    (None, None) => " by default",
                    _ => "",
                }
            )))
        };
        let short = name.strip_suffix("Fast").unwrap_or(name);
        if BERT.contains(&short) {
            let has_words = match files.parse::<Value>(JSON)? {
                // `tokenizers` writes the type; files that are older lack it.
                Some(json) => json["model"]["type"].as_str().unwrap_or("WordPiece") == "WordPiece",
                None => true,
            };
            if !has_words {
                return unsupported(format!(
                    "which needs a model of type WordPiece in {JSON}; with the class PreTrainedTokenizerFast, \
                     {JSON} is used as it is"
                ));
            }
            Ok(Class::Bert)
        } else if !AS_SAVED.contains(&short) {
            unsupported(
                "which is not supported; supported are BertTokenizer, DistilBertTokenizer, XLMRobertaTokenizer and \
                 PreTrainedTokenizerFast, which uses tokenizer.json as it is"
                    .to_owned(),
            )
        } else if files.get(JSON).is_none() {
            unsupported(format!("which needs a {JSON}, and the folder has none"))
        } else {
            self.check_normalizer(files, name)?;
            Ok(Class::AsSaved)
        }
    }

    /// Fails if settings contradict the normalizer in `tokenizer.json`. Transformers ignores these settings with a class that
    /// uses `tokenizer.json` as it is, which a person who changed them does not expect.
    fn check_normalizer(&self, files: &Files, class: &str) -> Result<(), ModelError> {
        let json: Value = files.parse(JSON)?.unwrap_or_default();
        let pairs = [
            ("do_lower_case", self.do_lower_case, "lowercase"),
            (
                "tokenize_chinese_chars",
                self.tokenize_chinese_chars,
                "handle_chinese_chars",
            ),
            ("strip_accents", self.strip_accents, "strip_accents"),
        ];
        for (name, value, key) in pairs {
            if let (Some(value), Some(saved)) = (value, json["normalizer"][key].as_bool())
                && value != saved
            {
                return Err(ModelError::unsupported(format!(
                    "{name} in {SETTINGS} is {value}, but {key} in {JSON} is {saved}, and transformers uses the latter with \
                     the class {class}; make them agree"
                )));
            }
        }
        Ok(())
    }

    /// The length limit, if the settings state one.
    pub(super) fn limit(&self) -> Option<usize> {
        self.model_max_length
            .or(self.max_len)
            .filter(|limit| (1.0..1e9).contains(limit))
            .map(|limit| limit as usize)
    }

    /// The end of a long text that is cut off.
    pub(super) fn side(&self, files: &Files) -> Result<Side, ModelError> {
        match self.truncation_side.as_deref() {
            Some("left") => return Ok(Side::Left),
            Some("right") => return Ok(Side::Right),
            Some(other) => {
                return Err(ModelError::corrupt(
                    SETTINGS,
                    format!(
                        "truncation_side is {other:?}, which is neither \"left\" nor \"right\""
                    ),
                ));
            }
            None => {}
        }
        let truncation: Option<Truncation> = files.parse(JSON)?;
        let direction = truncation.and_then(|truncation| truncation.truncation?.direction);
        Ok(match direction.as_deref() {
            Some("Left") => Side::Left,
            _ => Side::Right,
        })
    }
}
