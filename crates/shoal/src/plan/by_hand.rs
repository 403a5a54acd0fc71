//! Plans of five jobs, computed by hand from the public prices of us-east-1.
//!
//! A record has 100 tokens and 1,000 bytes and takes 10 ms on one core; two cores that work take 1.25 times as long. A
//! function of 1,769 MB has one vCPU, one of 1,024 MB takes 1,769 / 1,024 times as long. A cold start takes 0.25 s that are not
//! billed and 0.25 s that are; a direct call takes 0.02 s and, one after another, 0.13 ms of the client.
//!
//! | price | USD |
//! |---|---|
//! | GB-second of Lambda, x86_64 | 0.0000166667 |
//! | request of Lambda | 0.0000002 |
//! | write (2 per batch: part, receipt) and read (4 per batch) of S3 | 0.000005, 0.0000004 |
//! | GB-month of S3 (1,000 bytes of input and 40 of output per record) | 0.023 |
//! | state transition (4 per Standard child) | 0.000025 |
//! | execution and GB-second (of 64 MB, in steps of 0.1 s: half a step more) of an Express child | 0.000001, 0.00001667 |

use shoal_estimate::simulate::ColdStart;
use shoal_estimate::{
    Architecture, Calibration, Constraints, Contention, Estimate, Point, Prices, Workload, choose,
};

use super::candidates::{Candidate, PlanContext};
use crate::Machine;
use crate::platform::{Children, Platform};

fn calibration() -> Calibration {
    let contention = |functions, slowdown| Contention {
        functions,
        slowdown,
    };
    Calibration {
        version: Calibration::VERSION,
        shoal: crate::VERSION.into(),
        model: "bundled".into(),
        fingerprint: String::new(),
        precision: shoal_encoder::Precision::Int8,
        isa: shoal_encoder::Target::Avx2,
        architecture: Architecture::X86,
        machine: "a CPU".into(),
        unix_seconds: 0,
        points: vec![Point {
            tokens: 100,
            seconds: 0.01,
        }],
        ratio: 1.0,
        records: 100,
        spread: 0.0,
        invocation_seconds: 0.0,
        // Of this machine: no cold start of Lambda depends on it.
        init_seconds: 7.0,
        memory_bytes: 100 << 20,
        side_by_side: vec![contention(1, 1.0), contention(2, 1.25)],
        platform: None,
    }
}

/// A candidate with its time and cost by hand.
struct ByHand {
    platform: Platform,
    batch_size: u64,
    concurrency: u64,
    memory_mb: u32,
    seconds: f64,
    usd: f64,
}

fn by_hand(
    platform: Platform,
    (batch_size, concurrency, memory_mb): (u64, u64, u32),
    (seconds, usd): (f64, f64),
) -> ByHand {
    ByHand {
        platform,
        batch_size,
        concurrency,
        memory_mb,
        seconds,
        usd,
    }
}

/// Checks all candidates of a job of `records` records, and returns their estimates.
fn check(records: u64, this_machine: Option<&Machine>, candidates: &[ByHand]) -> Vec<Estimate> {
    let workload = Workload {
        records,
        lengths: vec![100; records as usize],
        read: records,
        bytes: 1_000 * records,
        ..Workload::default()
    };
    let (calibration, prices) = (calibration(), Prices::aws());
    let context = PlanContext {
        workload: &workload,
        group: 50,
        calibration: &calibration,
        prices: &prices,
        region: "us-east-1",
        quota: 1_000,
        this_machine,
        cold: ColdStart::LAMBDA,
    };
    let estimates = candidates.iter().map(|by_hand| {
        let candidate = Candidate {
            platform: by_hand.platform.clone(),
            batch_size: by_hand.batch_size,
            concurrency: by_hand.concurrency,
            memory_mb: by_hand.memory_mb,
        };
        let estimate = context.estimate(&candidate).unwrap();
        let (seconds, usd) = (estimate.seconds, estimate.usd());
        assert!(
            (seconds - by_hand.seconds).abs() < 1e-9 * seconds.max(1.0),
            "{candidate:?}: {seconds} s"
        );
        assert!(
            (usd - by_hand.usd).abs() < 1e-9,
            "{candidate:?}: {usd} USD, {:?}",
            estimate.bill
        );
        estimate
    });
    estimates.collect()
}

const NONE: Constraints = Constraints {
    deadline_seconds: None,
    max_usd: None,
};

fn within(seconds: f64) -> Constraints {
    Constraints {
        deadline_seconds: Some(seconds),
        ..NONE
    }
}

/// 200 records in 2 batches of 100: 1.25 s here, for nothing. On Lambda, the second call ends after
/// 2 × 0.00013 + 0.02 + 0.5 + 1 = 1.52026 s. Its cost:
///
/// | compute, with cold starts | 2 × 1.25 s × 1769/1024 GB | 0.000071981 |
/// | requests, writes, reads | 2, 4, 8 | 0.0000004 + 0.00002 + 0.0000032 |
/// | storage | 0.000208 GB | 0.000004784 |
#[test]
fn a_small_job_stays_on_this_machine() {
    let estimates = check(
        200,
        None,
        &[
            by_hand(Platform::Lambda, (100, 2, 1_769), (1.52026, 0.000_100_365)),
            by_hand(Platform::Local, (100, 2, 1_769), (1.25, 0.0)),
        ],
    );
    assert_eq!(choose(&estimates, NONE).index, Some(1));
}

