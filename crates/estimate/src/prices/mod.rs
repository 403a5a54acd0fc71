//! Prices: dated data with a source for every number.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Confidence;
use crate::file::read_text;

/// The built-in AWS prices.
const AWS: &str = include_str!("../../prices/aws-2026-11-24.json");
/// Maximum size of a price file in bytes, far more than any needs.
const MAX_BYTES: u64 = 4 << 20;

/// CPU architecture of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Intel and AMD.
    #[serde(rename = "x86_64")]
    X86,
    /// Graviton.
    Arm64,
}

/// Formats the name that Lambda uses.
impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl std::str::FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "x86_64" => Ok(Self::X86),
            // `aarch64` is the name that Rust and Linux use.
            "arm64" | "aarch64" => Ok(Self::Arm64),
            _ => Err(format!("{name:?} is neither x86_64 nor arm64")),
        }
    }
}

/// A billable item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
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
    /// A GB-month in the object store.
    StoreMonth,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The prices of a provider on a date.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// The provider.
    pub provider: String,
    /// Date of retrieval, such as `2026-11-24`.
    pub date: String,
    /// Currency of all prices; only `USD` is supported.
    pub currency: String,
    /// The prices.
    pub prices: Vec<Price>,
}

/// The price of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The item.
    pub item: Item,
    /// The region; `*` for all regions without a separate price.
    pub region: String,
    /// Architecture of the functions; any if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<Architecture>,
    /// The unit.
    pub unit: String,
    /// Price per unit, by quantity used in the month. The first tier starts at 0.
    pub tiers: Vec<Tier>,
    /// Source of the number.
    pub source: String,
    /// Confidence in the number.
    #[serde(rename = "sure")]
    pub confidence: Confidence,
}

/// A price that applies to units beyond a quantity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Units used in the month before this tier applies.
    pub from: f64,
    /// USD per unit.
    pub usd: f64,
}

/// Prices cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PriceError {
    /// The file cannot be read or is not a price file.
    #[error("failed to read prices from {file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// The problem.
        reason: String,
    },
    /// There is no price for an item.
    #[error(
        "failed to find the price of {item} for {what} in the {provider} prices of {date}; use a price file that contains it"
    )]
    Missing {
        /// The item's name.
        item: String,
        /// Region and architecture.
        what: String,
        /// The provider of the prices.
        provider: String,
        /// Date of the prices.
        date: String,
    },
}

impl Prices {
    /// The built-in AWS prices.
    pub fn aws() -> Self {
        Self::parse(AWS, "built-in prices").expect("the built-in prices are valid")
    }

    /// Reads a price file: JSON in the format of the files in `crates/estimate/prices/`.
    ///
    /// # Errors
    /// The file cannot be read or is not a valid price file.
    pub fn read(path: &Path) -> Result<Self, PriceError> {
        let file = path.display().to_string();
        match read_text(path, MAX_BYTES) {
            Ok(text) => Self::parse(&text, &file),
            Err(reason) => Err(PriceError::File { file, reason }),
        }
    }

    fn parse(text: &str, file: &str) -> Result<Self, PriceError> {
        let failed = |reason: String| PriceError::File {
            file: file.to_owned(),
            reason,
        };
        let prices: Self = serde_json::from_str(text).map_err(|e| failed(e.to_string()))?;
        if prices.currency != "USD" {
            return Err(failed(format!(
                "its currency is {:?}; only USD is supported",
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

    /// Finds the price of an item in a region.
    ///
    /// # Errors
    /// There is no such price.
    pub fn find(
        &self,
        item: Item,
        region: &str,
        architecture: Option<Architecture>,
    ) -> Result<&Price, PriceError> {
        let matches = |price: &&Price| {
            price.item == item
                && (price.architecture.is_none() || price.architecture == architecture)
        };
        let of_item = || self.prices.iter().filter(matches);
        let here = of_item().find(|price| price.region == region);
        let found = here.or_else(|| of_item().find(|price| price.region == "*"));
        found.ok_or_else(|| PriceError::Missing {
            item: item.to_string(),
            what: match architecture {
                Some(architecture) => format!("{region}, {architecture}"),
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
            return Err("its first tier does not start at 0".into());
        }
        let is_price = |tier: &Tier| tier.usd.is_finite() && tier.usd >= 0.0;
        if !self.tiers.iter().all(is_price) {
            return Err("it has a tier whose price is negative or not finite".into());
        }
        let is_ascending = |pair: &[Tier]| pair[0].from < pair[1].from && pair[1].from.is_finite();
        if !self.tiers.windows(2).all(is_ascending) {
            return Err("its tiers are not in ascending order".into());
        }
        Ok(())
    }

    /// The cost of the first `quantity` units of a month, in USD.
    pub fn cost(&self, quantity: f64) -> f64 {
        let ends = self.tiers.iter().skip(1).map(|tier| tier.from);
        let tiers = self.tiers.iter().zip(ends.chain([f64::INFINITY]));
        tiers
            .map(|(tier, end)| tier.usd * (quantity.min(end) - tier.from).max(0.0))
            .sum()
    }
}

#[cfg(test)]
mod tests;
