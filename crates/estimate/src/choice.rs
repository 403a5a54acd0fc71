//! Chooses among candidate configurations for a job.

use serde::Serialize;

use crate::{Architecture, Basis, Bill};

/// Without constraints, the fastest candidate whose cost is at most this multiple of the lowest is
/// chosen.
const MAX_COST_RATIO: f64 = 1.10;

/// A candidate configuration for a job, and its predicted time and cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The platform: `lambda`, `step-functions express`, `local`, or the name of a machine.
    pub place: String,
    /// Records per batch.
    pub batch_size: u64,
    /// Number of batches.
    pub batches: u64,
    /// Maximum number of concurrent functions.
    pub concurrency: u64,
    /// Memory of a function in MB, on platforms that allocate CPU by memory.
    pub memory_mb: Option<u32>,
    /// CPU architecture.
    pub architecture: Architecture,
    /// Time from the first call to the last response, in seconds.
    pub seconds: f64,
    /// Total function time in seconds; billed time on platforms that bill it.
    pub function_seconds: f64,
    /// Time of the longest batch, in seconds.
    pub longest_batch_seconds: f64,
    /// Peak number of concurrent functions.
    pub peak_concurrency: u64,
    /// Number of first invocations of an environment.
    pub cold_starts: u64,
    /// The cost; `None` if there is no price.
    pub bill: Option<Bill>,
    /// Basis of time and cost.
    pub basis: Basis,
    /// Platform limits that the candidate exceeds. If there are any, it is never chosen.
    pub broken: Vec<String>,
}

impl Estimate {
    /// The cost in USD.
    pub fn usd(&self) -> Option<f64> {
        self.bill.as_ref().map(Bill::usd)
    }
}

/// The user's constraints on a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Constraints {
    /// Maximum time in seconds.
    pub deadline_seconds: Option<f64>,
    /// Maximum cost in USD.
    pub max_usd: Option<f64>,
}

/// The chosen candidate, and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// Index of the chosen estimate; `None` if none meets the constraints.
    pub index: Option<usize>,
    /// The reason, as a sentence without its full stop.
    pub why: String,
}

/// Indices of the Pareto-optimal estimates, by ascending time: no other estimate is at least as
/// good in both time and cost. Of equal estimates, the first is kept. Estimates that exceed a limit
/// or have no price are excluded.
///
/// # Panics
/// A time or a cost is NaN.
pub fn pareto(estimates: &[Estimate]) -> Vec<usize> {
    let mut possible: Vec<(f64, f64, usize)> = estimates
        .iter()
        .enumerate()
        .filter(|(_, estimate)| estimate.broken.is_empty())
        .filter_map(|(index, estimate)| Some((estimate.seconds, estimate.usd()?, index)))
        .collect();
    possible.sort_by(|one, other| one.partial_cmp(other).expect("times and costs are not NaN"));
    let mut front: Vec<usize> = Vec::new();
    let mut cheapest = f64::INFINITY;
    for (_, usd, index) in possible {
        if usd < cheapest {
            cheapest = usd;
            front.push(index);
        }
    }
    front
}

/// Chooses the best estimate under `constraints`: the cheapest that meets a deadline, the fastest
/// within a budget, or the cheapest that meets both. Without constraints it is the fastest of those
/// that cost at most 10 % more than the cheapest. Estimates without a price are chosen by time, and
/// only if no estimate has a price.
///
/// # Panics
/// A time or a cost is NaN.
pub fn choose(estimates: &[Estimate], constraints: Constraints) -> Choice {
    let choice = |index, why: &str| Choice {
        index,
        why: why.into(),
    };
    let mut possible: Vec<usize> = (0..estimates.len()).collect();
    possible.retain(|&index| estimates[index].broken.is_empty());
    if possible.is_empty() {
        return choice(None, "every candidate exceeds a limit of its platform");
    }
    let has_price = |&index: &usize| estimates[index].usd().is_some();
    let is_priced = possible.iter().any(has_price);
    if is_priced {
        possible.retain(has_price);
    } else if constraints.max_usd.is_some() {
        return choice(
            None,
            "no candidate has a price; specify the price of this machine",
        );
    }
    let time = |index: usize| estimates[index].seconds;
    let usd = |index: usize| estimates[index].usd().unwrap_or_default();
    let least = |of: &[usize], key: &dyn Fn(usize) -> (f64, f64, u64)| {
        let compare = |one: &usize, other: &usize| key(*one).partial_cmp(&key(*other));
        let least = of
            .iter()
            .copied()
            .min_by(|one, other| compare(one, other).expect("times and costs are not NaN"));
        least.expect("there is a candidate")
    };
    // Ties go to the cheapest, then to the lowest concurrency.
    let fastest = |of: &[usize]| {
        least(of, &|index| {
            (time(index), usd(index), estimates[index].concurrency)
        })
    };
    let cheapest = |of: &[usize]| least(of, &|index| (usd(index), time(index), 0));
    let (deadline, max_usd) = (constraints.deadline_seconds, constraints.max_usd);
    let mut feasible = possible.clone();
    feasible.retain(|&index| {
        deadline.is_none_or(|deadline| time(index) <= deadline)
            && max_usd.is_none_or(|most| usd(index) <= most)
    });
    if feasible.is_empty() {
        let (fast, cheap) = (fastest(&possible), cheapest(&possible));
        let fastest_takes = format!("the fastest candidate takes {}", seconds(time(fast)));
        let both = format!(
            "no candidate meets the constraints: the fastest takes {} for ${:.4}, the cheapest {} for ${:.4}",
            seconds(time(fast)),
            usd(fast),
            seconds(time(cheap)),
            usd(cheap),
        );
        return choice(None, if is_priced { &both } else { &fastest_takes });
    }
    let (index, why) = match (deadline, max_usd) {
        _ if !is_priced => (fastest(&feasible), "the fastest; no candidate has a price"),
        (Some(_), Some(_)) => (
            cheapest(&feasible),
            "the cheapest within the deadline and the budget",
        ),
        (Some(_), None) => (cheapest(&feasible), "the cheapest within the deadline"),
        (None, Some(_)) => (fastest(&feasible), "the fastest within the budget"),
        (None, None) => {
            let most = usd(cheapest(&feasible)) * MAX_COST_RATIO;
            feasible.retain(|&index| usd(index) <= most);
            (
                fastest(&feasible),
                "the fastest of those that cost at most 10 % more than the cheapest",
            )
        }
    };
    choice(Some(index), why)
}

