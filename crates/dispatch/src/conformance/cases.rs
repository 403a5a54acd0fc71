//! What every backend must do.

use std::collections::BTreeSet;
use std::time::Duration;

use shoal_job::RunDir;
use shoal_job::wire::FailureKind;

use super::scene::{ATTEMPTS, BAD_RECORD, CALL_USD, Options, RECORDS, Setting, Settings, Start};
use super::{Fault, Moment, Rule};
use crate::DispatchError;

const BATCH_SIZE: u64 = 10;
const BATCHES: u64 = RECORDS / BATCH_SIZE;

/// A case.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) run: fn(&Setting<'_>),
}

macro_rules! cases {
    ($($name:literal => $run:expr,)*) => {
        /// All of them.
        pub(super) const ALL: &[Case] = &[$(Case { name: $name, run: $run }),*];
    };
}

cases! {
    "batches of 1" => |setting| success(setting, 1),
    "batches of 7" => |setting| success(setting, 7),
    "one batch" => |setting| success(setting, RECORDS),
    "a dead letter" => dead_letter,
    "an error that passes" => passing_error,
    "an error for good" => lasting_error,
    "errors until no attempt is left" => exhausted,
    "crash" => crash,
    "crash between part and receipt" => crash_before_receipt,
    "answer lost" => lost_answer,
    "timeout" => timeout,
    "throttling" => throttling,
    "called twice at once" => twice,
    "wrong checksum" => wrong_checksum,
    "straggler" => straggler,
    "cut batches" => cut,
    "a hole in a cut batch" => hole,
    "a record that kills its function" => poison,
    "a function that dies of everything" => hopeless,
    "a foreign receipt" => foreign_receipt,
    "a damaged part" => damaged_part,
    "cancelled, then gone on with" => cancelled,
    "one receipt missing" => one_missing,
    "stop at a bad record" => stop_on_bad_record,
    "out of money, then gone on with" => out_of_money,
    "out of money for a damaged part" => out_of_money_for_a_part,
}

/// A run of batches of [`BATCH_SIZE`] records.
fn usual(rules: &[Rule]) -> Settings<'_> {
    Settings {
        batch_size: BATCH_SIZE,
        is_bad: false,
        rules,
    }
}

/// Every batch whole.
fn all(batches: u64) -> BTreeSet<(u64, u64)> {
    (0..batches).map(|batch| (batch, 0)).collect()
}

fn success(setting: &Setting<'_>, batch_size: u64) {
    let settings = Settings {
        batch_size,
        ..usual(&[])
    };
    let scene = setting.scene(settings);
    let done = setting.finish(&scene);
    let batches = RECORDS.div_ceil(batch_size);
    assert_eq!(done.told.finished(), all(batches));
    assert_eq!(done.told.reused(), 0);
    assert!(done.processed.reused.is_empty());
    done.told.assert_failures(&[]);
    assert!(scene.calls().values().all(|calls| *calls == 1));
    // There is nothing left to do.
    let again = setting.finish(&scene);
    assert_eq!(again.told.reused(), batches);
    assert_eq!(again.told.finished(), all(0));
    assert!(scene.calls().values().all(|calls| *calls == 1));
}

fn dead_letter(setting: &Setting<'_>) {
    let settings = Settings {
        is_bad: true,
        ..usual(&[])
    };
    let done = setting.finish(&setting.scene(settings));
    let failed = done
        .processed
        .receipts
        .values()
        .map(|receipt| receipt.failed);
    assert_eq!(failed.sum::<u64>(), 1);
}

fn passing_error(setting: &Setting<'_>) {
    let rules = [
        Rule::once(1, Fault::Fail(FailureKind::Retryable)),
        Rule::times(4, 2, Fault::Fail(FailureKind::Retryable)),
    ];
    let scene = setting.scene(usual(&rules));
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), all(BATCHES));
    done.told.assert_failures(&[
        (1, 1, FailureKind::Retryable, true),
        (4, 1, FailureKind::Retryable, true),
        (4, 2, FailureKind::Retryable, true),
    ]);
    let calls = scene.calls();
    assert_eq!((calls[&(0, 0)], calls[&(1, 0)], calls[&(4, 0)]), (1, 2, 3));
}

fn lasting_error(setting: &Setting<'_>) {
    fails_for_good(setting, FailureKind::Input, 1);
}

fn exhausted(setting: &Setting<'_>) {
    fails_for_good(setting, FailureKind::Retryable, ATTEMPTS);
}

