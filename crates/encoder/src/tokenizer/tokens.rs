//! Token ids, and the special tokens around them.

use serde::{Deserialize, Serialize};

/// The token ids of one record, with the special tokens of its model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Token ids, `[CLS]` first; at most as many as were allowed.
    pub ids: Vec<u32>,
    /// Whether the text had more tokens than were allowed, so that its end, or as the model says, its beginning
    /// was cut off.
    pub truncated: bool,
    /// Number of leading tokens that pooling leaves out: those of an excluded prompt. It may exceed
    /// the number of ids.
    pub prompt: usize,
}

impl Tokens {
    /// Ids that were not truncated and have no excluded prompt.
    pub fn from_ids(ids: Vec<u32>) -> Tokens {
        Tokens {
            ids,
            ..Tokens::default()
        }
    }
}

/// Special tokens around every text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Frame {
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

impl Frame {
    pub(super) fn size(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

/// An end of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Side {
    Left,
    #[default]
    Right,
}

/// How the files of a model cut long texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Truncation {
    /// Most tokens of a text, special tokens included, if the files state it.
    pub(crate) limit: Option<usize>,
    /// The end that is cut off.
    pub(crate) side: Side,
}
