//! What a checkpoint is opened for.

use std::fmt;

/// The task head that a model gets. One checkpoint can be opened for several purposes; a packed
/// model has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Logits of the checkpoint's sequence classifier.
    Classify,
    /// A sentence embedding, as sentence-transformers computes it.
    Embed,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Purpose; 2] = [Purpose::Classify, Purpose::Embed];

    /// `classify` or `embed`.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Classify => "classify",
            Purpose::Embed => "embed",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
