//! The dispatch loop against simulated platforms, on a paused clock.

mod breaker;
mod budget;
mod search;
mod stragglers;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use object_store::memory::InMemory;
use shoal_job::wire::Stored;
use shoal_job::{Batch, Cancel};
use tokio::time::sleep;

use super::*;
use crate::{Budget, RetryPolicy};

const SECOND: Duration = Duration::from_secs(1);

/// A platform whose calls run a closure.
struct Calls<F>(F);

impl<F: AsyncFn(&Invocation) -> Result<Receipt, Failure> + Sync> Caller for Calls<F> {
    async fn call(&self, _: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        (self.0)(invocation).await
    }
}

/// The settings of a run.
struct Setup {
    store: Arc<InMemory>,
    batches: u64,
    /// Records in each batch.
    records: u64,
    concurrency: usize,
    ramp: Option<Ramp>,
    timeout: Option<Duration>,
    speculation: Option<Speculation>,
    budget: Option<Budget>,
    cancel: Cancel,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Arc::default(),
            batches: 1,
            records: 1,
            concurrency: 1000,
            ramp: None,
            timeout: None,
            speculation: None,
            budget: None,
            cancel: Cancel::new(),
        }
    }
}

impl Setup {
    fn run_dir(&self) -> RunDir {
        RunDir::on(self.store.clone(), "run".into(), "memory:///run")
    }
}

/// The result of a run and the time that it elapsed.
async fn run(caller: &impl Caller, setup: &Setup) -> (Result<(), DispatchError>, Duration) {
    let (end, time, _) = run_and_emit(caller, setup).await;
    (end, time)
}

/// As [`run`], with the emitted events.
async fn run_and_emit(
    caller: &impl Caller,
    setup: &Setup,
) -> (Result<(), DispatchError>, Duration, Vec<Event>) {
    let run = setup.run_dir();
    let batches = (0..setup.batches).map(|index| {
        Cow::Owned(Batch {
            index,
            records: setup.records,
            ..Batch::default()
        })
    });
    let work = Work {
        run: &run,
        batches: batches.collect(),
        is_suspect: false,
        retry: RetryPolicy::default(),
        timeout: setup.timeout,
        stop_on_bad_record: false,
        speculation: setup.speculation,
        budget: setup.budget.as_ref(),
        cancel: &setup.cancel,
    };
    let settings = FanOut {
        concurrency: setup.concurrency,
        ramp: setup.ramp,
        allow_speculation: true,
    };
    let (events, emitted) = channel();
    let started = Instant::now();
    let end = drive(caller, settings, &work, events).await;
    let time = started.elapsed();
    let emitted: Vec<_> = emitted.iter().collect();
    if end.is_ok() {
        assert_eq!(records_finished(&emitted), setup.batches * setup.records);
    }
    (end, time, emitted)
}

/// Counts the finished records and checks that none is finished twice.
fn records_finished(emitted: &[Event]) -> u64 {
    let mut seen = std::collections::BTreeSet::new();
    for event in emitted {
        if let Event::Finished { receipt, .. } = event {
            for record in receipt.offset..receipt.offset + receipt.records {
                assert!(
                    seen.insert((receipt.batch, record)),
                    "record {record} is finished twice"
                );
            }
        }
    }
    seen.len() as u64
}

