use shoal_estimate::{Architecture, Basis, Bill, Prices, Usage};
use shoal_job::Event;
use shoal_job::wire::FailureKind;

use super::*;
use crate::fixture::{NOON, Scene, cold, receipt};
use crate::fold::{CallHistory, End};
use crate::time::{Mark, MarkKind};

fn report(scene: &Scene) -> RunReport {
    report_with(scene, None)
}

fn report_with(scene: &Scene, bill: Option<Bill>) -> RunReport {
    RunReport::of(Recorded {
        job: &scene.job,
        run: "reviews-ebcf50ee",
        receipts: &scene.receipts,
        history: CallHistory::of(&scene.events),
        dead_letters: &[serde_json::json!({
            "id": "r7", "row": 6, "file": "/data/reviews.csv", "line": 8, "reason": "the text is empty"
        })],
        dead_letters_total: scene.receipts.values().map(|receipt| receipt.failed).sum(),
        bill,
        command: "shoal run /data/reviews.csv -o /data/labels.csv".into(),
    })
}

/// Two starts an hour apart: a cold start, a throttled call, a crash, two unanswered calls, a batch in two parts, and a batch
/// that is processed again.
fn eventful() -> Scene {
    let mut scene = Scene::new(4, 10);
    scene
        .started(0, "lambda", 2)
        .called(0, 0, 1, 0)
        .called(0, 1, 1, 1)
        .failed(20, 1, 1, FailureKind::Throttled, "Rate exceeded")
        .called(50, 1, 1, 1)
        .finished(1_100, 0, cold(receipt(0, "a", 100, 1_000.0), 80.0))
        .called(1_100, 2, 1, 0)
        .failed(
            1_500,
            1,
            1,
            FailureKind::Crashed,
            "the function crashed: boom",
        )
        .called(1_700, 1, 2, 1)
        .finished(2_200, 0, with_bad_record(receipt(2, "a", 1_150, 1_000.0)))
        .called(2_250, 3, 1, 0)
        .emit(2_500, Event::Cancelled);
    let hour = 3_600_000;
    scene
        .started(hour + 2_500, "lambda", 2)
        .called(hour + 2_500, 1, 1, 0)
        .called(hour + 2_500, 3, 1, 1)
        .finished(
            hour + 3_600,
            1,
            range(receipt(3, "b", hour + 2_550, 1_000.0), 0, 6, 4),
        )
        .called_for_rest(hour + 3_600, 3, 6, 1)
        .finished(hour + 4_000, 0, receipt(1, "a", hour + 2_600, 1_300.0))
        .called(hour + 4_000, 0, 1, 0)
        .finished(
            hour + 4_200,
            1,
            range(receipt(3, "b", hour + 3_650, 500.0), 6, 4, 0),
        )
        .finished(hour + 4_900, 0, receipt(0, "a", hour + 4_050, 800.0));
    let end = Event::Completed {
        results: 39,
        failed: 1,
    };
    scene.emit(hour + 5_000, end);
    scene
}

fn with_bad_record(mut receipt: shoal_job::wire::Receipt) -> shoal_job::wire::Receipt {
    receipt.failed = 1;
    receipt
}

fn range(
    mut receipt: shoal_job::wire::Receipt,
    offset: u64,
    records: u64,
    remaining: u64,
) -> shoal_job::wire::Receipt {
    (receipt.offset, receipt.records, receipt.remaining) = (offset, records, remaining);
    receipt
}

fn bill() -> Bill {
    let usage = Usage {
        compute_gb_s: 10.0,
        requests: 6.0,
        ..Usage::none("us-east-1", Architecture::X86, Basis::Measured)
    };
    usage.bill(&Prices::aws()).unwrap()
}

fn close(found: f64, by_hand: f64) {
    assert!(
        (found - by_hand).abs() < 1e-9,
        "found {found}, expected {by_hand}"
    );
}

