//! Which of many ways to run a job.

use serde::Serialize;

use crate::{Architecture, Basis, Bill};

/// What a way may cost above the cheapest one to be chosen for its speed, where nobody asked for anything.
const NEARLY_AS_CHEAP: f64 = 1.10;

/// One way to run a job, and what it comes to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Where: `lambda`, `step-functions express`, `local`, the name of a machine.
    pub place: String,
    /// Records in a batch.
    pub batch_size: u64,
    /// Batches.
    pub batches: u64,
    /// Functions at a time, at most.
    pub concurrency: u64,
    /// Memory of a function, where the platform gives CPU by memory.
    pub memory_mb: Option<u32>,
    /// Of the CPU.
    pub architecture: Architecture,
    /// From the first call to the last answer.
    pub seconds: f64,
    /// Seconds of functions at work, summed; as billed where a platform bills.
    pub function_seconds: f64,
    /// Seconds of the longest batch.
    pub longest_batch_seconds: f64,
    /// The most functions at work at a time.
    pub peak_concurrency: u64,
    /// First invocations of an environment.
    pub cold_starts: u64,
    /// What it costs; `None` where it has no price.
    pub bill: Option<Bill>,
    /// What time and cost are worth.
    pub basis: Basis,
    /// Limits of the platform that it breaks; it cannot be chosen then.
    pub broken: Vec<String>,
}

impl Estimate {
    /// What it costs in USD.
    pub fn usd(&self) -> Option<f64> {
        self.bill.as_ref().map(Bill::usd)
    }
}

/// What is asked of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Constraints {
    /// The most seconds.
    pub deadline_seconds: Option<f64>,
    /// The most USD.
    pub max_usd: Option<f64>,
}

/// What to do, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The estimate's index; `None` where none is as was asked.
    pub index: Option<usize>,
    /// The reason, as a sentence without its stop.
    pub why: String,
}

/// The estimates that no other one beats in time without being dearer, or in cost without being slower, by ascending time.
/// Those that break a limit or have no price are none of them.
pub fn pareto(estimates: &[Estimate]) -> Vec<usize> {
    let mut possible: Vec<(f64, f64, usize)> = estimates
        .iter()
        .enumerate()
        .filter(|(_, estimate)| estimate.broken.is_empty())
        .filter_map(|(index, estimate)| Some((estimate.seconds, estimate.usd()?, index)))
        .collect();
    possible.sort_by(|one, other| one.partial_cmp(other).expect("times and costs are numbers"));
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

/// The estimate that does best what `wish` asks: the cheapest within a deadline, the fastest within a budget, the cheapest
/// within both; and where nothing is asked, the fastest of those that cost at most a tenth more than the cheapest. What has
/// no price is chosen where nothing has one, by its time.
pub fn choose(estimates: &[Estimate], wish: Constraints) -> Choice {
    let possible: Vec<(usize, &Estimate)> = estimates
        .iter()
        .enumerate()
        .filter(|(_, estimate)| estimate.broken.is_empty())
        .collect();
    if possible.is_empty() {
        return none("every way breaks a limit of its platform");
    }
    let in_time = |estimate: &Estimate| {
        wish.deadline_seconds
            .is_none_or(|deadline| estimate.seconds <= deadline)
    };
    let priced: Vec<_> = possible
        .iter()
        .filter_map(|&(index, estimate)| Some((index, estimate, estimate.usd()?)))
        .collect();
    if priced.is_empty() {
        if wish.max_usd.is_some() {
            return none("nothing of it has a price; --machine gives one");
        }
        let fastest = fastest(possible.iter().map(|&(index, estimate)| (index, estimate)));
        let (index, estimate) = fastest.expect("one is possible");
        if !in_time(estimate) {
            return none(&format!(
                "the fastest way takes {}",
                seconds(estimate.seconds)
            ));
        }
        return Choice {
            index: Some(index),
            why: "the fastest; nothing of it has a price".into(),
        };
    }
    let within = |usd: f64| wish.max_usd.is_none_or(|most| usd <= most);
    let good: Vec<_> = priced
        .iter()
        .filter(|&&(_, estimate, usd)| in_time(estimate) && within(usd))
        .collect();
    if good.is_empty() {
        let all: Vec<_> = priced.iter().collect();
        let (_, fast) = fastest(priced.iter().map(|&(index, estimate, _)| (index, estimate)))
            .expect("one has a price");
        let (_, cheap, usd) = cheapest(&all).expect("one has a price");
        return none(&format!(
            "nothing is that quick and cheap: the fastest way takes {} for ${:.4}, the cheapest {} for ${usd:.4}",
            seconds(fast.seconds),
            fast.usd().unwrap_or_default(),
            seconds(cheap.seconds),
        ));
    }
    let (index, why) = match (wish.deadline_seconds, wish.max_usd) {
        (Some(_), max) => {
            let (index, ..) = cheapest(&good).expect("one is good");
            let also = if max.is_some() { " and the budget" } else { "" };
            (index, format!("the cheapest within the deadline{also}"))
        }
        (None, Some(_)) => {
            let (index, _) = fastest(good.iter().map(|&&(index, estimate, _)| (index, estimate)))
                .expect("one is good");
            (index, "the fastest within the budget".into())
        }
        (None, None) => {
            let (_, _, least) = cheapest(&good).expect("one is good");
            let near = good
                .iter()
                .filter(|(_, _, usd)| *usd <= least * NEARLY_AS_CHEAP);
            let (index, _) = fastest(near.map(|&&(index, estimate, _)| (index, estimate)))
                .expect("the cheapest is near itself");
            (
                index,
                "the fastest of those that cost at most 10 % more than the cheapest".into(),
            )
        }
    };
    Choice {
        index: Some(index),
        why,
    }
}

/// The cheapest, and of equally cheap ones the fastest.
fn cheapest<'a>(of: &[&(usize, &'a Estimate, f64)]) -> Option<(usize, &'a Estimate, f64)> {
    let key = |(_, estimate, usd): &(usize, &Estimate, f64)| (*usd, estimate.seconds);
    let least = of
        .iter()
        .min_by(|one, other| key(one).partial_cmp(&key(other)).expect("numbers"))?;
    Some(**least)
}

