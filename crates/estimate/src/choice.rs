//! Chooses among candidate configurations for a job.

use serde::Serialize;

use crate::{Architecture, Basis, Bill};

/// Candidates whose cost is at most this multiple of the lowest count as equally cheap.
const EQUAL_COST: f64 = 1.02;

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
    /// The cost.
    pub bill: Bill,
    /// Basis of time and cost.
    pub basis: Basis,
    /// Platform limits that the candidate exceeds. If there are any, it is never chosen.
    pub broken: Vec<String>,
}

impl Estimate {
    /// The cost in USD.
    pub fn usd(&self) -> f64 {
        self.bill.usd()
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
    /// The reason, or what rules out every estimate, as a sentence without its full stop.
    pub why: String,
}

/// Indices of the Pareto-optimal estimates, by ascending time: no other estimate is at least as
/// good in both time and cost. Of equal estimates, the first is kept. Estimates that exceed a limit
/// are excluded.
///
/// # Panics
/// A time or a cost is NaN.
pub fn pareto(estimates: &[Estimate]) -> Vec<usize> {
    let mut possible: Vec<(f64, f64, usize)> = estimates
        .iter()
        .enumerate()
        .filter(|(_, estimate)| estimate.broken.is_empty())
        .map(|(index, estimate)| (estimate.seconds, estimate.usd(), index))
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

/// Chooses the best estimate under `constraints`: the fastest within a budget; otherwise the
/// cheapest, within the deadline and the budget if they are set. Estimates that cost at most 2 %
/// more than the cheapest count as equally cheap, and the fastest of them is chosen.
///
/// # Panics
/// A time or a cost is NaN.
pub fn choose(estimates: &[Estimate], constraints: Constraints) -> Choice {
    let mut possible: Vec<&Estimate> = estimates.iter().collect();
    possible.retain(|estimate| estimate.broken.is_empty());
    let Constraints {
        deadline_seconds: deadline,
        max_usd,
    } = constraints;
    let mut feasible = possible.clone();
    feasible.retain(|estimate| {
        deadline.is_none_or(|most| estimate.seconds <= most)
            && max_usd.is_none_or(|most| estimate.usd() <= most)
    });
    let why = match (deadline, max_usd) {
        (None, Some(_)) => "the fastest within the budget",
        (limit, budget) => {
            let least = feasible.iter().map(|estimate| estimate.usd());
            let most = least.fold(f64::INFINITY, f64::min) * EQUAL_COST;
            feasible.retain(|estimate| estimate.usd() <= most);
            match (limit, budget, feasible.len()) {
                (None, _, 1) => "the cheapest",
                (None, ..) => "the fastest of the cheapest (within 2 % of the lowest cost)",
                (Some(_), None, _) => {
                    "the cheapest within the deadline (of equal cost, the fastest)"
                }
                (Some(_), Some(_), _) => {
                    "the cheapest within the deadline and the budget (of equal cost, the fastest)"
                }
            }
        }
    };
    let Some(chosen) = fastest(&feasible) else {
        return Choice {
            index: None,
            why: nothing_fits(estimates, &possible, constraints),
        };
    };
    Choice {
        index: estimates.iter().position(|one| std::ptr::eq(one, chosen)),
        why: why.into(),
    }
}

/// The fastest; ties go to the cheapest, then to the lowest concurrency.
fn fastest<'a>(of: &[&'a Estimate]) -> Option<&'a Estimate> {
    let key = |estimate: &Estimate| (estimate.seconds, estimate.usd(), estimate.concurrency);
    of.iter().copied().min_by(|one, other| {
        let order = key(one).partial_cmp(&key(other));
        order.expect("times and costs are not NaN")
    })
}

