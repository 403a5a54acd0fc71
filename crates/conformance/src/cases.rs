//! The cases of the suite.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_job::RunDir;
use shoal_job::wire::{FailureKind, Receipt};

use crate::harness::{ATTEMPTS, TestRun};
use crate::test_run::{
    BAD_RECORD, CALL_USD, Malformed, RECORDS, RunSettings, Start, StartOptions, TestContext,
};
use crate::{CrashPoint, Fault, FaultRule};
use shoal_dispatch::{DispatchError, Processed};

const BATCH_SIZE: u64 = 10;
const BATCHES: u64 = RECORDS / BATCH_SIZE;

/// A test case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&TestContext<'_>),
}

macro_rules! cases {
    ($($name:literal => $run:expr,)*) => {
        /// All cases.
        pub(crate) const ALL: &[Case] = &[$(Case { name: $name, run: $run }),*];
    };
}

cases! {
    "batches of 1" => |context| success(context, 1),
    "batches of 7" => |context| success(context, 7),
    "one batch" => |context| success(context, RECORDS),
    "dead letter" => dead_letter,
    "transient error" => transient_error,
    "permanent error" => |context| batch_fails(context, FailureKind::Input, 1),
    "attempts exhausted" => |context| batch_fails(context, FailureKind::Retryable, ATTEMPTS),
    "crash" => |context| crashes(context, CrashPoint::Start, 2),
    "crash between part and receipt" => |context| crashes(context, CrashPoint::BeforeReceipt, 2),
    // The receipt is found, so the batch is not processed again.
    "lost answer" => |context| crashes(context, CrashPoint::AfterReceipt, 1),
    "timeout" => timeout,
    "throttling" => throttling,
    "concurrent duplicate call" => duplicate_call,
    "wrong checksum" => wrong_checksum,
    "straggler" => straggler,
    "partial batches" => partial_batches,
    "missing range of a partial batch" => missing_range,
    "a record that crashes its function" => |context| poison(context, false),
    "a kept record that crashes its function" => |context| poison(context, true),
    "kept bad record" => kept_bad_record,
    "no results" => no_results,
    "every call crashes" => every_call_crashes,
    "mismatched receipt" => mismatched_receipt,
    "damaged part" => damaged_part,
    "cancelled, then resumed" => cancelled,
    "missing receipt" => missing_receipt,
    "stop at a bad record" => stop_on_bad_record,
    "budget exhausted, then resumed" => budget_exhausted,
    "budget exhausted by a damaged part" => budget_exhausted_by_a_part,
}

/// A run of batches of [`BATCH_SIZE`] records.
fn usual(rules: &[FaultRule]) -> RunSettings<'_> {
    RunSettings {
        batch_size: BATCH_SIZE,
        malformed: Malformed::None,
        error_column: false,
        rules,
    }
}

/// The ranges of unsplit batches.
fn all(batches: u64) -> BTreeSet<(u64, u64)> {
    (0..batches).map(|batch| (batch, 0)).collect()
}

fn success(context: &TestContext<'_>, batch_size: u64) {
    let settings = RunSettings {
        batch_size,
        ..usual(&[])
    };
    let run = context.new_run(settings);
    let done = context.finish(&run);
    let batches = RECORDS.div_ceil(batch_size);
    assert_eq!(done.events.finished(), all(batches));
    assert_eq!(done.events.reused(), 0);
    assert!(done.processed.reused.is_empty());
    done.events.assert_failures(&[]);
    assert!(run.calls().values().all(|calls| *calls == 1));
    // The second start has nothing left to do.
    let again = context.finish(&run);
    assert_eq!(again.events.reused(), batches);
    assert_eq!(again.events.finished(), all(0));
    assert!(run.calls().values().all(|calls| *calls == 1));
}

fn dead_letter(context: &TestContext<'_>) {
    let settings = RunSettings {
        malformed: Malformed::One,
        ..usual(&[])
    };
    let done = context.finish(&context.new_run(settings));
    let failed = done.processed.receipts.values().map(|r| r.failed);
    assert_eq!(failed.sum::<u64>(), 1);
}

