//! What a figure is worth.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a quantity comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Counted, or read from a clock.
    Measured,
    /// Computed from measurements.
    Predicted,
    /// Taken to be so, with nothing measured to support it.
    Assumed,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Measured => "measured",
            Self::Predicted => "predicted",
            Self::Assumed => "assumed",
        })
    }
}

impl Basis {
    /// What a figure is worth that is computed from two others: no more than the weaker of them.
    pub fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

/// How sure a price is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sure {
    /// The provider's own page says it.
    Documented,
    /// Secondary sources say it and agree.
    Secondary,
    /// Nobody was found to confirm it; or the user gave it.
    Unverified,
}

impl fmt::Display for Sure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Documented => "documented",
            Self::Secondary => "secondary",
            Self::Unverified => "unverified",
        })
    }
}