/// What rules out every estimate.
fn nothing_fits(all: &[Estimate], possible: &[&Estimate], constraints: Constraints) -> String {
    let cheapest = possible
        .iter()
        .min_by(|one, other| one.usd().total_cmp(&other.usd()));
    let (Some(fastest), Some(cheapest)) = (fastest(possible), cheapest) else {
        let limit = all.iter().find_map(|estimate| estimate.broken.first());
        return match limit {
            Some(limit) => {
                format!("every candidate exceeds a limit of its platform, such as: {limit}")
            }
            None => "there is no candidate".into(),
        };
    };
    let describe = |estimate: &Estimate| {
        let (time, cost) = (seconds(estimate.seconds), usd(estimate.usd()));
        format!("{time} for {cost} ({})", estimate.place)
    };
    let (fastest, cheapest) = (describe(fastest), describe(cheapest));
    let limits = (constraints.deadline_seconds, constraints.max_usd);
    match limits {
        (Some(deadline), None) => format!(
            "no candidate finishes within {}; the fastest takes {fastest}",
            seconds(deadline)
        ),
        (None, Some(most)) => format!(
            "no candidate costs at most {}; the cheapest takes {cheapest}",
            usd(most)
        ),
        _ => format!(
            "no candidate meets both limits, {} and {}; the fastest takes {fastest}, the cheapest {cheapest}",
            seconds(constraints.deadline_seconds.unwrap_or(f64::INFINITY)),
            usd(constraints.max_usd.unwrap_or(f64::INFINITY)),
        ),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        ..0.1 => format!("{:.0} ms", seconds * 1e3),
        0.1..120.0 => format!("{seconds:.1} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

/// Cents, or three significant digits of less than a dollar.
fn usd(usd: f64) -> String {
    if usd <= 0.0 || usd >= 1.0 {
        return format!("${usd:.2}");
    }
    let places = (2.0 - usd.log10().floor()).clamp(2.0, 15.0) as usize;
    format!("${usd:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BillItem, Confidence};

    fn estimate(seconds: f64, usd: f64) -> Estimate {
        let item = BillItem {
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
            bill: Bill {
                provider: "aws".into(),
                date: "2026-11-24".into(),
                region: None,
                items: vec![item],
            },
            basis: Basis::Predicted,
            broken: Vec::new(),
        }
    }

    fn candidates() -> Vec<Estimate> {
        let broken = Estimate {
            broken: vec!["too much".into()],
            ..estimate(0.1, 0.1)
        };
        vec![
            estimate(100.0, 1.00),
            estimate(10.0, 1.02), // equally cheap, and faster
            estimate(9.0, 1.03),
            estimate(5.0, 2.00),
            estimate(6.0, 3.00), // slower and more expensive than the previous one
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
        assert_eq!(pareto(&candidates()), [3, 2, 1, 0]);
        assert_eq!(pareto(&[estimate(1.0, 1.0), estimate(1.0, 1.0)]), [0]);
    }

    #[test]
    fn each_constraint_leads_to_its_choice() {
        let candidates = candidates();
        let chosen = |deadline, usd| choose(&candidates, constraints(deadline, usd)).index;
        assert_eq!(chosen(None, None), Some(1));
        assert_eq!(chosen(Some(50.0), None), Some(2));
        assert_eq!(chosen(Some(200.0), None), Some(1));
        assert_eq!(chosen(Some(7.0), None), Some(3));
        assert_eq!(chosen(None, Some(1.5)), Some(2));
        assert_eq!(chosen(None, Some(10.0)), Some(3));
        assert_eq!(chosen(Some(20.0), Some(1.5)), Some(2));
        assert_eq!(chosen(Some(20.0), Some(1.02)), Some(1));
    }

    #[test]
    fn what_costs_nothing_wins_unless_it_is_too_slow() {
        let free = Estimate {
            place: "local".into(),
            ..estimate(60.0, 0.0)
        };
        let slower = Estimate {
            batch_size: 100,
            ..estimate(61.0, 0.0)
        };
        let candidates = [slower, free, estimate(2.0, 0.0001)];
        let chosen = |deadline| choose(&candidates, constraints(deadline, None)).index;
        assert_eq!(chosen(None), Some(1));
        assert_eq!(chosen(Some(30.0)), Some(2));
    }

    #[test]
    fn if_nothing_fits_the_reason_names_what_limits() {
        let candidates = candidates();
        let why = |deadline, usd| {
            let choice = choose(&candidates, constraints(deadline, usd));
            assert_eq!(choice.index, None);
            choice.why
        };
        assert_eq!(
            why(Some(1.0), None),
            "no candidate finishes within 1.0 s; the fastest takes 5.0 s for $2.00 (lambda)"
        );
        assert_eq!(
            why(None, Some(0.005)),
            "no candidate costs at most $0.00500; the cheapest takes 100.0 s for $1.00 (lambda)"
        );
        assert_eq!(
            why(Some(6.0), Some(1.5)),
            "no candidate meets both limits, 6.0 s and $1.50; the fastest takes 5.0 s for $2.00 (lambda), the \
             cheapest 100.0 s for $1.00 (lambda)"
        );
        let broken = choose(&candidates[5..], Constraints::default());
        assert_eq!(
            broken.why,
            "every candidate exceeds a limit of its platform, such as: too much"
        );
        assert_eq!(choose(&[], Constraints::default()).index, None);
    }
}