/// Checks that the output has a row for each record, in order, and that `bad` records have this reason and no result.
fn check_kept(run: &TestRun, processed: &Processed, bad: &[u64], reason: &str) {
    let output = run.output(&processed.receipts).results;
    let output = String::from_utf8(output).expect("the output is UTF-8");
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some("id,label,score,error,text"));
    let mut records = 0;
    for (record, line) in (0..).zip(lines) {
        let (id, rest) = line.split_once(',').expect("a row has several fields");
        let is_bad = bad.contains(&record);
        // A malformed line has no readable id.
        assert!(
            id == record.to_string() || (is_bad && id.is_empty()),
            "{line}"
        );
        assert_eq!(rest.starts_with(",,"), is_bad, "{line}");
        assert_eq!(rest.contains(reason), is_bad, "{line}");
        records += 1;
    }
    assert_eq!(records, RECORDS);
}

fn kept_bad_record(context: &TestContext<'_>) {
    for (malformed, bad) in [
        (Malformed::One, vec![BAD_RECORD]),
        (Malformed::First, (0..BAD_RECORD).collect()),
    ] {
        let run = context.new_run(RunSettings {
            malformed,
            error_column: true,
            ..usual(&[])
        });
        let done = context.finish(&run);
        check_kept(&run, &done.processed, &bad, "not a JSON object");
    }
}

/// A run stops if none of its first records has a result, also when it is resumed, and continues without this condition.
fn no_results(context: &TestContext<'_>) {
    let run = context.new_run(RunSettings {
        malformed: Malformed::First,
        ..usual(&[])
    });
    let first = |records| StartOptions {
        first_records: Some(records),
        ..StartOptions::default()
    };
    for _ in 0..2 {
        // Rounded up to whole batches.
        let Start { end, .. } = context.start(&run, first(2 * BATCH_SIZE - 3));
        assert!(
            matches!(end, Err(DispatchError::NoResults { records }) if records == 2 * BATCH_SIZE),
            "{end:?}"
        );
    }
    let calls = run.calls();
    // A record among the first ones has a result.
    context.finish_with(&run, first(BAD_RECORD + 1));
    // Calls in flight were stopped, but not those of the first records.
    for batch in 0..2 {
        assert_eq!(run.calls()[&(batch, 0)], calls[&(batch, 0)]);
    }
    // The job ends with these records.
    let run = context.new_run(RunSettings {
        malformed: Malformed::First,
        ..usual(&[])
    });
    context.finish_with(&run, first(RECORDS));
}

fn transient_error(context: &TestContext<'_>) {
    let rules = [
        FaultRule::once(1, Fault::Fail(FailureKind::Retryable)),
        FaultRule::times(4, 2, Fault::Fail(FailureKind::Retryable)),
    ];
    let run = context.new_run(usual(&rules));
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), all(BATCHES));
    done.events.assert_failures(&[
        (1, 1, FailureKind::Retryable, true),
        (4, 1, FailureKind::Retryable, true),
        (4, 2, FailureKind::Retryable, true),
    ]);
    let calls = run.calls();
    assert_eq!((calls[&(0, 0)], calls[&(1, 0)], calls[&(4, 0)]), (1, 2, 3));
}

/// A batch fails after `last` attempts. The other batches stay finished, and the next start processes the rest.
fn batch_fails(context: &TestContext<'_>, kind: FailureKind, last: u32) {
    let run = context.new_run(usual(&[FaultRule::always(3, Fault::Fail(kind))]));
    let Start { end, events } = context.start(&run, StartOptions::default());
    match end {
        Err(DispatchError::Batch {
            batch: 3,
            attempt,
            failure,
        }) => {
            assert_eq!(failure.kind, kind, "{failure}");
            if context.harness.reports_attempts() {
                assert_eq!(attempt, last);
            }
        }
        end => panic!("expected a failure of batch 3: {end:?}"),
    }
    assert_eq!(run.calls()[&(3, 0)], last);
    let finished = events.finished();
    assert!(!finished.contains(&(3, 0)));
    let before = run.calls();
    run.set_faults(&[]);
    let done = context.finish(&run);
    assert!(done.events.reused() >= finished.len() as u64);
    let calls = run.calls();
    for range in finished {
        assert_eq!(calls[&range], before[&range], "{range:?} is processed once");
    }
}

