//! The cost of a run, item by item.

use serde::Serialize;
use shoal_estimate::{Basis, Bill};

use crate::numbers::{number, usd};
use crate::page::Table;

/// What a run cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// The total.
    pub usd: f64,
    /// For a million records at that rate; `None` if no record was processed.
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
    let region = bill.region.as_ref();
    let region = region.map_or(String::new(), |region| format!(" in {region}"));
    let mut table = Table::of(
        format!("Prices of {}{region} on {}", bill.provider, bill.date),
        &bill.items,
        &[
            ("Item", |item| item.name.clone()),
            ("#Quantity", |item| number(item.quantity)),
            ("Unit", |item| item.unit.clone()),
            ("#Unit price", |item| usd(item.usd_per_unit)),
            ("#Cost", |item| usd(item.usd)),
            ("Basis", |item| item.basis.to_string()),
            ("Confidence", |item| item.confidence.to_string()),
            ("Source", |item| {
                item.source.trim_start_matches("https://").into()
            }),
        ],
    );
    let mut total = vec![String::new(); table.columns.len()];
    total[0] = "total".into();
    total[4] = usd(bill.usd());
    total[5] = bill.basis().to_string();
    table.total = Some(total);
    table
}