#[test]
fn totals_match_those_computed_by_hand() {
    let report = report(&eventful());
    let s = &report.summary;
    assert_eq!(
        (s.records, s.results, s.failed_records, s.units),
        (40, 39, 1, 5_000)
    );
    assert_eq!((s.batches, s.finished_batches, s.cut_short), (4, 4, 1));
    assert_eq!(
        (
            s.invocations,
            s.done,
            s.duplicates,
            s.failed_attempts,
            s.unanswered
        ),
        (9, 5, 1, 1, 2)
    );
    assert_eq!(
        (s.retries, s.throttled, s.cold_starts, s.environments),
        (1, 1, 1, 2)
    );
    // From noon to the output; at work 2.5 s in the first start and 2.4 s, to the last answer, in the second.
    close(s.wall_seconds, 3_605.0);
    close(s.working_seconds, 4.9);
    // Done 1 + 1 + 1 + 0.5 + 1.3, duplicate 0.8, failed 1.45, unanswered 0.8 + 0.25.
    close(s.function_seconds, 8.1);
    close(s.records_per_second.unwrap(), 40.0 / 4.9);
    close(s.units_per_second.unwrap(), 5_000.0 / 4.9);
    close(s.mean_functions.unwrap(), 8.1 / 4.9);
    assert_eq!((s.peak_functions, s.billed_seconds), (2, None));
    assert_eq!(s.peak_memory_bytes, Some(60_000_000));
}

#[test]
fn starts_and_the_pause_between_them() {
    let report = report(&eventful());
    let starts: Vec<_> = report
        .starts
        .iter()
        .map(|start| {
            (
                start.number,
                start.finished,
                start.reused_batches,
                start.end,
            )
        })
        .collect();
    assert_eq!(
        starts,
        [(1, 2, 0, End::Cancelled), (2, 4, 2, End::Completed)]
    );
    close(report.starts[0].seconds, 2.5);
    close(report.starts[1].seconds, 2.4);
    let pause = Pause {
        at: 2.5,
        seconds: 3_600.0,
    };
    assert_eq!(report.pauses, [pause]);
}

#[test]
fn a_start_counts_once_its_work_has_begun() {
    let stopped = || Event::Stopped {
        reason: "no space left".into(),
    };
    let planned = || Event::Planned {
        records: 10,
        batches: 1,
        notes: Vec::new(),
    };
    let mut scene = Scene::new(1, 10);
    scene
        .emit(0, planned())
        .started(10, "local", 1)
        .called(20, 0, 1, 0)
        .emit(500, stopped())
        .emit(1_000, planned())
        .emit(1_100, stopped());
    let report = report(&scene);
    let ends: Vec<_> = report.starts.iter().map(|start| start.end).collect();
    assert_eq!(ends, [End::Stopped]);
    close(report.starts[0].seconds, 0.49);
}

/// Durations of 0.5, 1, 1, 1 and 1.3 s: position 4 × 0.95 = 3.8 lies between 1 and 1.3.
#[test]
fn batch_times_match_those_computed_by_hand() {
    let report = report(&eventful());
    let spread = report.batch_seconds.unwrap();
    assert_eq!(spread.count, 5);
    close(spread.mean, 0.96);
    close(spread.p50, 1.0);
    close(spread.p95, 1.24);
    close(spread.p99, 1.288);
    assert_eq!(report.cold_batch_seconds.unwrap().count, 1);
    assert_eq!(report.warm_batch_seconds.unwrap().count, 4);
    let stages = report.stages.stages.iter();
    let stages: Vec<_> = stages
        .map(|stage| (stage.name.as_str(), (stage.seconds * 1e6).round()))
        .collect();
    assert_eq!(
        stages,
        [
            ("read", 96_000.0),
            ("tokenize", 144_000.0),
            ("model", 4_320_000.0),
            ("write", 192_000.0),
            ("other", 48_000.0)
        ]
    );
    close(report.stages.init_seconds, 0.08);
}

/// The steps are 0.05 s. In that from 1.15 to 1.20 s one call failed later and batch 2 began.
#[test]
fn the_series_adds_up() {
    let report = report(&eventful());
    let series = &report.series;
    close(series.step_seconds, 0.05);
    assert_eq!(series.points.len(), 98);
    let at = |seconds: f64| &series.points[(seconds / 0.05_f64).round() as usize];
    assert_eq!((at(0.0).functions, at(0.0).most_functions), (0.0, 0));
    close(at(1.15).functions, 2.0);
    close(at(1.15).records_per_second, 10.0);
    close(at(1.10).functions, 1.0);
    let functions: f64 = series
        .points
        .iter()
        .map(|point| point.functions * 0.05)
        .sum();
    close(functions, 8.1);
    let records: f64 = series
        .points
        .iter()
        .map(|point| point.records_per_second * 0.05)
        .sum();
    close(records, 40.0);
}

