//! The search for records that crash their function.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Fails the invocation if it processes one of the records in `bad`, given as batch and offset.
fn crash_on(bad: &[(u64, u64)], calls: &AtomicUsize, invocation: &Invocation) -> Option<Failure> {
    calls.fetch_add(1, Relaxed);
    let batch = &invocation.batch;
    let is_hit = |(b, record): &&(u64, u64)| {
        *b == batch.index && (batch.offset..batch.end()).contains(record)
    };
    let crashes = invocation.quarantine.is_none() && bad.iter().any(|bad| is_hit(&bad));
    crashes.then(|| failure(FailureKind::Crashed))
}

/// The quarantined records, as batch and offset.
fn quarantined(emitted: &[Event]) -> Vec<(u64, u64)> {
    let mut quarantined: Vec<_> = emitted
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

fn with_paused_clock<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

#[tokio::test(start_paused = true)]
async fn a_record_that_crashes_its_function_is_quarantined_and_the_others_succeed() {
    let bad = [(3, 17)];
    let calls = AtomicUsize::new(0);
    let platform = Calls(async |invocation: &Invocation| {
        if let Some(quarantine) = &invocation.quarantine {
            assert!(quarantine.contains("made to fail"), "{quarantine}");
        }
        sleep(SECOND).await;
        match crash_on(&bad, &calls, invocation) {
            Some(failure) => Err(failure),
            None => Ok(receipt(invocation)),
        }
    });
    let setup = Setup {
        batches: 20,
        records: 50,
        ..Setup::default()
    };
    let (end, _, emitted) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(quarantined(&emitted), bad);
    let extra = calls.into_inner() as f64 - 20.0;
    assert!(extra <= 2.0 * 50_f64.log2() + 2.0, "{extra}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_never_finishes_is_quarantined() {
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
    let (end, _, emitted) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(quarantined(&emitted), [(0, 7)]);
}

#[tokio::test(start_paused = true)]
async fn transient_crashes_quarantine_nothing() {
    // Every call of batch 0 in the first 5 s crashes, as on a host that is shut down.
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
    let (end, _, emitted) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(quarantined(&emitted), []);
}

#[tokio::test(start_paused = true)]
async fn a_failed_quarantine_ends_the_run() {
    let platform = Calls(async |_: &Invocation| Err::<Receipt, _>(failure(FailureKind::Crashed)));
    let (end, _) = run(&platform, &Setup::default()).await;
    assert!(
        matches!(end, Err(DispatchError::CircuitOpen { batches: 1, .. })),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_the_open_range_of_a_batch_is_searched() {
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
        allow_speculation: true,
    };
    let (events, emitted) = channel();
    drive(&platform, settings, &work, events).await.unwrap();
    let emitted: Vec<_> = emitted.iter().collect();
    assert_eq!(
        (records_finished(&emitted), quarantined(&emitted)),
        (20, vec![(0, 59)])
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Exactly the bad records are quarantined, within the documented number of calls, at any concurrency, even if
    /// functions run out of time.
    #[test]
    fn exactly_the_bad_records_are_quarantined(
        records in 1..80_u64,
        bad in prop::collection::btree_set((0..6_u64, 0..80_u64), 0..8),
        concurrency in 1..9_usize,
        max_records in prop::option::of(1..40_u64),
    ) {
        let bad: Vec<_> = bad.into_iter().filter(|(_, record)| *record < records).collect();
        let calls = AtomicUsize::new(0);
        let platform = Calls(async |invocation: &Invocation| {
            sleep(SECOND).await;
            if let Some(failure) = crash_on(&bad, &calls, invocation) {
                return Err(failure);
            }
            let mut receipt = receipt(invocation);
            if let Some(less) = max_records.filter(|max_records| *max_records < receipt.records) {
                receipt.remaining += receipt.records - less;
                receipt.records = less;
            }
            Ok(receipt)
        });
        let setup = Setup { batches: 6, records, concurrency, ..Setup::default() };
        let (end, _, emitted) = with_paused_clock(run_and_emit(&platform, &setup));
        let mut by_batch: BTreeMap<u64, u64> = BTreeMap::new();
        for (batch, _) in &bad {
            *by_batch.entry(*batch).or_default() += 1;
        }
        match end {
            Ok(()) => {
                prop_assert_eq!(quarantined(&emitted), bad.clone());
                if max_records.is_none() {
                    let bound = (2.0 * (records as f64).log2() + 2.0) * bad.len() as f64;
                    let extra = calls.into_inner() as f64 - 6.0;
                    prop_assert!(extra <= bound, "{} of {}", extra, bound);
                }
            }
            // The breaker may open if hardly anything succeeds.
            Err(DispatchError::CircuitOpen { .. }) => {
                let in_a_row = by_batch.len() >= 5 || bad.len() >= 3;
                prop_assert!(in_a_row, "{:?}", bad);
            }
            Err(end) => panic!("{end:?}"),
        }
    }
}
