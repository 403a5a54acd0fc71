//! The number of records from which on a machine is cheaper than functions.

use shoal_estimate::{BreakEven, Choice, Estimate};

use crate::Machine;
use crate::machine::BOOT_SECONDS;

/// Compares each machine with the chosen functions, or with the cheapest ones if none were chosen.
pub(super) fn all(
    machines: &[Machine],
    estimates: &[Estimate],
    choice: &Choice,
    records: u64,
) -> Vec<BreakEven> {
    let cheapest = |is_wanted: &dyn Fn(&Estimate) -> bool| {
        let possible = estimates
            .iter()
            .filter(|estimate| estimate.broken.is_empty() && is_wanted(estimate));
        possible.min_by(|one, other| one.usd().total_cmp(&other.usd()))
    };
    let is_function = |estimate: &Estimate| estimate.memory_mb.is_some();
    let chosen = choice.index.map(|index| &estimates[index]);
    let chosen = chosen.filter(|estimate| is_function(estimate));
    let Some(functions) = chosen.or_else(|| cheapest(&is_function)) else {
        return Vec::new();
    };
    // Both costs are proportional to the records, except for the machine's start: `b + n m` and `n f` are equal at
    // `n = b / (f - m)`.
    let of = |machine: &Machine| {
        let own = cheapest(&|estimate| estimate.place == machine.name && !is_function(estimate))?;
        let machine_usd = own.usd();
        let functions_usd = functions.usd();
        let boot = machine.usd_per_hour * BOOT_SECONDS / 3600.0;
        let saved = (functions_usd - (machine_usd - boot)) / records as f64;
        Some(BreakEven {
            machine: machine.name.clone(),
            machine_usd,
            machine_seconds: own.seconds,
            functions_usd,
            functions_seconds: functions.seconds,
            cheaper_from_records: (saved > 0.0).then_some(boot / saved),
        })
    };
    machines.iter().filter_map(of).collect()
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
            bill: Bill {
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
            },
            basis: Basis::Predicted,
            broken: Vec::new(),
        }
    }

    /// The machine costs 0.60 USD per hour, so its start costs 0.01. 1,000 records cost 0.03 there, 0.02 without the start, and
    /// 0.06 with functions: 0.01 + n 0.00002 = n 0.00006 at n = 250.
    #[test]
    fn costs_are_equal_at_the_break_even_point() {
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
        let machine = std::slice::from_ref(&machine);
        let found = all(machine, &estimates, &choice, 1_000);
        let from = found[0].cheaper_from_records.unwrap();
        assert!((from - 250.0).abs() < 1e-6, "{from}");
        let expensive = [estimate("m", 180.0, 0.30, None), estimates[1].clone()];
        let found = all(machine, &expensive, &choice, 1_000);
        assert_eq!(found[0].cheaper_from_records, None);
    }
}
