//! What every backend must do, shown on the local one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use shoal_dispatch::{Backend, DispatchError, Local, RetryPolicy, Work};
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt, Stored, Timings};
use shoal_job::{Batch, Cancel, Event};

fn batches(count: u64) -> Vec<Batch> {
    (0..count)
        .map(|index| Batch {
            index,
            records: 1,
            slices: Vec::new(),
        })
        .collect()
}

fn receipt(invocation: &Invocation, failed: u64) -> Receipt {
    Receipt {
        batch: invocation.batch.index,
        attempt: invocation.attempt,
        records: 1,
        failed,
        truncated: 0,
        tokens: 0,
        part: Stored::of(b""),
        dead_letters: None,
        timings: Timings::default(),
        cold: false,
        isa: "test".into(),
        confusion: BTreeMap::new(),
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        reason: "made to fail".into(),
    }
}

/// Runs `count` batches by `handle`, and gives the outcome and all events.
fn run(
    count: u64,
    concurrency: usize,
    cancel: &Cancel,
    stop_on_bad_record: bool,
    handle: impl Fn(&Invocation, &Cancel) -> Result<Receipt, Failure> + Sync,
) -> (Result<(), DispatchError>, Vec<Event>) {
    let batches = batches(count);
    let work = Work {
        batches: batches.iter().collect(),
        retry: RetryPolicy { attempts: 3 },
        stop_on_bad_record,
        cancel,
    };
    let mut events = Vec::new();
    let backend = Local::new(concurrency, || |i: &Invocation, c: &Cancel| handle(i, c));
    let end = backend.run(&work, &mut |event| events.push(event));
    (end, events)
}

fn finished(events: &[Event]) -> Vec<u64> {
    let mut batches: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Finished { receipt, .. } => Some(receipt.batch),
            _ => None,
        })
        .collect();
    batches.sort_unstable();
    batches
}

#[test]
fn every_batch_is_worked_off_once_within_the_limit_in_flight() {
    for (count, concurrency) in [(0, 1), (1, 4), (57, 1), (57, 3)] {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (end, events) = run(
            count,
            concurrency,
            &Cancel::new(),
            false,
            |invocation, _| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(receipt(invocation, 0))
            },
        );
        assert_eq!(end, Ok(()));
        assert_eq!(finished(&events), (0..count).collect::<Vec<_>>());
        assert!(most.into_inner() <= concurrency);
    }
}

#[test]
fn what_may_pass_is_tried_again_and_what_may_not_ends_the_run() {
    let calls = Mutex::new(BTreeMap::<u64, u32>::new());
    let (end, events) = run(10, 2, &Cancel::new(), false, |invocation, _| {
        *calls
            .lock()
            .unwrap()
            .entry(invocation.batch.index)
            .or_default() += 1;
        match (invocation.batch.index, invocation.attempt) {
            (4, 1) => Err(failure(FailureKind::Retryable)),
            (7, 1 | 2) => panic!("crash of batch 7"),
            _ => Ok(receipt(invocation, 0)),
        }
    });
    assert_eq!(end, Ok(()));
    assert_eq!(finished(&events), (0..10).collect::<Vec<_>>());
    let calls = calls.into_inner().unwrap();
    assert_eq!((calls[&4], calls[&7], calls[&0]), (2, 3, 1));
    assert!(events.iter().any(|event| matches!(event, Event::Failed { reason, kind: FailureKind::Crashed, retry: true, .. } if reason.contains("crash of batch 7"))));

    let (end, events) = run(
        10,
        2,
        &Cancel::new(),
        false,
        |invocation, _| match invocation.batch.index {
            3 => Err(failure(FailureKind::Storage)),
            _ => Ok(receipt(invocation, 0)),
        },
    );
    let expected = failure(FailureKind::Storage);
    assert_eq!(
        end,
        Err(DispatchError::Batch {
            batch: 3,
            attempt: 1,
            failure: expected
        })
    );
    assert!(finished(&events).len() < 10);
}

#[test]
fn attempts_come_to_an_end() {
    let (end, events) = run(1, 1, &Cancel::new(), false, |_, _| {
        Err(failure(FailureKind::Retryable))
    });
    assert!(
        matches!(end, Err(DispatchError::Batch { attempt: 3, .. })),
        "{end:?}"
    );
    let failures = events
        .iter()
        .filter(|event| matches!(event, Event::Failed { .. }))
        .count();
    assert_eq!(failures, 3);
}

#[test]
fn a_wish_to_stop_reaches_the_workers_and_ends_the_run() {
    let cancel = Cancel::new();
    let (end, events) = run(1000, 2, &cancel, false, |invocation, seen| {
        if invocation.batch.index == 5 {
            cancel.cancel();
        }
        if seen.is_cancelled() {
            Err(failure(FailureKind::Cancelled))
        } else {
            Ok(receipt(invocation, 0))
        }
    });
    assert_eq!(end, Err(DispatchError::Cancelled));
    assert!(finished(&events).len() < 10);
}

#[test]
fn a_wish_that_comes_too_late_changes_nothing() {
    let cancel = Cancel::new();
    let (end, _) = run(3, 1, &cancel, false, |invocation, _| {
        if invocation.batch.index == 2 {
            cancel.cancel();
        }
        Ok(receipt(invocation, 0))
    });
    assert_eq!(end, Ok(()));
}

#[test]
fn the_first_bad_record_stops_the_run_where_it_is_to() {
    let bad = |invocation: &Invocation, _: &Cancel| {
        Ok(receipt(invocation, u64::from(invocation.batch.index == 3)))
    };
    assert_eq!(run(100, 1, &Cancel::new(), false, bad).0, Ok(()));
    let (end, events) = run(100, 1, &Cancel::new(), true, bad);
    assert_eq!(end, Err(DispatchError::BadRecord { batch: 3 }));
    assert_eq!(finished(&events), [0, 1, 2, 3]);
}