/// The fastest, and of equally fast ones the cheapest, then the one of fewer functions.
fn fastest<'a>(of: impl Iterator<Item = (usize, &'a Estimate)>) -> Option<(usize, &'a Estimate)> {
    let key = |estimate: &Estimate| {
        (
            estimate.seconds,
            estimate.usd().unwrap_or_default(),
            estimate.concurrency,
        )
    };
    of.min_by(|(_, one), (_, other)| key(one).partial_cmp(&key(other)).expect("numbers"))
}

fn none(why: &str) -> Choice {
    Choice {
        index: None,
        why: why.into(),
    }
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
    use crate::{BillItem, Sure};

    fn estimate(seconds: f64, usd: Option<f64>) -> Estimate {
        let item = |usd| BillItem {
            name: "compute".into(),
            quantity: 1.0,
            unit: "GB-s".into(),
            usd,
            basis: Basis::Predicted,
            usd_per_unit: usd,
            sure: Sure::Documented,
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
            estimate(6.0, Some(3.00)), // slower and dearer than the one before
            estimate(1.0, None),
            broken,
        ]
    }

    fn wish(deadline_seconds: Option<f64>, max_usd: Option<f64>) -> Constraints {
        Constraints {
            deadline_seconds,
            max_usd,
        }
    }

    #[test]
    fn the_front_has_what_nothing_beats() {
        assert_eq!(pareto(&candidates()), [2, 1, 0]);
        assert!(pareto(&[estimate(1.0, None)]).is_empty());
        // Of two alike one stands.
        assert_eq!(
            pareto(&[estimate(1.0, Some(1.0)), estimate(1.0, Some(1.0))]),
            [0]
        );
    }

    #[test]
    fn each_wish_has_its_choice() {
        let candidates = candidates();
        let chosen = |deadline, usd| choose(&candidates, wish(deadline, usd)).index;
        assert_eq!(chosen(None, None), Some(1));
        assert_eq!(chosen(Some(50.0), None), Some(1));
        assert_eq!(chosen(Some(200.0), None), Some(0));
        assert_eq!(chosen(Some(7.0), None), Some(2));
        assert_eq!(chosen(None, Some(1.5)), Some(1));
        assert_eq!(chosen(None, Some(10.0)), Some(2));
        assert_eq!(chosen(Some(20.0), Some(1.5)), Some(1));
        assert_eq!(chosen(Some(6.0), Some(1.5)), None);
        let why = choose(&candidates, wish(Some(1.0), Some(0.5))).why;
        assert!(
            why.contains("5.0 s for $2.0000") && why.contains("100.0 s for $1.0000"),
            "{why}"
        );
    }

    #[test]
    fn what_has_no_price_is_chosen_by_time() {
        let candidates = [estimate(3.0, None), estimate(2.0, None)];
        assert_eq!(choose(&candidates, Constraints::default()).index, Some(1));
        assert_eq!(choose(&candidates, wish(Some(1.0), None)).index, None);
        assert_eq!(choose(&candidates, wish(None, Some(1.0))).index, None);
        assert_eq!(choose(&[], Constraints::default()).index, None);
    }
}
