//! When functions are the dearer way.

use serde::Serialize;
use shoal_estimate::{Choice, Estimate, Workload};

use super::machine::{BOOT_SECONDS, Machine};

/// A machine at a price beside functions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakEven {
    /// The machine's name.
    pub machine: String,
    /// What this job costs there.
    pub machine_usd: f64,
    /// What it takes there.
    pub machine_seconds: f64,
    /// What it costs by functions.
    pub functions_usd: f64,
    /// What it takes by functions.
    pub functions_seconds: f64,
    /// Records like these from which on the machine is cheaper; `None` where it never is.
    pub cheaper_from_records: Option<f64>,
}

/// Each machine beside the functions that were chosen, or else the cheapest ones.
pub(super) fn all(
    machines: &[Machine],
    estimates: &[Estimate],
    choice: &Choice,
    workload: &Workload,
) -> Vec<BreakEven> {
    let possible = || {
        estimates
            .iter()
            .filter(|estimate| estimate.broken.is_empty())
    };
    let cheapest = |of: &mut dyn Iterator<Item = &'_ Estimate>| -> Option<Estimate> {
        of.filter(|estimate| estimate.usd().is_some())
            .min_by(|one, other| {
                one.usd()
                    .partial_cmp(&other.usd())
                    .expect("costs are numbers")
            })
            .cloned()
    };
    let chosen = choice
        .index
        .map(|index| &estimates[index])
        .filter(|estimate| estimate.memory_mb.is_some());
    let functions = chosen
        .cloned()
        .or_else(|| cheapest(&mut possible().filter(|estimate| estimate.memory_mb.is_some())));
    let Some(functions) = functions else {
        return Vec::new();
    };
    machines
        .iter()
        .filter_map(|machine| {
            let own = cheapest(&mut possible().filter(|estimate| {
                estimate.place == machine.name && estimate.memory_mb.is_none()
            }))?;
            Some(of(machine, &own, &functions, workload.records as f64))
        })
        .collect()
}

/// Both costs are taken to grow in proportion to the records, but for the machine's start: `b + n m` against `n f`, which
/// meet at `n = b / (f - m)`.
fn of(machine: &Machine, own: &Estimate, functions: &Estimate, records: f64) -> BreakEven {
    let usd = |estimate: &Estimate| estimate.usd().unwrap_or_default();
    let boot = machine.usd_per_hour * BOOT_SECONDS / 3600.0;
    let by_machine = (usd(own) - boot) / records;
    let by_functions = usd(functions) / records;
    BreakEven {
        machine: machine.name.clone(),
        machine_usd: usd(own),
        machine_seconds: own.seconds,
        functions_usd: usd(functions),
        functions_seconds: functions.seconds,
        cheaper_from_records: (by_functions > by_machine)
            .then(|| boot / (by_functions - by_machine)),
    }
}

#[cfg(test)]
mod tests {
    use shoal_estimate::{Architecture, Basis, Bill, BillItem, Confidence};

    use super::*;

    fn estimate(place: &str, seconds: f64, usd: f64, memory_mb: Option<u32>) -> Estimate {
        Estimate {
            place: place.into(),
            batch_size: 10,
            batches: 10,
            concurrency: 1,
            memory_mb,
            architecture: Architecture::X86,
            seconds,
            function_seconds: seconds,
            longest_batch_seconds: seconds,
            peak_concurrency: 1,
            cold_starts: 1,
            bill: Some(Bill {
                provider: "p".into(),
                date: "d".into(),
                region: None,
                items: vec![BillItem {
                    name: "all".into(),
                    quantity: 1.0,
                    unit: "run".into(),
                    usd,
                    basis: Basis::Predicted,
                    usd_per_unit: usd,
                    confidence: Confidence::Unverified,
                    source: "here".into(),
                }],
            }),
            basis: Basis::Predicted,
            broken: Vec::new(),
        }
    }

    /// The machine costs 0.60 USD an hour, 0.01 before it works; 1,000 records cost 0.03 there, so 0.02 by themselves, and 0.06 by
    /// functions: 0.01 + n 0.00002 = n 0.00006 at n = 250.
    #[test]
    fn where_the_costs_meet() {
        let machine: Machine = "m=0.6:2".parse().unwrap();
        let estimates = [
            estimate("m", 180.0, 0.03, None),
            estimate("lambda", 10.0, 0.06, Some(1769)),
            estimate("local", 1.0, 0.0, None),
        ];
        let choice = Choice {
            index: Some(1),
            why: String::new(),
        };
        let workload = Workload {
            records: 1_000,
            lengths: Vec::new(),
            read: 0,
            truncated: 0,
            bytes: 0,
        };
        let found = all(
            std::slice::from_ref(&machine),
            &estimates,
            &choice,
            &workload,
        );
        let from = found[0].cheaper_from_records.unwrap();
        assert!((from - 250.0).abs() < 1e-6, "{from}");
        let dear = [estimate("m", 180.0, 0.30, None), estimates[1].clone()];
        let found = all(&[machine], &dear, &choice, &workload);
        assert_eq!(found[0].cheaper_from_records, None);
    }
}
