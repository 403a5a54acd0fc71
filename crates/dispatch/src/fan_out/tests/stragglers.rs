//! Second attempts at stragglers.

use proptest::prelude::*;

use super::*;

/// Counts the calls for each batch.
#[derive(Default)]
struct CallCounter {
    seen: Mutex<std::collections::BTreeMap<u64, u32>>,
}

impl CallCounter {
    /// The number of this call among those for its batch, from 1.
    fn count(&self, invocation: &Invocation) -> u32 {
        let mut seen = self.seen.lock().unwrap();
        let seen = seen.entry(invocation.batch.index).or_default();
        *seen += 1;
        *seen
    }
}

/// The batches that got a second attempt.
fn second_attempts(emitted: &[Event]) -> Vec<u64> {
    let batches = emitted.iter().filter_map(|event| match event {
        Event::Dispatched {
            batch,
            second: true,
            ..
        } => Some(*batch),
        _ => None,
    });
    batches.collect()
}

#[tokio::test(start_paused = true)]
async fn a_straggler_gets_a_second_attempt_and_the_first_answer_counts() {
    let counter = CallCounter::default();
    let platform = Calls(async |invocation: &Invocation| {
        let is_first = counter.count(invocation) == 1;
        let slow = invocation.batch.index == 40 && is_first;
        sleep(if slow { 600 * SECOND } else { 4 * SECOND }).await;
        Ok(receipt(invocation))
    });
    for (speculation, max_seconds) in [(None, 620), (Some(Speculation { budget: 0.2 }), 30)] {
        counter.seen.lock().unwrap().clear();
        let setup = Setup {
            batches: 100,
            records: 10,
            concurrency: 20,
            speculation,
            ..Setup::default()
        };
        let (end, time, emitted) = run_and_emit(&platform, &setup).await;
        assert!(end.is_ok(), "{end:?}");
        assert!(time < max_seconds * SECOND, "{time:?}");
        let expected: &[u64] = if speculation.is_some() { &[40] } else { &[] };
        assert_eq!(second_attempts(&emitted), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn long_batches_are_not_stragglers() {
    // Every tenth batch takes ten times as long and has ten times the bytes.
    let store = Arc::new(InMemory::new());
    let run_dir = RunDir::on(store, "run".into(), "memory:///run");
    let platform = Calls(async |invocation: &Invocation| {
        let slice = invocation.batch.slices[0];
        sleep(SECOND * (slice.end - slice.start) as u32 / 1000).await;
        Ok(receipt(invocation))
    });
    let batches = (0..60_u64).map(|index| {
        let bytes = if index % 10 == 9 { 40_000 } else { 4_000 };
        let slice = shoal_job::spec::Slice {
            source: 0,
            start: 0,
            end: bytes,
            row: 0,
            line: 1,
            records: 10,
            fault: None,
        };
        Cow::Owned(Batch {
            index,
            records: 10,
            slices: vec![slice],
            ..Batch::default()
        })
    });
    let work = Work {
        run: &run_dir,
        batches: batches.collect(),
        is_suspect: false,
        retry: RetryPolicy::default(),
        timeout: None,
        stop_on_bad_record: false,
        speculation: Some(Speculation { budget: 1.0 }),
        budget: None,
        cancel: &Cancel::new(),
    };
    let settings = FanOut {
        concurrency: 100,
        ramp: None,
        allow_speculation: true,
    };
    let (events, emitted) = channel();
    drive(&platform, settings, &work, events).await.unwrap();
    assert!(second_attempts(&emitted.iter().collect::<Vec<_>>()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_other_attempt_counts_if_one_fails() {
    for first_fails in [true, false] {
        let counter = CallCounter::default();
        let platform = Calls(async |invocation: &Invocation| {
            let number = counter.count(invocation);
            if invocation.batch.index != 30 {
                sleep(2 * SECOND).await;
                return Ok(receipt(invocation));
            }
            sleep(if number == 1 { 20 * SECOND } else { SECOND }).await;
            match (number == 1) == first_fails {
                true => Err(failure(FailureKind::Crashed)),
                false => Ok(receipt(invocation)),
            }
        });
        let setup = Setup {
            batches: 60,
            speculation: Some(Speculation { budget: 0.5 }),
            ..Setup::default()
        };
        let (end, time, emitted) = run_and_emit(&platform, &setup).await;
        assert!(end.is_ok(), "{end:?}");
        assert_eq!(second_attempts(&emitted), [30]);
        let failures = emitted.iter().filter(|e| matches!(e, Event::Failed { .. }));
        // The first attempt would fail after the second has succeeded, so its failure is never seen.
        assert_eq!(failures.count(), usize::from(!first_fails));
        assert_eq!(time >= 20 * SECOND, !first_fails, "{time:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// No record is finished twice, and second attempts stay within their time budget, however long calls take.
    #[test]
    fn second_attempts_stay_within_their_budget(
        times in prop::collection::vec(prop_oneof![9 => 1..5_000_u64, 1 => 20_000..600_000_u64], 1..60),
        batches in 1..120_u64,
        concurrency in 1..200_usize,
        budget in 0.0..0.5_f64,
    ) {
        let calls = AtomicUsize::new(0);
        let seconds = Mutex::new((0.0_f64, 0.0_f64));
        let platform = Calls(async |invocation: &Invocation| {
            let time = times[calls.fetch_add(1, Relaxed) % times.len()];
            let limit = invocation.timeout_ms;
            // A function stops at its deadline.
            let elapsed = Duration::from_millis(limit.map_or(time, |limit| time.min(limit)));
            if limit.is_some() {
                // The time is counted when the call starts.
                let mut seconds = seconds.lock().unwrap();
                seconds.1 += elapsed.as_secs_f64();
                let (all, second) = *seconds;
                assert!(second <= budget * all + 1e-6, "{second} of {all}");
            }
            sleep(elapsed).await;
            seconds.lock().unwrap().0 += elapsed.as_secs_f64();
            match limit {
                Some(limit) if time > limit => Err(failure(FailureKind::TimedOut)),
                _ => Ok(receipt(invocation)),
            }
        });
        let setup = Setup {
            batches,
            concurrency,
            speculation: Some(Speculation { budget }),
            ..Setup::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (end, _, _) = runtime.block_on(run_and_emit(&platform, &setup));
        prop_assert!(end.is_ok(), "{:?}", end);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_have_distinct_numbers() {
    // Both attempts at batch 30 fail, the second one first; the third succeeds.
    let counter = CallCounter::default();
    let platform = Calls(async |invocation: &Invocation| {
        if invocation.batch.index != 30 {
            sleep(2 * SECOND).await;
            return Ok(receipt(invocation));
        }
        match counter.count(invocation) {
            1 => sleep(20 * SECOND).await,
            2 => sleep(SECOND).await,
            _ => return Ok(receipt(invocation)),
        }
        Err(failure(FailureKind::Retryable))
    });
    let setup = Setup {
        batches: 60,
        speculation: Some(Speculation { budget: 0.5 }),
        ..Setup::default()
    };
    let (end, _, emitted) = run_and_emit(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    let attempts = emitted.iter().filter_map(|event| match event {
        Event::Dispatched {
            batch: 30, attempt, ..
        } => Some(*attempt),
        _ => None,
    });
    assert_eq!(attempts.collect::<Vec<_>>(), [1, 2, 3]);
}