#[test]
fn lanes_are_environments_or_calls_without_one() {
    let timeline = report(&eventful()).timeline;
    assert!(!timeline.is_merged);
    let lanes: Vec<_> = timeline
        .lanes
        .iter()
        .map(|lane| {
            (
                lane.name.as_str(),
                lane.environments,
                lane.invocations,
                lane.cold_starts,
            )
        })
        .collect();
    // The crashed call, and the two without an answer of which one lasts while the other is made.
    assert_eq!(
        lanes,
        [
            ("a", 1, 4, 1),
            ("b", 1, 2, 0),
            ("not recorded", 0, 2, 0),
            ("not recorded", 0, 1, 0)
        ]
    );
    let mark = Mark {
        from: 0.02,
        to: 0.1,
        kind: MarkKind::Cold,
    };
    let found = timeline.lanes[0].marks[1];
    assert_eq!(found.kind, mark.kind);
    close(found.from, mark.from);
    close(found.to, mark.to);
    assert_eq!(timeline.throttled.len(), 1);
}

#[test]
fn a_lost_answer_is_not_a_failure() {
    let mut scene = Scene::new(1, 10);
    scene
        .started(0, "http", 1)
        .called(0, 0, 1, 0)
        .failed(1_000, 0, 1, FailureKind::TimedOut, "no answer within 1 s")
        .called(1_500, 0, 2, 0)
        .finished(1_501, 0, receipt(0, "a", 10, 900.0));
    let report = report(&scene);
    let s = &report.summary;
    assert_eq!(
        (s.invocations, s.done, s.failed_attempts, s.duplicates),
        (1, 1, 0, 0)
    );
    assert!(
        report.notes[0].contains("1 answer was lost"),
        "{:?}",
        report.notes
    );
}

#[test]
fn an_attempt_beside_an_unfinished_one_is_a_duplicate() {
    let mut scene = Scene::new(1, 10);
    scene
        .started(0, "http", 2)
        .called(0, 0, 1, 0)
        .failed(1_000, 0, 1, FailureKind::TimedOut, "no answer within 1 s")
        .called(1_500, 0, 2, 0)
        .finished(3_000, 0, receipt(0, "a", 10, 2_000.0));
    let report = report(&scene);
    let s = &report.summary;
    assert_eq!(
        (s.done, s.failed_attempts, s.duplicates, s.retries),
        (1, 0, 1, 1)
    );
    close(s.function_seconds, 2.0 + 1.5);
}

/// The part of batch 0 was lost: the part of the second invocation is in the output.
#[test]
fn the_receipt_without_a_part_in_the_output_is_the_duplicate() {
    let mut scene = Scene::new(1, 10);
    scene
        .started(0, "local", 1)
        .called(0, 0, 1, 0)
        .finished(1_000, 0, receipt(0, "a", 0, 1_000.0));
    scene.receipts = shoal_job::Receipts::default();
    scene
        .called(1_000, 0, 1, 0)
        .finished(3_000, 0, receipt(0, "a", 1_000, 2_000.0));
    let outcomes: Vec<_> = report(&scene)
        .invocations
        .iter()
        .map(|invocation| (invocation.seconds, invocation.outcome))
        .collect();
    assert_eq!(outcomes, [(1.0, Outcome::Duplicate), (2.0, Outcome::Done)]);
}

#[test]
fn a_wrong_clock_is_corrected_to_between_call_and_answer() {
    let mut scene = Scene::new(2, 10);
    scene
        .started(0, "http", 1)
        .called(0, 0, 1, 0)
        .finished(1_100, 0, receipt(0, "a", 3_600_000, 1_000.0))
        .called(1_100, 1, 1, 0);
    let mut behind = receipt(1, "a", 0, 1_000.0);
    behind.started_unix_ms = NOON - 60_000;
    scene.finished(2_200, 0, behind);
    let report = report(&scene);
    let began: Vec<_> = report
        .invocations
        .iter()
        .map(|invocation| invocation.began_unix_ms.unwrap() - NOON as f64)
        .collect();
    assert_eq!(began, [100.0, 1_100.0]);
    assert!(
        report.notes[0].contains("2 invocations began"),
        "{:?}",
        report.notes
    );
    assert!(report.notes[0].contains("1 h"), "{:?}", report.notes);
}