/// The receipt of a call that processed all of its records.
fn receipt(invocation: &Invocation) -> Receipt {
    let batch = &invocation.batch;
    let quarantined = u64::from(invocation.quarantine.is_some());
    let end = match quarantined {
        0 => batch.end(),
        _ => batch.offset + 1,
    };
    Receipt {
        batch: batch.index,
        offset: batch.offset,
        remaining: batch.records - end,
        attempt: invocation.attempt,
        records: end - batch.offset,
        failed: quarantined,
        quarantined,
        units: 1,
        part: Stored::of(b""),
        ..Receipt::default()
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure::new(kind, "made to fail")
}

/// Accepts up to `limit` calls at a time and throttles the others after 10 ms.
struct Limited {
    limit: fn(Duration) -> usize,
    takes: Duration,
    started: Instant,
    running: AtomicUsize,
    peak: AtomicUsize,
    throttled: AtomicUsize,
}

impl Limited {
    fn new(takes: Duration, limit: fn(Duration) -> usize) -> Self {
        Self {
            limit,
            takes,
            started: Instant::now(),
            running: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            throttled: AtomicUsize::new(0),
        }
    }
}

impl Caller for Limited {
    async fn call(&self, _: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let running = self.running.fetch_add(1, Relaxed);
        if running >= (self.limit)(self.started.elapsed()) {
            self.running.fetch_sub(1, Relaxed);
            self.throttled.fetch_add(1, Relaxed);
            sleep(SECOND / 100).await;
            return Err(failure(FailureKind::Throttled));
        }
        self.peak.fetch_max(running + 1, Relaxed);
        sleep(self.takes).await;
        self.running.fetch_sub(1, Relaxed);
        Ok(receipt(invocation))
    }
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_follow_the_platforms_ramp() {
    let started = Instant::now();
    let seen = Mutex::new(Vec::new());
    let platform = Calls(async |invocation: &Invocation| {
        seen.lock().unwrap().push(started.elapsed().as_secs());
        sleep(60 * SECOND).await;
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 5000,
        concurrency: 3500,
        ramp: Some(Ramp {
            start: 1000,
            step: 1000,
            every: 10 * SECOND,
        }),
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    let seen = seen.into_inner().unwrap();
    let until = |second| seen.iter().filter(|at| **at <= second).count();
    assert_eq!(
        [0, 9, 10, 19, 20, 30, 59].map(until),
        [1000, 1000, 2000, 2000, 3000, 3500, 3500]
    );
    // The last of the 5,000 calls follows one that started after 0 s or 10 s.
    assert!(time < 131 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_small_platform_is_not_flooded() {
    let platform = Limited::new(SECOND, |_| 10);
    let setup = Setup {
        batches: 2000,
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    let throttled = platform.throttled.into_inner();
    // One burst, then a few calls now and then that probe for more capacity.
    assert!(throttled < 990 + 500, "{throttled}");
    // 200 s at full use.
    assert!(time < 250 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn concurrency_follows_a_growing_platform() {
    // Like Lambda, but without a known ramp.
    let platform = Limited::new(5 * SECOND, |time| {
        1000 + 1000 * (time.as_secs() / 10) as usize
    });
    let setup = Setup {
        batches: 30_000,
        concurrency: 5000,
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert!(platform.peak.into_inner() >= 3000);
    // 45 s at full use.
    assert!(time < 80 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn few_calls_are_made_during_hours_of_throttling() {
    let started = Instant::now();
    let accepted = Mutex::new(Duration::ZERO);
    let calls = AtomicUsize::new(0);
    // One call every 14 minutes.
    let platform = Calls(async |invocation: &Invocation| {
        calls.fetch_add(1, Relaxed);
        let mut accepted = accepted.lock().unwrap();
        if started.elapsed() < *accepted + 14 * 60 * SECOND {
            return Err(failure(FailureKind::Throttled));
        }
        *accepted = started.elapsed();
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 20,
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert!(time > 4 * 3600 * SECOND, "{time:?}");
    // Pauses are 5 to 10 s, and several calls may follow one.
    let calls = calls.into_inner() as u64;
    assert!(calls < time.as_secs() / 3, "{calls} in {time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_accepts_no_call_fails_the_run_after_15_minutes() {
    let platform = Calls(async |_: &Invocation| Err(failure(FailureKind::Throttled)));
    let setup = Setup {
        batches: 5000,
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    match end {
        Err(DispatchError::Batch { failure, .. }) => {
            assert_eq!(failure.kind, FailureKind::Throttled);
            assert!(failure.reason.contains("15 minutes"), "{failure}");
        }
        end => panic!("{end:?}"),
    }
    let quarter = 900 * SECOND;
    assert!(time > quarter && time < quarter + 30 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn throttling_during_a_long_call_does_not_fail_the_run() {
    // The platform accepts one call at a time, and each takes an hour.
    let platform = Limited::new(3600 * SECOND, |_| 1);
    let setup = Setup {
        batches: 3,
        concurrency: 2,
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert!(time >= 3 * 3600 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_are_delayed_and_limited() {
    let policy = RetryPolicy::default();
    for (failures, is_done) in [(policy.attempts - 1, true), (policy.attempts, false)] {
        let platform = Calls(async |invocation: &Invocation| {
            if invocation.attempt <= failures {
                return Err(failure(FailureKind::Retryable));
            }
            Ok(receipt(invocation))
        });
        let setup = Setup {
            batches: 200,
            ..Setup::default()
        };
        let (end, time) = run(&platform, &setup).await;
        match end {
            Ok(()) => assert!(is_done),
            Err(DispatchError::Batch { attempt, .. }) => {
                assert!(!is_done && attempt == policy.attempts);
            }
            end => panic!("{end:?}"),
        }
        // The delays are up to 200 and 400 ms; with 200 batches, the longest sum is close to the maximum.
        let longest = Duration::from_millis(600 + 2);
        assert!(time <= longest, "{time:?}");
        assert!(!is_done || time >= longest / 2, "{time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_due_retry_without_a_free_lane_does_not_stop_the_clock() {
    let platform = Calls(async |invocation: &Invocation| {
        if invocation.batch.index == 0 && invocation.attempt == 1 {
            return Err(failure(FailureKind::Crashed));
        }
        sleep(60 * SECOND).await;
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 2,
        concurrency: 1,
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    assert!(time >= 120 * SECOND && time < 121 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_without_an_answer_are_retried() {
    let platform = Calls(async |invocation: &Invocation| {
        assert_eq!(invocation.timeout_ms, Some(30_000));
        if invocation.attempt == 1 {
            std::future::pending::<()>().await;
        }
        Ok(receipt(invocation))
    });
    let setup = Setup {
        batches: 10,
        timeout: Some(30 * SECOND),
        ..Setup::default()
    };
    let (end, time) = run(&platform, &setup).await;
    assert!(end.is_ok(), "{end:?}");
    let lost = 30 * SECOND + RetryPolicy::default().grace;
    assert!(time >= lost && time < lost + SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn cancellation_is_immediate_and_abandons_calls_in_flight() {
    let setup = Setup {
        batches: 10,
        ..Setup::default()
    };
    let platform = Calls(async |_: &Invocation| {
        sleep(3 * SECOND).await;
        setup.cancel.cancel();
        std::future::pending().await
    });
    let (end, time) = run(&platform, &setup).await;
    assert!(matches!(end, Err(DispatchError::Cancelled)), "{end:?}");
    assert!(
        time <= 3 * SECOND + POLL_INTERVAL + SECOND / 100,
        "{time:?}"
    );
}

/// A platform whose calls can be stopped.
struct Stoppable {
    asked: AtomicBool,
    fails: bool,
}

impl Caller for Stoppable {
    async fn call(&self, _: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        if self.fails && invocation.batch.index == 0 {
            sleep(SECOND).await;
            return Err(failure(FailureKind::Input));
        }
        while !self.asked.load(Relaxed) {
            sleep(SECOND).await;
        }
        sleep(7 * SECOND).await;
        match invocation.batch.index {
            1 => Ok(receipt(invocation)),
            _ => Err(failure(FailureKind::Cancelled)),
        }
    }

    fn stop(&self) -> bool {
        assert!(!self.asked.swap(true, Relaxed), "stop is called once");
        true
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_calls_are_awaited() {
    for fails in [false, true] {
        let platform = Stoppable {
            asked: AtomicBool::new(false),
            fails,
        };
        let setup = Setup {
            batches: 10,
            concurrency: 4,
            ..Setup::default()
        };
        if !fails {
            setup.cancel.cancel();
        }
        let (end, time) = run(&platform, &setup).await;
        match end {
            Err(DispatchError::Cancelled) => assert!(!fails && time < SECOND, "no call was made"),
            Err(DispatchError::Batch { batch: 0, .. }) => {
                assert!(
                    fails && time >= 8 * SECOND && time < 10 * SECOND,
                    "{time:?}"
                );
            }
            end => panic!("{end:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_stopped_worker_is_retried() {
    let platform = Calls(async |invocation: &Invocation| match invocation.attempt {
        1 => Err(failure(FailureKind::Cancelled)),
        _ => Ok(receipt(invocation)),
    });
    let (end, time) = run(&platform, &Setup::default()).await;
    assert!(end.is_ok() && time < SECOND, "{end:?} {time:?}");
}