fn crashes(context: &TestContext<'_>, moment: CrashPoint, calls: u32) {
    let run = context.new_run(usual(&[FaultRule::once(2, Fault::Crash(moment))]));
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), all(BATCHES));
    if context.harness.checks_receipt_before_retry() {
        assert_eq!(run.calls()[&(2, 0)], calls);
        assert!(run.calls().values().all(|made| *made <= calls));
    }
}

fn timeout(context: &TestContext<'_>) {
    // A single batch, so that no other call times out on a busy machine.
    let rules = [FaultRule::once(0, Fault::Hang)];
    let settings = RunSettings {
        batch_size: RECORDS,
        ..usual(&rules)
    };
    let run = context.new_run(settings);
    let options = StartOptions {
        timeout: Some(Duration::from_millis(500)),
        ..StartOptions::default()
    };
    let done = context.finish_with(&run, options);
    assert_eq!(done.events.finished(), all(1));
    if context.harness.reports_attempts() {
        let first = done.events.failures().into_iter().next();
        assert_eq!(first, Some((0, 1, FailureKind::TimedOut, true)));
    }
    assert!(run.calls()[&(0, 0)] >= 2);
}

fn throttling(context: &TestContext<'_>) {
    let rules = [
        FaultRule::times(0, 2, Fault::Throttle),
        FaultRule::once(BATCHES - 1, Fault::Throttle),
    ];
    let run = context.new_run(usual(&rules));
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), all(BATCHES));
    // Throttling says nothing about the batch and does not count as an attempt.
    done.events.assert_failures(&[
        (0, 1, FailureKind::Throttled, true),
        (0, 1, FailureKind::Throttled, true),
        (BATCHES - 1, 1, FailureKind::Throttled, true),
    ]);
    assert!(done.processed.receipts.values().all(|r| r.attempt == 1));
}

fn duplicate_call(context: &TestContext<'_>) {
    let rules: Vec<_> = (0..BATCHES)
        .map(|batch| FaultRule::once(batch, Fault::Twice))
        .collect();
    let done = context.finish(&context.new_run(usual(&rules)));
    assert_eq!(done.events.finished(), all(BATCHES));
}

fn wrong_checksum(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[FaultRule::once(1, Fault::WrongChecksum)]));
    let done = context.finish(&run);
    let mut finished = done.events.finished_ranges();
    finished.sort_unstable();
    let again = std::iter::once((1, 0));
    let mut expected: Vec<_> = all(BATCHES).into_iter().chain(again).collect();
    expected.sort_unstable();
    assert_eq!(finished, expected, "the damaged batch is processed again");
    assert_eq!(run.calls()[&(1, 0)], 2);
}

/// The first batch finishes last and delays no other batch.
fn straggler(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[FaultRule::once(0, Fault::Last)]));
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), all(BATCHES));
    assert!(run.calls().values().all(|calls| *calls == 1));
}

/// The ranges of a batch that stops after every 3 records.
fn ranges(batch: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..BATCH_SIZE).step_by(3).map(move |start| (batch, start))
}

fn partial_batches(context: &TestContext<'_>) {
    let rules = [
        FaultRule::always(1, Fault::Cut(3)),
        FaultRule::once(BATCHES - 1, Fault::Cut(9)),
    ];
    let run = context.new_run(usual(&rules));
    let done = context.finish(&run);
    let mut expected = all(BATCHES);
    expected.extend(ranges(1));
    expected.insert((BATCHES - 1, 9));
    assert_eq!(done.events.finished(), expected);
    let attempts = done.processed.receipts.values().map(|r| r.attempt);
    assert_eq!(
        attempts.max(),
        Some(1),
        "the rest is a new call, not a retry"
    );
}