#[test]
fn receipts_without_a_beginning_end_with_their_answer() {
    let mut scene = Scene::new(1, 10);
    let mut old = receipt(0, "", 0, 400.0);
    old.started_unix_ms = 0;
    scene
        .started(0, "local", 1)
        .called(0, 0, 1, 0)
        .finished(1_000, 0, old);
    let report = report(&scene);
    let invocation = &report.invocations[0];
    close(invocation.began_unix_ms.unwrap() - NOON as f64, 600.0);
    assert_eq!(&*invocation.environment, "worker 0");
}

/// Workers of an array job: there are no calls, and two commands report the same receipt.
#[test]
fn work_without_a_call_is_counted_once() {
    let mut scene = Scene::new(2, 10);
    scene
        .started(0, "array", 2)
        .emit(5, Event::Detached { execution: None });
    scene.started(9_000, "array", 2);
    for at in [9_100, 9_200] {
        scene.finished(at, 0, receipt(0, "a", 2_000, 1_000.0));
    }
    // Its receipt was there before anybody looked.
    scene.receipts.insert(receipt(1, "b", 2_500, 1_000.0));
    let report = report(&scene);
    let s = &report.summary;
    assert_eq!((s.invocations, s.done, s.duplicates), (2, 2, 0));
    assert_eq!((s.peak_functions, s.records), (2, 20));
    close(s.wall_seconds, 9.2);
}

#[test]
fn a_function_that_continued_alone_answers_its_call() {
    let mut scene = Scene::new(1, 10);
    scene
        .started(0, "lambda", 1)
        .called(0, 0, 1, 0)
        .emit(500, Event::Cancelled);
    scene.receipts.insert(receipt(0, "a", 100, 2_000.0));
    let s = report(&scene).summary;
    assert_eq!((s.invocations, s.done, s.unanswered), (1, 1, 0));
    close(s.working_seconds, 2.1);
}

#[test]
fn a_run_without_results_has_a_report() {
    let scene = Scene::new(3, 10);
    let report = report(&scene);
    assert_eq!(report.summary.invocations, 0);
    assert!(
        report.notes[0].contains("0 of 3 batches"),
        "{:?}",
        report.notes
    );
    for text in [
        report.html(),
        report.markdown(),
        report.csv(),
        report.json(),
    ] {
        assert!(!text.is_empty() && !text.contains("NaN"));
    }
}

#[test]
fn reports_of_very_large_runs_are_small() {
    let batches = 100_000;
    let mut scene = Scene::new(batches, 10);
    scene.started(0, "lambda", 1_000);
    for batch in 0..batches {
        let (worker, round) = ((batch % 1_000) as usize, batch / 1_000);
        let began = round * 1_010 + batch % 7;
        scene.called(began, batch, 1, worker);
        let mut done = receipt(
            batch,
            &format!("environment {worker:08}"),
            began,
            900.0 + (batch % 97) as f64,
        );
        done.cold = round == 0;
        if batch % 1_003 == 0 {
            scene.failed(
                began + 500,
                batch,
                1,
                FailureKind::Crashed,
                &format!("crash {batch}"),
            );
            scene.called(began + 501, batch, 2, worker);
            done.attempt = 2;
            (done.started_unix_ms, done.timings.total) = (NOON + began + 501, 400.0);
        }
        scene.finished(began + 1_005, worker, done);
    }
    let report = report_with(&scene, Some(bill()));
    assert_eq!(report.summary.peak_functions, 1_000);
    assert!(
        report.timeline.lanes.len() <= 40,
        "{}",
        report.timeline.lanes.len()
    );
    assert!(report.failures.len() <= 21);
    let html = report.html();
    assert!(html.len() < 900_000, "{}", html.len());
    assert!(report.json().len() < 900_000);
    assert_eq!(
        report.csv().lines().count() as u64,
        1 + report.summary.invocations
    );
}

