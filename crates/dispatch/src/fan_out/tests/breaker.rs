//! The circuit breaker.

use super::*;

fn circuit_open(end: Result<(), DispatchError>) -> (usize, Failure) {
    match end {
        Err(DispatchError::CircuitOpen { batches, failure }) => (batches, failure),
        end => panic!("{end:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_in_which_every_batch_fails_stops_with_the_last_failure() {
    for concurrency in [1, 10, 1000] {
        let calls = AtomicUsize::new(0);
        let platform = Calls(async |_: &Invocation| {
            calls.fetch_add(1, Relaxed);
            sleep(SECOND).await;
            Err::<Receipt, _>(Failure::new(
                FailureKind::Crashed,
                "out of memory at 128 MB",
            ))
        });
        let setup = Setup {
            batches: 10_000,
            records: 50,
            concurrency,
            ..Setup::default()
        };
        let (batches, failure) = circuit_open(run(&platform, &setup).await.0);
        assert_eq!(failure.reason, "out of memory at 128 MB");
        let calls = calls.into_inner();
        // Twice the calls in flight, and a few more.
        assert!(
            calls <= 2 * concurrency + 40,
            "{calls} calls, {concurrency} at a time"
        );
        assert!(batches <= 2 * concurrency + 5, "{batches}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_only_bad_records_is_not_quarantined_entirely() {
    let calls = AtomicUsize::new(0);
    let platform = Calls(async |invocation: &Invocation| {
        calls.fetch_add(1, Relaxed);
        match invocation.quarantine {
            Some(_) => Ok(receipt(invocation)),
            None => Err(failure(FailureKind::Crashed)),
        }
    });
    let setup = Setup {
        records: 1000,
        ..Setup::default()
    };
    let (end, _, emitted) = run_and_emit(&platform, &setup).await;
    circuit_open(end);
    assert_eq!(records_finished(&emitted), 2);
    assert!(calls.into_inner() < 60);
}

#[tokio::test(start_paused = true)]
async fn quick_failures_wait_for_slow_successes() {
    // Ten bad batches fail immediately; the others take a minute.
    let platform = Calls(async |invocation: &Invocation| {
        let batch = &invocation.batch;
        let is_bad = batch.index.is_multiple_of(10) && (batch.offset..batch.end()).contains(&0);
        if is_bad && invocation.quarantine.is_none() {
            return Err(failure(FailureKind::Crashed));
        }
        sleep(60 * SECOND).await;
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 100,
        records: 50,
        ..Setup::default()
    };
    let (end, _) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_after_successes_stop_the_run_too() {
    let platform = Calls(async |invocation: &Invocation| {
        sleep(SECOND).await;
        match invocation.batch.index {
            ..200 => Ok(receipt(invocation)),
            _ => Err(failure(FailureKind::Crashed)),
        }
    });
    let setup = Setup {
        batches: 5000,
        records: 20,
        concurrency: 100,
        ..Setup::default()
    };
    let (end, _, emitted) = run_and_emit(&platform, &setup).await;
    let (batches, _) = circuit_open(end);
    assert_eq!(records_finished(&emitted), 200 * 20);
    assert!((20..=200).contains(&batches), "{batches}");
}
