//! Prices: dated data, with a source for every number.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Sure;

/// Prices of AWS as the project knows them.
const AWS: &str = include_str!("../../prices/aws-2026-11-24.json");
/// No price file is nearly as large.
const MAX_BYTES: u64 = 4 << 20;

/// What a function's CPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Intel's and AMD's.
    #[serde(rename = "x86_64")]
    X86,
    /// Graviton.
    Arm64,
}

impl Architecture {
    /// Its name, as Lambda has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86 => "x86_64",
            Self::Arm64 => "arm64",
        }
    }
}

impl std::str::FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "x86_64" => Ok(Self::X86),
            // What Rust and Linux call it.
            "arm64" | "aarch64" => Ok(Self::Arm64),
            _ => Err(format!("{name:?} is neither x86_64 nor arm64")),
        }
    }
}

/// What has a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// A GB-second of a function.
    LambdaCompute,
    /// An invocation.
    LambdaRequest,
    /// A state transition of a Standard execution.
    StandardTransition,
    /// An Express execution.
    ExpressRequest,
    /// A GB-second of an Express execution.
    ExpressCompute,
    /// A write or listing of the object store.
    StorePut,
    /// A read of the object store.
    StoreGet,
    /// A GB for a month in the object store.
    StoreMonth,
}

/// The prices of a provider on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Whose.
    pub provider: String,
    /// The day on which they were looked up, as `2026-11-24`.
    pub date: String,
    /// All prices are in it; others than `USD` are refused.
    pub currency: String,
    /// The prices.
    pub prices: Vec<Price>,
}

/// A price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Of what.
    pub item: Item,
    /// Where; `*` where no other price is given for a region.
    pub region: String,
    /// Of which functions; of all where missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// What one of it is.
    pub unit: String,
    /// What one costs, by how much of it was used in the month; the first tier begins at 0.
    pub tiers: Vec<Tier>,
    /// Where the number is from.
    pub source: String,
    /// How sure it is.
    pub sure: Sure,
}

/// A price from a quantity on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Units in the month before it begins.
    pub from: f64,
    /// USD a unit.
    pub usd: f64,
}

/// Prices that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PriceError {
    /// The file cannot be read, or is not a price file.
    #[error("failed to read prices from {file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something has no price.
    #[error(
        "failed to find the price of {item} for {what} in the prices of {provider} of {date}; give a file that has it (--prices)"
    )]
    Missing {
        /// The item's name.
        item: String,
        /// Region and architecture.
        what: String,
        /// Whose prices.
        provider: String,
        /// Their date.
        date: String,
    },
}

impl Prices {
    /// AWS as the project knows it.
    pub fn aws() -> Self {
        Self::parse(AWS, "the prices of shoal").expect("a test reads them")
    }

    /// Reads a price file: JSON in the form of `crates/estimate/prices/`.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, PriceError> {
        let file = path.display().to_string();
        let failed = |reason: String| PriceError::File {
            file: file.clone(),
            reason,
        };
        let length = std::fs::metadata(path)
            .map_err(|e| failed(e.to_string()))?
            .len();
        if length > MAX_BYTES {
            return Err(failed(format!(
                "it has {length} bytes, and {MAX_BYTES} are the most"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        Self::parse(&text, &file)
    }

    fn parse(text: &str, file: &str) -> Result<Self, PriceError> {
        let failed = |reason: String| PriceError::File {
            file: file.to_owned(),
            reason,
        };
        let prices: Self = serde_json::from_str(text).map_err(|e| failed(e.to_string()))?;
        if prices.currency != "USD" {
            return Err(failed(format!(
                "its currency is {:?}, and only USD is known",
                prices.currency
            )));
        }
        for (number, price) in prices.prices.iter().enumerate() {
            price.check().map_err(|reason| {
                failed(format!("price {} ({:?}): {reason}", number + 1, price.item))
            })?;
        }
        Ok(prices)
    }

    /// The price of an item in a region.
    ///
    /// # Errors
    /// There is none.
    pub fn find(
        &self,
        item: Item,
        region: &str,
        architecture: Option<Architecture>,
    ) -> Result<&Price, PriceError> {
        let fits = |price: &&Price| {
            price.item == item
                && (price.architecture.is_none() || price.architecture == architecture)
        };
        let here = self
            .prices
            .iter()
            .filter(fits)
            .find(|price| price.region == region);
        here.or_else(|| {
            self.prices
                .iter()
                .filter(fits)
                .find(|price| price.region == "*")
        })
        .ok_or_else(|| PriceError::Missing {
            item: serde_json::to_value(item)
                .expect("a name")
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            what: match architecture {
                Some(architecture) => format!("{region}, {}", architecture.name()),
                None => region.to_owned(),
            },
            provider: self.provider.clone(),
            date: self.date.clone(),
        })
    }
}

impl Price {
    fn check(&self) -> Result<(), String> {
        let Some(first) = self.tiers.first() else {
            return Err("it has no tiers".into());
        };
        if first.from != 0.0 {
            return Err("its first tier does not begin at 0".into());
        }
        if self
            .tiers
            .iter()
            .any(|tier| !(tier.usd.is_finite() && tier.usd >= 0.0))
        {
            return Err("it has a tier whose price is not a number of USD".into());
        }
        let ascends = |pair: &[Tier]| pair[0].from < pair[1].from && pair[1].from.is_finite();
        if !self.tiers.windows(2).all(ascends) {
            return Err("its tiers do not ascend".into());
        }
        Ok(())
    }

    /// What `quantity` costs in USD, counted from the first unit of the month.
    pub fn cost(&self, quantity: f64) -> f64 {
        let ends = self
            .tiers
            .iter()
            .skip(1)
            .map(|tier| tier.from)
            .chain([f64::INFINITY]);
        self.tiers
            .iter()
            .zip(ends)
            .map(|(tier, end)| tier.usd * (quantity.min(end) - tier.from).max(0.0))
            .sum()
    }
}

#[cfg(test)]
mod tests;