/// A batch fails; what others did stays, and the next start does the rest.
fn fails_for_good(setting: &Setting<'_>, kind: FailureKind, last: u32) {
    let scene = setting.scene(usual(&[Rule::always(3, Fault::Fail(kind))]));
    let Start { end, told } = setting.start(&scene, Options::default());
    match end {
        Err(DispatchError::Batch {
            batch: 3,
            attempt,
            failure,
        }) => {
            assert_eq!(failure.kind, kind, "{failure}");
            if setting.stand.tells_attempts() {
                assert_eq!(attempt, last);
            }
        }
        end => panic!("batch 3 fails, and not: {end:?}"),
    }
    assert_eq!(scene.calls()[&(3, 0)], last);
    let finished = told.finished();
    assert!(!finished.contains(&(3, 0)));
    let before = scene.calls();
    scene.rewrite(&[]);
    let done = setting.finish(&scene);
    assert!(done.told.reused() >= finished.len() as u64);
    let calls = scene.calls();
    for range in finished {
        assert_eq!(calls[&range], before[&range], "{range:?} is worked on once");
    }
}

fn crash(setting: &Setting<'_>) {
    crashes(setting, Moment::Start, 2);
}

fn crash_before_receipt(setting: &Setting<'_>) {
    crashes(setting, Moment::BeforeReceipt, 2);
}

fn lost_answer(setting: &Setting<'_>) {
    // What it wrote is found, and not worked on again.
    crashes(setting, Moment::AfterReceipt, 1);
}

fn crashes(setting: &Setting<'_>, moment: Moment, calls: u32) {
    let scene = setting.scene(usual(&[Rule::once(2, Fault::Crash(moment))]));
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), all(BATCHES));
    if setting.stand.asks_before_it_calls_again() {
        assert_eq!(scene.calls()[&(2, 0)], calls);
        assert!(scene.calls().values().all(|made| *made <= calls));
    }
}

fn timeout(setting: &Setting<'_>) {
    // A single batch, so that no other call can be late on a machine that has no time.
    let rules = [Rule::once(0, Fault::Hang)];
    let settings = Settings {
        batch_size: RECORDS,
        ..usual(&rules)
    };
    let scene = setting.scene(settings);
    let options = Options {
        timeout: Some(Duration::from_millis(500)),
        ..Options::default()
    };
    let done = setting.finish_with(&scene, options);
    assert_eq!(done.told.finished(), all(1));
    if setting.stand.tells_attempts() {
        let first = done.told.failures().into_iter().next();
        assert_eq!(first, Some((0, 1, FailureKind::TimedOut, true)));
    }
    assert!(scene.calls()[&(0, 0)] >= 2);
}

fn throttling(setting: &Setting<'_>) {
    let rules = [
        Rule::times(0, 2, Fault::Throttle),
        Rule::once(BATCHES - 1, Fault::Throttle),
    ];
    let scene = setting.scene(usual(&rules));
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), all(BATCHES));
    // It says nothing of the batch, and does not count as an attempt at it.
    done.told.assert_failures(&[
        (0, 1, FailureKind::Throttled, true),
        (0, 1, FailureKind::Throttled, true),
        (BATCHES - 1, 1, FailureKind::Throttled, true),
    ]);
    assert!(done.processed.receipts.values().all(|r| r.attempt == 1));
}

fn twice(setting: &Setting<'_>) {
    let rules: Vec<_> = (0..BATCHES)
        .map(|batch| Rule::once(batch, Fault::Twice))
        .collect();
    let done = setting.finish(&setting.scene(usual(&rules)));
    assert_eq!(done.told.finished(), all(BATCHES));
}

fn wrong_checksum(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[Rule::once(1, Fault::WrongChecksum)]));
    let done = setting.finish(&scene);
    let mut finished = done.told.finished_ranges();
    finished.sort_unstable();
    let again = std::iter::once((1, 0));
    let mut expected: Vec<_> = all(BATCHES).into_iter().chain(again).collect();
    expected.sort_unstable();
    assert_eq!(finished, expected, "it is noticed, and made again");
    assert_eq!(scene.calls()[&(1, 0)], 2);
}

/// The first batch is not done before all others are, and keeps none of them waiting.
fn straggler(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[Rule::once(0, Fault::Last)]));
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), all(BATCHES));
    assert!(scene.calls().values().all(|calls| *calls == 1));
}

/// The pieces of a batch that is cut every 3 records.
fn ranges(batch: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..BATCH_SIZE).step_by(3).map(move |start| (batch, start))
}