/// A receipt of a partial batch is lost. Only its range is processed again.
fn missing_range(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[FaultRule::always(1, Fault::Cut(3))]));
    context.finish(&run);
    for offset in [3, 0] {
        run.delete_receipt(1, offset);
        let done = context.finish(&run);
        assert_eq!(done.events.reused(), BATCHES - 1);
        let kept = done.processed.reused.values().filter(|r| r.batch == 1);
        assert_eq!(kept.count(), ranges(1).count() - 1);
        assert_eq!(done.events.finished(), [(1, offset)].into());
    }
    // Without the fault, the range from 0 to the next receipt is one call.
    run.set_faults(&[]);
    run.delete_receipt(1, 0);
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), [(1, 0)].into());
}

/// Only the record that crashes its function becomes a dead letter. A retry with a function that does not crash yields
/// the expected output.
fn poison(context: &TestContext<'_>, is_kept: bool) {
    let (batch, record) = (3, 7);
    let rules = [FaultRule::always(batch, Fault::Poison(record))];
    let run = context.new_run(RunSettings {
        error_column: is_kept,
        ..usual(&rules)
    });
    let Start { end, events } = context.start(&run, StartOptions::default());
    let processed = end.expect("the run completes");
    assert_eq!(processed.receipts.records(), RECORDS);
    let failed: Vec<_> = processed
        .receipts
        .values()
        .filter(|r| r.failed > 0)
        .collect();
    let &[quarantined] = &failed[..] else {
        panic!("expected one failed record: {failed:?}");
    };
    let range = quarantined.range();
    assert_eq!(
        (range.batch, range.offset, range.records),
        (batch, record, 1)
    );
    assert_eq!((quarantined.failed, quarantined.quarantined), (1, 1));
    let letters = run.run.get(&RunDir::dead_letters_name(range));
    let letters = letters.expect("the run can be read");
    let letters = letters.expect("dead letters exist");
    let letters = String::from_utf8_lossy(&letters);
    assert!(letters.contains("it crashes its function"), "{letters}");
    assert!(events.finished().contains(&(batch, record)));
    if is_kept {
        check_kept(
            &run,
            &processed,
            &[batch * BATCH_SIZE + record],
            "it crashes its function",
        );
    }
    let extra = run.calls().values().sum::<u32>() - BATCHES as u32;
    let bound = 2.0 * (BATCH_SIZE as f64).log2() + 2.0;
    assert!(f64::from(extra) <= bound, "{extra} extra calls");
    // A second start does not process the record again.
    assert_eq!(
        context.start(&run, StartOptions::default()).events.reused(),
        BATCHES
    );
    run.set_faults(&[]);
    let format = run.job.parameters.output_format;
    let forgotten = run.run.forget(range, format);
    forgotten.expect("the run can be changed");
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), [(batch, record)].into());
}

/// If every call crashes, the run ends with the failure and without results.
fn every_call_crashes(context: &TestContext<'_>) {
    let rules: Vec<_> = (0..BATCHES)
        .map(|batch| FaultRule::always(batch, Fault::Crash(CrashPoint::Start)))
        .collect();
    let run = context.new_run(usual(&rules));
    let Start { end, events } = context.start(&run, StartOptions::default());
    let failure = match end {
        Err(DispatchError::CircuitOpen { failure, .. } | DispatchError::Batch { failure, .. }) => {
            failure
        }
        end => panic!("{end:?}"),
    };
    assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    assert!(events.finished().is_empty());
    run.set_faults(&[]);
    context.finish(&run);
}

/// A receipt that does not match any split of its batch is replaced.
fn mismatched_receipt(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[]));
    let done = context.finish(&run);
    let receipt = done.processed.receipts.get(2, 0);
    let receipt = receipt.expect("batch 2 is finished");
    let mut receipt = Receipt::clone(receipt);
    receipt.records += 1;
    let content = serde_json::to_vec(&receipt).expect("a receipt is always JSON");
    let name = RunDir::receipt_name(2, 0);
    run.run
        .replace(&name, content)
        .expect("the run can be changed");
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), [(2, 0)].into());
}

/// A truncated part is written again, and its batch does not count as reused.
fn damaged_part(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[]));
    let done = context.finish(&run);
    let receipt = done.processed.receipts.get(2, 0);
    let receipt = receipt.expect("batch 2 is finished");
    let name = RunDir::part_name(receipt.range(), run.job.parameters.output_format);
    run.run
        .replace(&name, "id,label")
        .expect("the run can be changed");
    let done = context.finish(&run);
    assert_eq!(done.events.finished(), [(2, 0)].into());
    assert_eq!(done.processed.reused.finished_batches(), BATCHES - 1);
}

