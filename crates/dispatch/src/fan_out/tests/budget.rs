//! Budgets.

use proptest::prelude::*;

use super::*;
use crate::{Ledger, Shortage};

/// A budget of `max_usd` for calls that cost 0.1 USD per second and at most 0.1 USD.
fn budget(max_usd: f64) -> Option<Budget> {
    Some(Budget {
        max_usd,
        most_per_call_usd: 0.1,
        cost: Box::new(|_, elapsed| 0.1 * elapsed.as_secs_f64()),
        ledger: Ledger::default(),
    })
}

fn assert_near(is: f64, expected: f64) {
    assert!((is - expected).abs() < 1e-9, "{is} is not {expected}");
}

#[track_caller]
fn shortage(end: Result<(), DispatchError>) -> Shortage {
    match end {
        Err(DispatchError::Budget(shortage)) => shortage,
        end => panic!("{end:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn fewer_calls_are_in_flight_as_money_runs_out() {
    let started = Instant::now();
    let seen = Mutex::new(Vec::new());
    let platform = Calls(async |invocation: &Invocation| {
        seen.lock().unwrap().push(started.elapsed().as_secs());
        sleep(SECOND).await;
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 100,
        // Each call costs half of the reserved amount.
        budget: budget(1.0).map(|budget| Budget {
            cost: Box::new(|_, _| 0.05),
            ..budget
        }),
        ..Setup::default()
    };
    let (end, _) = run(&platform, &setup).await;
    let seen = seen.into_inner().unwrap();
    let at = |second| seen.iter().filter(|at| **at == second).count();
    assert_eq!([0, 1, 2, 3, 4, 5].map(at), [10, 5, 2, 1, 1, 0]);
    let shortage = shortage(end);
    assert_near(shortage.spent_usd, 0.95);
    assert_eq!((shortage.max_usd, shortage.call_usd), (1.0, 0.1));
    assert_eq!((shortage.calls, shortage.left), (1, 100 - 19));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_just_enough_is_enough() {
    for batches in [1, 3, 7, 1000] {
        let platform = Calls(async |invocation: &Invocation| {
            sleep(SECOND).await;
            Ok(receipt(invocation))
        });
        let setup = |max_usd| Setup {
            batches,
            concurrency: 10,
            budget: budget(max_usd),
            ..Setup::default()
        };
        let max_usd = batches as f64 * 0.1;
        let (end, _) = run(&platform, &setup(max_usd)).await;
        assert!(end.is_ok(), "{end:?}");
        let (end, _) = run(&platform, &setup(max_usd - 1e-6)).await;
        assert_eq!(shortage(end).left, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_budget_below_one_call_starts_nothing() {
    let platform = Calls(async |_: &Invocation| panic!("the budget covers no call"));
    let spent = |max_usd, spent_usd| Setup {
        batches: 5,
        budget: budget(max_usd).map(|budget| Budget {
            ledger: Ledger::after(spent_usd),
            ..budget
        }),
        ..Setup::default()
    };
    for (max_usd, spent_usd) in [(0.0, 0.0), (0.099, 0.0), (1.0, 0.91), (1.0, 7.0)] {
        let (end, time) = run(&platform, &spent(max_usd, spent_usd)).await;
        let shortage = shortage(end);
        assert_eq!((shortage.spent_usd, shortage.left), (spent_usd, 5));
        assert_eq!(time, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn retries_that_the_budget_does_not_cover_end_the_run_immediately() {
    let platform = Calls(async |_: &Invocation| {
        sleep(SECOND / 10).await;
        Err(failure(FailureKind::Crashed))
    });
    let setup = Setup {
        batches: 3,
        budget: budget(0.3),
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    let shortage = shortage(end);
    // A failed call counts with its maximum cost.
    assert_near(shortage.spent_usd, 0.3);
    assert_eq!(shortage.left, 3);
    assert!(time < SECOND / 10 + SECOND / 100, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn rejected_calls_cost_nothing() {
    let calls = AtomicUsize::new(0);
    let platform = Calls(async |invocation: &Invocation| {
        sleep(SECOND).await;
        match calls.fetch_add(1, Relaxed) {
            ..7 => Err(failure(FailureKind::Throttled)),
            _ => Ok(receipt(invocation)),
        }
    });
    let setup = Setup {
        batches: 5,
        budget: budget(0.5),
        ..Setup::default()
    };
    let (end, _) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");

    let platform = Calls(async |_: &Invocation| Err(failure(FailureKind::Refused)));
    let (end, _) = run(&platform, &setup).await;
    // The ledger of the first run has no money left.
    assert_eq!(shortage(end).left, 5);
    let setup = Setup {
        budget: budget(0.5),
        ..Setup::default()
    };
    let (end, _) = run(&platform, &setup).await;
    assert!(matches!(end, Err(DispatchError::Batch { .. })), "{end:?}");
    assert_eq!(setup.budget.unwrap().spent_usd(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn an_existing_receipt_costs_nothing() {
    let setup = Setup {
        // Covers the first call, and the retry that the receipt makes unnecessary.
        budget: budget(0.2),
        ..Setup::default()
    };
    let platform = Calls(async |invocation: &Invocation| {
        assert_eq!(invocation.attempt, 1, "the first attempt wrote a receipt");
        let name = RunDir::receipt_name(invocation.batch.index, 0);
        let content = serde_json::to_vec(&receipt(invocation)).unwrap();
        let run = setup.run_dir();
        let written = tokio::task::spawn_blocking(move || run.replace(&name, content)).await;
        written.unwrap().unwrap();
        Err(failure(FailureKind::Retryable))
    });
    let (end, _) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_near(setup.budget.as_ref().unwrap().committed_usd(), 0.1);
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_batch_is_paid_as_a_separate_call() {
    let platform = Calls(async |invocation: &Invocation| {
        sleep(SECOND).await;
        let Batch {
            offset, records, ..
        } = invocation.batch;
        Ok(Receipt {
            records: 1,
            remaining: records - offset - 1,
            ..receipt(invocation)
        })
    });
    let setup = Setup {
        records: 3,
        budget: budget(0.2),
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    let shortage = shortage(end);
    assert_near(shortage.spent_usd, 0.2);
    assert_eq!((shortage.left, time.as_secs()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn abandoned_calls_stay_reserved() {
    let setup = Setup {
        batches: 8,
        concurrency: 3,
        budget: budget(1.0),
        ..Setup::default()
    };
    let platform = Calls(async |_: &Invocation| {
        sleep(SECOND).await;
        setup.cancel.cancel();
        std::future::pending().await
    });
    let (end, _) = run(&platform, &setup).await;
    assert!(matches!(end, Err(DispatchError::Cancelled)), "{end:?}");
    let budget = setup.budget.as_ref().unwrap();
    assert_eq!(budget.spent_usd(), 0.0);
    assert_near(budget.committed_usd(), 0.3);
}

/// The result of a call.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It succeeds after some milliseconds.
    Done(u64),
    /// It fails after some milliseconds, which are billed.
    Fails(u64),
    Throttled,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => (0..=1000_u64).prop_map(Fate::Done),
        1 => (0..=1000_u64).prop_map(Fate::Fails),
        1 => Just(Fate::Throttled),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Neither the final bill nor the maximum possible bill at any time exceeds the limit.
    #[test]
    fn the_limit_is_never_exceeded(
        fates in prop::collection::vec(fate(), 1..50),
        batches in 1..100_u64,
        concurrency in 1..40_usize,
        max_usd in 0.0..10.0_f64,
        spent_usd in 0.0..1.0_f64,
    ) {
        let setup = Setup {
            batches,
            concurrency,
            budget: budget(max_usd).map(|budget| Budget {
                ledger: Ledger::after(spent_usd),
                ..budget
            }),
            ..Setup::default()
        };
        let budget = setup.budget.as_ref().unwrap();
        let calls = AtomicUsize::new(0);
        let billed = Mutex::new(spent_usd);
        let running = AtomicUsize::new(0);
        let check = || {
            let possible = *billed.lock().unwrap() + 0.1 * running.load(Relaxed) as f64;
            assert!(possible <= max_usd + 1e-9, "{possible} of {max_usd} may be billed");
            let committed = budget.committed_usd();
            assert!(committed <= max_usd + 1e-9, "{committed} of {max_usd} are committed");
        };
        let platform = Calls(async |invocation: &Invocation| {
            let fate = fates[calls.fetch_add(1, Relaxed) % fates.len()];
            running.fetch_add(1, Relaxed);
            check();
            let answer = match fate {
                Fate::Done(ms) => (ms, Ok(receipt(invocation))),
                Fate::Fails(ms) => (ms, Err(failure(FailureKind::Retryable))),
                Fate::Throttled => (0, Err(failure(FailureKind::Throttled))),
            };
            let elapsed = Duration::from_millis(answer.0);
            sleep(elapsed).await;
            running.fetch_sub(1, Relaxed);
            *billed.lock().unwrap() += 0.1 * elapsed.as_secs_f64();
            check();
            answer.1
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (end, _) = runtime.block_on(run(&platform, &setup));
        let billed = *billed.lock().unwrap();
        prop_assert!(billed <= max_usd.max(spent_usd) + 1e-9);
        prop_assert!(budget.spent_usd() >= billed - 1e-9);
        match end {
            Ok(()) => prop_assert_eq!(budget.spent_usd(), budget.committed_usd()),
            Err(DispatchError::Budget(shortage)) => {
                prop_assert_eq!(shortage.spent_usd, budget.spent_usd());
                prop_assert!(shortage.spent_usd + 0.1 > max_usd);
                prop_assert!(shortage.left >= 1 && shortage.left <= batches);
            }
            Err(DispatchError::Batch { attempt, .. }) => {
                prop_assert!(attempt == RetryPolicy::default().attempts || !fates.iter().any(|f| !matches!(f, Fate::Throttled)));
            }
            Err(end) => panic!("{end:?}"),
        }
    }
}
