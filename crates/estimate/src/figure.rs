//! Provenance of numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Basis of a quantity, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Counted, or read from a clock.
    Measured,
    /// Computed from measurements.
    Predicted,
    /// Assumed, without a supporting measurement.
    Assumed,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Confidence in a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Published by the provider.
    Documented,
    /// Reported by secondary sources that agree.
    Secondary,
    /// Not confirmed by any source, or given by the user.
    Unverified,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
