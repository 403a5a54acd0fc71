//! Usage and its cost.

use serde::{Deserialize, Serialize};

use crate::prices::{Architecture, Item, PriceError, Prices};
use crate::{Basis, Confidence};

/// A run's usage of a provider. Quantities of 0 are not billed and need no price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The region.
    pub region: String,
    /// Architecture of the functions.
    pub architecture: Architecture,
    /// Basis of the quantities.
    pub basis: Basis,
    /// GB-seconds of invocations, excluding cold starts: memory in units of 1,024 MB times billed
    /// seconds.
    pub compute_gb_s: f64,
    /// GB-seconds of cold starts.
    pub init_gb_s: f64,
    /// Invocations, including failed ones.
    pub requests: f64,
    /// State transitions of Standard executions.
    pub transitions: f64,
    /// Express executions.
    pub express_requests: f64,
    /// GB-seconds of Express executions.
    pub express_gb_s: f64,
    /// Writes and listings of the object store.
    pub puts: f64,
    /// Reads of the object store.
    pub gets: f64,
    /// GB-months (of 10^9 bytes) in the object store.
    pub stored_gb_months: f64,
}

impl Usage {
    /// Usage with all quantities 0.
    pub fn none(region: impl Into<String>, architecture: Architecture, basis: Basis) -> Self {
        Self {
            region: region.into(),
            architecture,
            basis,
            compute_gb_s: 0.0,
            init_gb_s: 0.0,
            requests: 0.0,
            transitions: 0.0,
            express_requests: 0.0,
            express_gb_s: 0.0,
            puts: 0.0,
            gets: 0.0,
            stored_gb_months: 0.0,
        }
    }

    /// The cost of this usage, item by item. Items with a quantity of 0 are omitted.
    ///
    /// # Errors
    /// `prices` has no price for an item that was used.
    pub fn bill(&self, prices: &Prices) -> Result<Bill, PriceError> {
        use Item::{
            ExpressCompute, ExpressRequest, LambdaCompute, LambdaRequest, StandardTransition,
        };
        let quantities = [
            (LambdaCompute, self.compute_gb_s, "compute"),
            (LambdaCompute, self.init_gb_s, "cold starts"),
            (LambdaRequest, self.requests, "requests"),
            (StandardTransition, self.transitions, "state transitions"),
            (ExpressRequest, self.express_requests, "express executions"),
            (ExpressCompute, self.express_gb_s, "express time"),
            (Item::StorePut, self.puts, "store writes"),
            (Item::StoreGet, self.gets, "store reads"),
            (Item::StoreMonth, self.stored_gb_months, "storage"),
        ];
        let mut items = Vec::new();
        // Items with the same price fill the same tiers, one after another.
        let mut before = 0.0;
        for (item, quantity, name) in quantities {
            let architecture = (item == LambdaCompute).then_some(self.architecture);
            if architecture.is_none() {
                before = 0.0;
            }
            if quantity <= 0.0 {
                continue;
            }
            let price = prices.find(item, &self.region, architecture)?;
            items.push(BillItem {
                name: name.into(),
                quantity,
                unit: price.unit.clone(),
                usd: price.cost(before + quantity) - price.cost(before),
                basis: self.basis,
                usd_per_unit: price.tiers[0].usd,
                confidence: price.confidence,
                source: price.source.clone(),
            });
            before += quantity;
        }
        Ok(Bill {
            provider: prices.provider.clone(),
            date: prices.date.clone(),
            region: Some(self.region.clone()),
            items,
        })
    }
}

/// A cost, item by item, in USD, without free tiers, taxes and discounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bill {
    /// The provider of the prices.
    pub provider: String,
    /// Date of the prices, such as `2026-11-24`.
    pub date: String,
    /// Region of the prices, if they depend on one.
    pub region: Option<String>,
    /// The items.
    pub items: Vec<BillItem>,
}

impl Bill {
    /// The bill of something that costs nothing.
    pub fn free(provider: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            date: "as given".into(),
            region: None,
            items: Vec::new(),
        }
    }

    /// The total in USD.
    pub fn usd(&self) -> f64 {
        // An empty sum is -0.0.
        self.items.iter().map(|item| item.usd).sum::<f64>() + 0.0
    }

    /// Basis of the total: the weakest basis of its items.
    pub fn basis(&self) -> Basis {
        let bases = self.items.iter().map(|item| item.basis);
        bases.max().unwrap_or(Basis::Measured)
    }
}

/// An item of a bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BillItem {
    /// Name of the item.
    pub name: String,
    /// The quantity.
    pub quantity: f64,
    /// Unit of the quantity.
    pub unit: String,
    /// Cost of the item.
    pub usd: f64,
    /// Basis of the quantity.
    pub basis: Basis,
    /// Price per unit, of the first tier if there are several.
    pub usd_per_unit: f64,
    /// Confidence in the price.
    #[serde(rename = "sure")]
    pub confidence: Confidence,
    /// Source of the price.
    pub source: String,
}

#[cfg(test)]
mod tests;