#[test]
fn a_report_has_the_accuracy() {
    let mut scene = Scene::new(1, 10);
    let mut done = receipt(0, "a", 0, 1_000.0);
    for (gold, label, records) in [("A", "A", 4), ("A", "B", 1), ("B", "A", 2), ("B", "B", 3)] {
        done.metrics.add(&["confusion", gold, label], records);
    }
    scene
        .started(0, "local", 1)
        .called(0, 0, 1, 0)
        .finished(1_000, 0, done);
    let accuracy = report(&scene).accuracy.unwrap();
    assert_eq!((accuracy.right, accuracy.of), (7, 10));
}

#[test]
fn a_bill_names_the_date_of_its_prices() {
    let report = report_with(&eventful(), Some(bill()));
    let cost = report.cost.as_ref().unwrap();
    // 10 GB-s at 0.0000166667 USD, and 6 requests at 0.20 USD a million.
    close(cost.usd, 10.0 * 1.666_67e-5 + 6.0 * 2e-7);
    close(cost.usd_per_million_records.unwrap(), cost.usd / 40.0 * 1e6);
    let html = report.html();
    assert!(html.contains("in us-east-1 on 2026-11-24") && html.contains("$0.000168"));
}

#[test]
fn text_forms() {
    let report = report_with(&eventful(), Some(bill()));
    insta::assert_snapshot!("markdown", report.markdown());
    insta::assert_snapshot!("csv", report.csv());
    let mut json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
    json["series"]["points"].as_array_mut().unwrap().truncate(3);
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&json).unwrap());
}

/// All text of a run is hostile.
#[test]
fn hostile_text_is_escaped() {
    let hostile =
        "\"'><script>alert(1)</script><!-- </style></svg> {{ x }} \u{0}\u{1b}[31m \u{202e} ";
    let mut scene = Scene::new(2, 10);
    scene.job.inputs = vec![hostile.into()];
    scene.job.output = hostile.into();
    scene.job.function.reference = hostile.into();
    let mut done = receipt(0, hostile, 100, 800.0);
    done.engine = hostile.into();
    done.metrics.add(&["confusion", hostile, hostile], 10);
    done.metrics.add(&[hostile], 10);
    done.timings.stages.add(hostile, 1.0);
    scene
        .started(0, hostile, 2)
        .called(0, 0, 1, 0)
        .finished(1_000, 0, done)
        .called(1_000, 1, 1, 0)
        .failed(1_100, 1, 1, FailureKind::Crashed, hostile);
    let letter = serde_json::json!({"id": hostile, "row": 1, "file": hostile, "reason": hostile});
    let report = RunReport::of(Recorded {
        job: &scene.job,
        run: hostile,
        receipts: &scene.receipts,
        history: CallHistory::of(&scene.events),
        dead_letters: &[letter],
        dead_letters_total: 1,
        bill: None,
        command: hostile.into(),
    });
    let html = report.html();
    crate::html::tests::check(&html);
    assert!(!html.contains("<script") && !html.contains(['\u{0}', '\u{1b}', '\u{202e}']));
    let markdown = report.markdown();
    let fenced = markdown.find("```").unwrap();
    assert!(!markdown[..fenced].contains("<script"), "{markdown}");
}

#[test]
fn spreadsheets_read_no_text_as_a_formula() {
    let mut scene = Scene::new(1, 10);
    scene.started(0, "http", 1).called(0, 0, 1, 0).failed(
        100,
        0,
        1,
        FailureKind::Crashed,
        "=HYPERLINK(\"http://x\")",
    );
    assert!(report(&scene).csv().contains("\"'=HYPERLINK("));
}

/// Beginnings are in whole milliseconds, durations in fractions of them.
#[test]
fn one_environment_is_one_function_at_work() {
    let mut scene = Scene::new(3, 10);
    scene.started(0, "local", 1);
    for (batch, began) in [(0, 0), (1, 10), (2, 20)] {
        scene.called(began, batch, 1, 0);
        scene.finished(began + 10, 0, receipt(batch, "process-1/0", began, 10.8));
    }
    let report = report(&scene);
    assert_eq!(report.summary.peak_functions, 1);
}