/// 100,000 records. Here 100,000 × 0.01 × 1.25 / 2 = 625 s. On Lambda at 1,024 MB, in 1,000 batches of 100, each 1.727539 s:
/// 1,000 × 0.00013 + 0.02 + 0.5 + 1.727539 = 2.377539 s. One batch of all takes 1,000 s of the 900 that a call has: the first
/// call does 900 s, a second one the rest, on the same environment, which makes 1,000 + 0.5 + 2 × (0.02 + 0.00013) s.
///
/// | compute | 1,000 × 1.978 s (whole ms) × 1 GB | 0.032966733 | 1,000.25 s × 1769/1024 GB | 0.028799573 |
/// | requests, writes, reads | 1,000, 2,000, 4,000 | 0.0002 + 0.01 + 0.0016 | 2, 4, 8 | 0.0000236 |
/// | storage | 0.104 GB | 0.002392 | 0.104 GB | 0.002392 |
#[test]
fn a_deadline_moves_a_job_to_lambda() {
    let estimates = check(
        100_000,
        None,
        &[
            by_hand(Platform::Local, (100, 2, 1_769), (625.0, 0.0)),
            by_hand(
                Platform::Lambda,
                (100, 1_000, 1_024),
                (2.377_539_062_5, 0.047_158_733),
            ),
            by_hand(
                Platform::Lambda,
                (100_000, 1, 1_769),
                (1_000.540_26, 0.031_215_173),
            ),
        ],
    );
    assert_eq!(choose(&estimates, NONE).index, Some(0));
    assert_eq!(choose(&estimates, within(60.0)).index, Some(1));
    assert_eq!(
        estimates[2].broken,
        ["a batch takes 1000 s, Lambda allows 900 s"]
    );
    let none = choose(&estimates[..2], within(2.0));
    assert_eq!(
        none.why,
        "no candidate finishes within 2.0 s; the fastest takes 2.4 s for $0.0472 (lambda)"
    );
}

/// 10,000 records in 100 batches. The last Standard child starts after 99 / 100 s, the last Express child after 99 / 1,000 s;
/// each takes 0.1 + 0.5 + 1 = 1.6 s.
///
/// | compute | 100 × 1.25 s × 1769/1024 GB | 0.003599047 |
/// | requests, writes, reads | 100, 200, 400 | 0.00002 + 0.001 + 0.00016 |
/// | storage | 0.0104 GB | 0.0002392 |
/// | Standard | 400 transitions | 0.01 |
/// | Express | 100 executions, 100 × 1.65 s × 0.0625 GB | 0.0001 + 0.000171909 |
#[test]
fn children_of_a_map_cost_transitions_or_time() {
    let estimates = check(
        10_000,
        None,
        &[
            by_hand(
                Platform::StepFunctions(Children::Standard),
                (100, 100, 1_769),
                (2.59, 0.015_018_247),
            ),
            by_hand(
                Platform::StepFunctions(Children::Express),
                (100, 100, 1_769),
                (1.699, 0.005_290_156),
            ),
        ],
    );
    assert_eq!(choose(&estimates, NONE).index, Some(1));
}

/// 1,000,000 records on 8 rented vCPUs at 0.36 USD per hour: 60 + 1,000,000 × 0.01 × 1.25 / 8 = 1,622.5 s, so 0.16225 USD.
/// Here, at the same price for 2, 6,250 s and 0.625 USD.
#[test]
fn a_rented_machine_is_paid_for_while_it_boots() {
    let machine: Machine = "spot=0.36:8".parse().unwrap();
    let here: Machine = "local=0.36:2".parse().unwrap();
    let estimates = check(
        1_000_000,
        Some(&here),
        &[
            by_hand(
                Platform::Machine(machine),
                (100, 8, 1_769),
                (1_622.5, 0.162_25),
            ),
            by_hand(Platform::Local, (100, 2, 1_769), (6_250.0, 0.625)),
        ],
    );
    assert_eq!(choose(&estimates, NONE).index, Some(0));
}

/// 1,000 records in 10 batches on 10 functions or on 5. With 10, all calls are cold and the last one ends after
/// 10 × 0.00013 + 0.02 + 0.5 + 1 = 1.5213 s. With 5, each environment does two batches: the fifth cold call ends after
/// 5 × 0.00013 + 1.52 = 1.52065 s, and its second call after 0.00013 + 0.02 + 1 s more: 2.54078 s.
///
/// | compute | (10 × 0.25 + 10) s × 1769/1024 GB | 0.000359905 | (5 × 0.25 + 10) s | 0.000323914 |
/// | requests, writes, reads | 10, 20, 40 | 0.000118 | the same | 0.000118 |
/// | storage | 0.00104 GB | 0.00002392 | the same | 0.00002392 |
///
/// 0.000501825 USD are 7.7 % more than 0.000465834, so the cheaper one is chosen; a budget buys the faster one.
#[test]
fn more_functions_cost_more_cold_starts() {
    let estimates = check(
        1_000,
        None,
        &[
            by_hand(Platform::Lambda, (100, 10, 1_769), (1.5213, 0.000_501_825)),
            by_hand(Platform::Lambda, (100, 5, 1_769), (2.540_78, 0.000_465_834)),
        ],
    );
    assert_eq!(choose(&estimates, NONE).index, Some(1));
    let budget = Constraints {
        max_usd: Some(0.001),
        ..NONE
    };
    assert_eq!(choose(&estimates, budget).index, Some(0));
}
