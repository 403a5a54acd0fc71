//! When functions are the dearer way.

use serde::Serialize;
use shoal_plan::{Choice, Estimate, Workload};

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