fn seconds(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BillItem, Confidence};

    fn estimate(seconds: f64, usd: Option<f64>) -> Estimate {
        let item = |usd| BillItem {
            name: "compute".into(),
            quantity: 1.0,
            unit: "GB-s".into(),
            usd,
            basis: Basis::Predicted,
            usd_per_unit: usd,
            confidence: Confidence::Documented,
            source: "here".into(),
        };
        Estimate {
            place: "lambda".into(),
            batch_size: 50,
            batches: 10,
            concurrency: 10,
            memory_mb: Some(1769),
            architecture: Architecture::X86,
            seconds,
            function_seconds: seconds,
            longest_batch_seconds: 1.0,
            peak_concurrency: 10,
            cold_starts: 10,
            bill: usd.map(|usd| Bill {
                provider: "aws".into(),
                date: "2026-11-24".into(),
                region: None,
                items: vec![item(usd)],
            }),
            basis: Basis::Predicted,
            broken: Vec::new(),
        }
    }

    fn candidates() -> Vec<Estimate> {
        let broken = Estimate {
            broken: vec!["too much".into()],
            ..estimate(0.1, Some(0.1))
        };
        vec![
            estimate(100.0, Some(1.00)),
            estimate(10.0, Some(1.05)),
            estimate(5.0, Some(2.00)),
            estimate(6.0, Some(3.00)), // slower and more expensive than the previous one
            estimate(1.0, None),
            broken,
        ]
    }

    fn constraints(deadline_seconds: Option<f64>, max_usd: Option<f64>) -> Constraints {
        Constraints {
            deadline_seconds,
            max_usd,
        }
    }

    #[test]
    fn the_pareto_front_excludes_dominated_estimates() {
        assert_eq!(pareto(&candidates()), [2, 1, 0]);
        assert!(pareto(&[estimate(1.0, None)]).is_empty());
        assert_eq!(
            pareto(&[estimate(1.0, Some(1.0)), estimate(1.0, Some(1.0))]),
            [0]
        );
    }

    #[test]
    fn each_constraint_leads_to_its_choice() {
        let candidates = candidates();
        let chosen = |deadline, usd| choose(&candidates, constraints(deadline, usd)).index;
        assert_eq!(chosen(None, None), Some(1));
        assert_eq!(chosen(Some(50.0), None), Some(1));
        assert_eq!(chosen(Some(200.0), None), Some(0));
        assert_eq!(chosen(Some(7.0), None), Some(2));
        assert_eq!(chosen(None, Some(1.5)), Some(1));
        assert_eq!(chosen(None, Some(10.0)), Some(2));
        assert_eq!(chosen(Some(20.0), Some(1.5)), Some(1));
        assert_eq!(chosen(Some(6.0), Some(1.5)), None);
        let why = choose(&candidates, constraints(Some(1.0), Some(0.5))).why;
        assert!(
            why.contains("5.0 s for $2.0000") && why.contains("100.0 s for $1.0000"),
            "{why}"
        );
    }

    #[test]
    fn estimates_without_a_price_are_chosen_by_time() {
        let candidates = [estimate(3.0, None), estimate(2.0, None)];
        assert_eq!(choose(&candidates, Constraints::default()).index, Some(1));
        assert_eq!(
            choose(&candidates, constraints(Some(1.0), None)).index,
            None
        );
        assert_eq!(
            choose(&candidates, constraints(None, Some(1.0))).index,
            None
        );
        assert_eq!(choose(&[], Constraints::default()).index, None);
    }
}
