//! From what is used to what is paid.

use serde::{Deserialize, Serialize};

use crate::prices::{Architecture, Item, PriceError, Prices};
use crate::{Basis, Sure};

/// What a run uses of a provider. Quantities that are 0 are not billed, and need no price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Where.
    pub region: String,
    /// Of the functions.
    pub architecture: Architecture,
    /// What the quantities are worth.
    pub basis: Basis,
    /// GB-seconds of invocations without their cold starts: memory in units of 1,024 MB times billed seconds.
    pub compute_gb_s: f64,
    /// GB-seconds of cold starts.
    pub init_gb_s: f64,
    /// Invocations, failed ones included.
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
    /// Nothing, so far.
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

    /// What this costs, item by item; what was not used is left out.
    ///
    /// # Errors
    /// `prices` has no price for something that was used.
    pub fn bill(&self, prices: &Prices) -> Result<Bill, PriceError> {
        let functions = Some(self.architecture);
        let quantities = [
            (Item::LambdaCompute, functions, self.compute_gb_s, "compute"),
            (
                Item::LambdaCompute,
                functions,
                self.init_gb_s,
                "cold starts",
            ),
            (Item::LambdaRequest, None, self.requests, "requests"),
            (
                Item::StandardTransition,
                None,
                self.transitions,
                "state transitions",
            ),
            (
                Item::ExpressRequest,
                None,
                self.express_requests,
                "express executions",
            ),
            (
                Item::ExpressCompute,
                None,
                self.express_gb_s,
                "express time",
            ),
            (Item::StorePut, None, self.puts, "store writes"),
            (Item::StoreGet, None, self.gets, "store reads"),
            (Item::StoreMonth, None, self.stored_gb_months, "storage"),
        ];
        let mut items = Vec::new();
        // Items of the same price fill its tiers one after the other.
        let mut before = 0.0;
        for (item, architecture, quantity, name) in quantities {
            if item != Item::LambdaCompute {
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
                sure: price.sure,
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

/// What is paid, item by item, in USD, without free tiers, taxes and discounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bill {
    /// Whose prices.
    pub provider: String,
    /// The day of the prices, as `2026-11-24`.
    pub date: String,
    /// The region of the prices, where there are any.
    pub region: Option<String>,
    /// The items.
    pub items: Vec<BillItem>,
}

impl Bill {
    /// Everything together, in USD.
    pub fn usd(&self) -> f64 {
        // The sum of nothing is -0.0.
        self.items.iter().map(|item| item.usd).sum::<f64>() + 0.0
    }

    /// What the total is worth.
    pub fn basis(&self) -> Basis {
        self.items
            .iter()
            .map(|item| item.basis)
            .max()
            .unwrap_or(Basis::Measured)
    }
}

/// A line of a bill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BillItem {
    /// What is paid for.
    pub name: String,
    /// How much of it.
    pub quantity: f64,
    /// In what.
    pub unit: String,
    /// What it costs.
    pub usd: f64,
    /// What the quantity is worth.
    pub basis: Basis,
    /// The price of one unit, of the first tier where there are several.
    pub usd_per_unit: f64,
    /// How sure the price is.
    pub sure: Sure,
    /// Where the price is from.
    pub source: String,
}

#[cfg(test)]
mod tests;