fn cut(setting: &Setting<'_>) {
    let rules = [
        Rule::always(1, Fault::Cut(3)),
        Rule::once(BATCHES - 1, Fault::Cut(9)),
    ];
    let scene = setting.scene(usual(&rules));
    let done = setting.finish(&scene);
    let mut expected = all(BATCHES);
    expected.extend(ranges(1));
    expected.insert((BATCHES - 1, 9));
    assert_eq!(done.told.finished(), expected);
    let attempts = done
        .processed
        .receipts
        .values()
        .map(|receipt| receipt.attempt);
    assert_eq!(attempts.max(), Some(1), "the rest is a call of its own");
}

/// A receipt of a cut batch is lost; those of the other pieces stay, and what it was for is done again.
fn hole(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[Rule::always(1, Fault::Cut(3))]));
    setting.finish(&scene);
    for offset in [3, 0] {
        scene
            .run()
            .delete(&RunDir::receipt_name(1, offset))
            .expect("the run can be changed");
        let done = setting.finish(&scene);
        assert_eq!(done.told.reused(), BATCHES - 1);
        let kept = done.processed.reused.values().filter(|r| r.batch == 1);
        assert_eq!(kept.count(), ranges(1).count() - 1);
        assert_eq!(done.told.finished(), [(1, offset)].into());
    }
    // Now all that there is to do in one piece.
    scene.rewrite(&[]);
    scene
        .run()
        .delete(&RunDir::receipt_name(1, 0))
        .expect("the run can be changed");
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), [(1, 0)].into());
}

/// A record that kills every function which works on it goes to the dead letters, alone, and when it is tried again by a
/// function that it does not kill, all is as if nothing had been.
fn poison(setting: &Setting<'_>) {
    let (batch, record) = (3, 7);
    let scene = setting.scene(usual(&[Rule::always(batch, Fault::Poison(record))]));
    let Start { end, told } = setting.start(&scene, Options::default());
    let processed = end.expect("the run comes to its end");
    assert_eq!(processed.receipts.records(), RECORDS);
    let failed: Vec<_> = processed
        .receipts
        .values()
        .filter(|r| r.failed > 0)
        .collect();
    let &[quarantined] = &failed[..] else {
        panic!("one record fails: {failed:?}");
    };
    let range = quarantined.range();
    assert_eq!(
        (range.batch, range.offset, range.records),
        (batch, record, 1)
    );
    assert_eq!((quarantined.failed, quarantined.quarantined), (1, 1));
    let letters = scene.run().get(&RunDir::dead_letters_name(range));
    let letters = letters.expect("the run can be read").expect("it is there");
    let letters = String::from_utf8_lossy(&letters);
    assert!(letters.contains("it kills its function"), "{letters}");
    assert!(told.finished().contains(&(batch, record)));
    let extra = scene.calls().values().sum::<u32>() - BATCHES as u32;
    let bound = 2.0 * (BATCH_SIZE as f64).log2() + 2.0;
    assert!(f64::from(extra) <= bound, "{extra} extra calls");
    // What was written down for others is not written again.
    assert_eq!(
        setting.start(&scene, Options::default()).told.reused(),
        BATCHES
    );
    scene.rewrite(&[]);
    let format = scene.job().parameters.output_format;
    let forgotten = scene.run().forget(range, format);
    forgotten.expect("the run can be changed");
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), [(batch, record)].into());
}

/// Where nothing succeeds the run ends, says why, and buries next to nothing.
fn hopeless(setting: &Setting<'_>) {
    let rules: Vec<_> = (0..BATCHES)
        .map(|batch| Rule::always(batch, Fault::Crash(Moment::Start)))
        .collect();
    let scene = setting.scene(usual(&rules));
    let Start { end, told } = setting.start(&scene, Options::default());
    let failure = match end {
        Err(DispatchError::CircuitOpen { failure, .. } | DispatchError::Batch { failure, .. }) => {
            failure
        }
        end => panic!("{end:?}"),
    };
    assert_eq!(failure.kind, FailureKind::Crashed, "{failure}");
    assert!(told.finished().is_empty());
    scene.rewrite(&[]);
    setting.finish(&scene);
}

/// A receipt that is of no cut of its batch does not stand in the way.
fn foreign_receipt(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[]));
    let done = setting.finish(&scene);
    let mut receipt = done
        .processed
        .receipts
        .get(2, 0)
        .expect("it is done")
        .clone();
    receipt.records += 1;
    let content = serde_json::to_vec(&receipt).expect("a receipt is always JSON");
    let name = RunDir::receipt_name(2, 0);
    scene
        .run()
        .replace(&name, content)
        .expect("the run can be changed");
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), [(2, 0)].into());
}

