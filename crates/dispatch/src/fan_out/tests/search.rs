//! Records that kill their function.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A platform whose functions are killed by the records of `bad`, by batch and place.
fn killed(bad: &[(u64, u64)], calls: &AtomicUsize, invocation: &Invocation) -> Option<Failure> {
    calls.fetch_add(1, Relaxed);
    let batch = &invocation.batch;
    let is_hit = |(b, record): &&(u64, u64)| {
        *b == batch.index && (batch.offset..batch.end()).contains(record)
    };
    let is_killed = invocation.quarantine.is_none() && bad.iter().any(|bad| is_hit(&bad));
    is_killed.then(|| failure(FailureKind::Crashed))
}

/// The buried records, by batch and place.
fn quarantined(told: &[Event]) -> Vec<(u64, u64)> {
    let mut quarantined: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::Finished { receipt, .. } if receipt.quarantined > 0 => {
                Some((receipt.batch, receipt.offset))
            }
            _ => None,
        })
        .collect();
    quarantined.sort_unstable();
    quarantined
}

fn on_a_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_kills_its_function_is_buried_and_the_others_are_done() {
    let bad = [(3, 17)];
    let calls = AtomicUsize::new(0);
    let platform = Calls(async |invocation: &Invocation| {
        if let Some(quarantine) = &invocation.quarantine {
            assert!(quarantine.contains("made to fail"), "{quarantine}");
        }
        sleep(SECOND).await;
        match killed(&bad, &calls, invocation) {
            Some(failure) => Err(failure),
            None => Ok(receipt(invocation)),
        }
    });
    let setup = Setup {
        batches: 20,
        records: 50,
        ..Setup::default()
    };
    let (end, _, told) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(quarantined(&told), bad);
    let extra = calls.into_inner() as f64 - 20.0;
    assert!(extra <= 2.0 * 50_f64.log2() + 2.0, "{extra}");
}

#[tokio::test(start_paused = true)]
async fn endless_work_is_found_as_a_crash_is() {
    let platform = Calls(async |invocation: &Invocation| {
        let batch = &invocation.batch;
        if invocation.quarantine.is_none() && (batch.offset..batch.end()).contains(&7) {
            std::future::pending::<()>().await;
        }
        Ok(receipt(invocation))
    });
    let setup = Setup {
        records: 8,
        timeout: Some(10 * SECOND),
        ..Setup::default()
    };
    let (end, _, told) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(quarantined(&told), [(0, 7)]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_by_chance_is_not_buried() {
    // Every function that is called in the first 5 s dies, whatever it works on, as on a host that is shut down.
    let started = Instant::now();
    let platform = Calls(async |invocation: &Invocation| {
        let began = started.elapsed();
        sleep(SECOND).await;
        if began < 5 * SECOND && invocation.batch.index == 0 {
            return Err(failure(FailureKind::Crashed));
        }
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 3,
        records: 64,
        ..Setup::default()
    };
    let (end, _, told) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(quarantined(&told), []);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_even_be_buried_ends_the_run() {
    let platform = Calls(async |_: &Invocation| Err::<Receipt, _>(failure(FailureKind::Crashed)));
    let (end, _) = run(&platform, &Setup::default()).await;
    assert!(
        matches!(end, Err(DispatchError::CircuitOpen { batches: 1, .. })),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_what_is_open_of_a_batch_is_searched() {
    let store = Arc::new(InMemory::new());
    let run_dir = RunDir::on(store, "run".into(), "memory:///run");
    let whole = Batch {
        records: 100,
        ..Batch::default()
    };
    let platform = Calls(async |invocation: &Invocation| {
        let batch = &invocation.batch;
        assert!(batch.offset >= 40 && batch.end() <= 60, "{batch:?}");
        if invocation.quarantine.is_none() && (batch.offset..batch.end()).contains(&59) {
            return Err(failure(FailureKind::Crashed));
        }
        Ok(receipt(invocation))
    });
    let work = Work {
        run: &run_dir,
        batches: vec![Cow::Owned(whole.range(40, 60))],
        is_suspect: false,
        retry: RetryPolicy::default(),
        timeout: None,
        stop_on_bad_record: false,
        speculation: None,
        budget: None,
        cancel: &Cancel::new(),
    };
    let settings = FanOut {
        concurrency: 4,
        ramp: None,
        second_attempts: true,
    };
    let (events, told) = channel();
    drive(&platform, settings, &work, events).await.unwrap();
    let told: Vec<_> = told.iter().collect();
    assert_eq!(
        (records_finished(&told), quarantined(&told)),
        (20, vec![(0, 59)])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is bad is buried and nothing else, in no more calls than are promised, however many calls are in flight,
    /// and though functions run out of time.
    #[test]
    fn exactly_the_bad_ones_are_buried(
        records in 1..80_u64,
        bad in prop::collection::btree_set((0..6_u64, 0..80_u64), 0..8),
        concurrency in 1..9_usize,
        most in prop::option::of(1..40_u64),
    ) {
        let bad: Vec<_> = bad.into_iter().filter(|(_, record)| *record < records).collect();
        let calls = AtomicUsize::new(0);
        let platform = Calls(async |invocation: &Invocation| {
            sleep(SECOND).await;
            if let Some(failure) = killed(&bad, &calls, invocation) {
                return Err(failure);
            }
            let mut receipt = receipt(invocation);
            if let Some(less) = most.filter(|most| *most < receipt.records) {
                receipt.remaining += receipt.records - less;
                receipt.records = less;
            }
            Ok(receipt)
        });
        let setup = Setup { batches: 6, records, concurrency, ..Setup::default() };
        let (end, _, told) = on_a_clock(run_and_emit(&platform, &setup));
        let mut by_batch: BTreeMap<u64, u64> = BTreeMap::new();
        for (batch, _) in &bad {
            *by_batch.entry(*batch).or_default() += 1;
        }
        match end {
            Ok(()) => {
                prop_assert_eq!(quarantined(&told), bad.clone());
                if most.is_none() {
                    let bound = (2.0 * (records as f64).log2() + 2.0) * bad.len() as f64;
                    let extra = calls.into_inner() as f64 - 6.0;
                    prop_assert!(extra <= bound, "{} of {}", extra, bound);
                }
            }
            // Where hardly anything succeeds, the run may be stopped.
            Err(DispatchError::CircuitOpen { .. }) => {
                let in_a_row = by_batch.len() >= 5 || bad.len() >= 3;
                prop_assert!(in_a_row, "{:?}", bad);
            }
            Err(end) => panic!("{end:?}"),
        }
    }
}
