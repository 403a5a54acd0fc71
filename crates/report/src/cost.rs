//! The cost of a run, item by item.

use serde::Serialize;
use shoal_estimate::{Basis, Bill};

use crate::numbers;
use crate::page::Table;

/// What a run cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// The total.
    pub usd: f64,
    /// For a million records at that rate; `None` where no record was processed.
    pub usd_per_million_records: Option<f64>,
    /// The basis of the total.
    pub basis: Basis,
    /// Item by item.
    pub bill: Bill,
}

impl Cost {
    pub(crate) fn of(bill: Bill, records: u64) -> Self {
        let usd = bill.usd();
        Self {
            usd,
            usd_per_million_records: (records > 0).then(|| usd / records as f64 * 1e6),
            basis: bill.basis(),
            bill,
        }
    }
}

/// A bill as a table.
pub(crate) fn bill_table(bill: &Bill) -> Table {
    let region = bill
        .region
        .as_ref()
        .map(|region| format!(" in {region}"))
        .unwrap_or_default();
    let mut table = Table::new(
        format!("Prices of {}{region} on {}", bill.provider, bill.date),
        &[
            "Item",
            "#Quantity",
            "Unit",
            "#Unit price",
            "#Cost",
            "Basis",
            "Confidence",
            "Source",
        ],
    );
    for item in &bill.items {
        table.push([
            item.name.clone(),
            numbers::number(item.quantity),
            item.unit.clone(),
            numbers::usd(item.usd_per_unit),
            numbers::usd(item.usd),
            item.basis.to_string(),
            item.confidence.to_string(),
            item.source.trim_start_matches("https://").to_owned(),
        ]);
    }
    let mut total = vec![String::new(); table.columns.len()];
    total[0] = "total".into();
    total[4] = numbers::usd(bill.usd());
    total[5] = bill.basis().to_string();
    table.total = Some(total);
    table
}