/// A part that the store has lost in part is made again, and does not count as done before.
fn damaged_part(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[]));
    let done = setting.finish(&scene);
    let receipt = done.processed.receipts.get(2, 0).expect("it is done");
    let name = RunDir::part_name(receipt.range(), scene.job().parameters.output_format);
    scene
        .run()
        .replace(&name, "id,label")
        .expect("the run can be changed");
    let done = setting.finish(&scene);
    assert_eq!(done.told.finished(), [(2, 0)].into());
    assert_eq!(done.processed.reused.finished_batches(), BATCHES - 1);
}

fn cancelled(setting: &Setting<'_>) {
    // One that cannot be finished, so that the wish does not come too late.
    let scene = setting.scene(usual(&[Rule::once(4, Fault::Hang)]));
    let options = Options {
        cancel_after: Some(2),
        ..Options::default()
    };
    let Start { end, told } = setting.start(&scene, options);
    assert!(matches!(end, Err(DispatchError::Cancelled)), "{end:?}");
    let finished = told.finished();
    assert!(finished.len() >= 2 && !finished.contains(&(4, 0)));
    let before = scene.calls();
    // The call that was to hang may have been dropped before it reached the function.
    scene.rewrite(&[]);
    let done = setting.finish(&scene);
    assert!(done.told.reused() >= finished.len() as u64);
    for range in finished {
        assert_eq!(scene.calls()[&range], before[&range], "{range:?}");
    }
}

fn one_missing(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[]));
    setting.finish(&scene);
    scene
        .run()
        .delete(&RunDir::receipt_name(2, 0))
        .expect("the run can be changed");
    let done = setting.finish(&scene);
    assert_eq!(done.told.reused(), BATCHES - 1);
    assert_eq!(done.told.finished(), [(2, 0)].into());
    let others = scene.calls().into_iter().filter(|(range, _)| range.0 != 2);
    assert!(others.into_iter().all(|(_, calls)| calls == 1));
}

fn stop_on_bad_record(setting: &Setting<'_>) {
    let bad = BAD_RECORD / BATCH_SIZE;
    let settings = Settings {
        is_bad: true,
        ..usual(&[])
    };
    let scene = setting.scene(settings);
    let options = Options {
        stop_on_bad_record: true,
        ..Options::default()
    };
    // The second start finds it among what the first one did.
    for _ in 0..2 {
        let Start { end, .. } = setting.start(&scene, options);
        assert!(
            matches!(end, Err(DispatchError::BadRecord { batch }) if batch == bad),
            "{end:?}"
        );
    }
    assert_eq!(scene.calls()[&(bad, 0)], 1);
    setting.finish(&scene);
    assert_eq!(scene.calls()[&(bad, 0)], 1);
}

/// A budget pays for some of the calls, one of which fails; what they did stays, and the next start does the rest.
fn out_of_money(setting: &Setting<'_>) {
    let most_calls = 4;
    let rules = [Rule::once(1, Fault::Fail(FailureKind::Retryable))];
    let scene = setting.scene(usual(&rules));
    let options = Options {
        most_calls: Some(most_calls),
        ..Options::default()
    };
    let Start { end, told } = setting.start(&scene, options);
    let Err(DispatchError::Budget(shortage)) = end else {
        panic!("{end:?}");
    };
    let finished = told.finished();
    assert_eq!(finished.len() as u32, most_calls - 1);
    assert_eq!(scene.calls().values().sum::<u32>(), most_calls);
    assert_eq!((shortage.calls, shortage.left), (1, BATCHES - 3));
    let limit = f64::from(most_calls) * CALL_USD;
    assert!((shortage.spent_usd - limit).abs() < 1e-9, "{shortage}");
    let done = setting.finish(&scene);
    assert_eq!(done.told.reused(), 3);
    assert!(done.told.finished().is_disjoint(&finished));
}

/// A part that has to be made again is paid for again.
fn out_of_money_for_a_part(setting: &Setting<'_>) {
    let scene = setting.scene(usual(&[Rule::once(1, Fault::WrongChecksum)]));
    let options = Options {
        most_calls: Some(BATCHES as u32),
        ..Options::default()
    };
    let Start { end, .. } = setting.start(&scene, options);
    match end {
        Err(DispatchError::Budget(shortage)) => assert_eq!(shortage.left, 1),
        end => panic!("{end:?}"),
    }
    assert_eq!(setting.finish(&scene).told.finished(), [(1, 0)].into());
}