fn cancelled(context: &TestContext<'_>) {
    // One batch hangs, so the run cannot end before it is cancelled.
    let run = context.new_run(usual(&[FaultRule::once(4, Fault::Hang)]));
    let options = StartOptions {
        cancel_after: Some(2),
        ..StartOptions::default()
    };
    let Start { end, events } = context.start(&run, options);
    assert!(matches!(end, Err(DispatchError::Cancelled)), "{end:?}");
    let finished = events.finished();
    assert!(finished.len() >= 2 && !finished.contains(&(4, 0)));
    let before = run.calls();
    // The hanging call may have been dropped before it reached the function.
    run.set_faults(&[]);
    let done = context.finish(&run);
    assert!(done.events.reused() >= finished.len() as u64);
    for range in finished {
        assert_eq!(run.calls()[&range], before[&range], "{range:?}");
    }
}

fn missing_receipt(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[]));
    context.finish(&run);
    run.delete_receipt(2, 0);
    let done = context.finish(&run);
    assert_eq!(done.events.reused(), BATCHES - 1);
    assert_eq!(done.events.finished(), [(2, 0)].into());
    let others = run.calls().into_iter().filter(|(range, _)| range.0 != 2);
    assert!(others.into_iter().all(|(_, calls)| calls == 1));
}

fn stop_on_bad_record(context: &TestContext<'_>) {
    let bad = BAD_RECORD / BATCH_SIZE;
    let settings = RunSettings {
        malformed: Malformed::One,
        ..usual(&[])
    };
    let run = context.new_run(settings);
    let options = StartOptions {
        stop_on_bad_record: true,
        ..StartOptions::default()
    };
    // The second start finds it among the reused receipts.
    for _ in 0..2 {
        let Start { end, .. } = context.start(&run, options);
        assert!(
            matches!(end, Err(DispatchError::BadRecord { batch }) if batch == bad),
            "{end:?}"
        );
    }
    assert_eq!(run.calls()[&(bad, 0)], 1);
    context.finish(&run);
    assert_eq!(run.calls()[&(bad, 0)], 1);
}

/// The budget covers some of the calls, one of which fails. Finished batches stay finished, and the next start processes
/// the rest.
fn budget_exhausted(context: &TestContext<'_>) {
    let max_calls = 4;
    let rules = [FaultRule::once(1, Fault::Fail(FailureKind::Retryable))];
    let run = context.new_run(usual(&rules));
    let options = StartOptions {
        max_calls: Some(max_calls),
        ..StartOptions::default()
    };
    let Start { end, events } = context.start(&run, options);
    let Err(DispatchError::Budget(shortage)) = end else {
        panic!("{end:?}");
    };
    let finished = events.finished();
    assert_eq!(finished.len() as u32, max_calls - 1);
    assert_eq!(run.calls().values().sum::<u32>(), max_calls);
    assert_eq!((shortage.calls, shortage.left), (1, BATCHES - 3));
    let limit = f64::from(max_calls) * CALL_USD;
    assert!((shortage.spent_usd - limit).abs() < 1e-9, "{shortage}");
    let done = context.finish(&run);
    assert_eq!(done.events.reused(), 3);
    assert!(done.events.finished().is_disjoint(&finished));
}

/// The budget also covers calls that repeat a batch with a damaged part.
fn budget_exhausted_by_a_part(context: &TestContext<'_>) {
    let run = context.new_run(usual(&[FaultRule::once(1, Fault::WrongChecksum)]));
    let options = StartOptions {
        max_calls: Some(BATCHES as u32),
        ..StartOptions::default()
    };
    let Start { end, .. } = context.start(&run, options);
    match end {
        Err(DispatchError::Budget(shortage)) => assert_eq!(shortage.left, 1),
        end => panic!("{end:?}"),
    }
    assert_eq!(context.finish(&run).events.finished(), [(1, 0)].into());
}
