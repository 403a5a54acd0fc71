use proptest::prelude::*;
use shoal_job::Receipts;

use super::*;
use crate::fixture::{NOON, Scene, receipt};

fn fold(events: &[(u64, Event)]) -> RunState {
    let mut state = RunState::default();
    for (at, event) in events {
        let _ = state.apply(*at, event);
    }
    state
}

fn planned() -> Event {
    Event::Planned {
        records: 20,
        batches: 2,
        notes: Vec::new(),
    }
}

#[test]
fn counters_follow_the_events() {
    let mut scene = Scene::new(2, 10);
    scene
        .emit(0, planned())
        .started(1_000, "lambda", 2)
        .called(1_000, 0, 1, 0)
        .called(1_000, 1, 1, 1);
    let state = fold(&scene.events);
    assert_eq!((state.running(), state.batches_waiting()), (2, 0));
    assert_eq!(state.records_per_second(NOON + 1_000, 0), None);
    let mut with_failures = receipt(0, "a", 1_000, 900.0);
    (with_failures.failed, with_failures.quarantined) = (2, 1);
    scene
        .failed(1_500, 1, 1, FailureKind::Throttled, "429")
        .finished(2_000, 0, with_failures);
    let state = fold(&scene.events);
    let answered = Answers {
        batches: 1,
        records: 10,
        failed: 2,
        quarantined: 1,
    };
    assert_eq!(state.answered, answered);
    assert_eq!((state.running(), state.throttled_calls), (0, 1));
    assert_eq!(state.records_per_second(NOON + 3_000, 0), Some(5.0));
    assert_eq!(state.records_per_second(NOON + 3_000, 4), Some(7.0));
    assert_eq!(state.phase, Phase::Dispatching);
    // The next start counts from what the first one left.
    scene
        .emit(3_000, Event::Cancelled)
        .started(9_000, "lambda", 2);
    let state = fold(&scene.events);
    assert_eq!(state.answered, Answers::default());
    assert_eq!((state.records_done(), state.batches_waiting()), (10, 1));
    assert_eq!(state.starts[0].end, End::Cancelled);
}

#[test]
fn records_inside_calls_in_flight_are_estimated_by_the_answered_ones() {
    let mut scene = Scene::new(2, 10);
    scene
        .emit(0, planned())
        .started(1_000, "lambda", 2)
        .called(1_000, 0, 1, 0);
    // Nothing is known before the first answer.
    assert_eq!(fold(&scene.events).records_running(NOON + 2_000), 0);
    scene
        .finished(2_000, 0, receipt(0, "a", 1_000, 900.0))
        .called(2_000, 1, 1, 0);
    let state = fold(&scene.events);
    assert_eq!(state.records_running(NOON + 2_500), 5);
    // It may take longer.
    assert_eq!(state.records_running(NOON + 9_000), 9);
    scene.finished(9_000, 0, receipt(1, "a", 2_000, 900.0));
    assert_eq!(fold(&scene.events).records_running(NOON + 9_000), 0);
}

/// Two starts of 3 s and 1 s, with an hour between them.
#[test]
fn time_between_starts_is_not_worked() {
    let mut scene = Scene::new(2, 10);
    scene
        .emit(0, planned())
        .started(1_000, "local", 1)
        .called(4_000, 0, 1, 0)
        .emit(3_603_000, planned())
        .started(3_604_000, "local", 1)
        .emit(
            3_605_000,
            Event::Completed {
                results: 20,
                failed: 0,
            },
        );
    assert_eq!(fold(&scene.events).seconds_at_work(), 4.0);
    assert_eq!(RunState::default().seconds_at_work(), 0.0);
}

#[test]
fn failed_calls_are_timed_from_their_call() {
    let mut scene = Scene::new(2, 10);
    scene
        .called(0, 0, 1, 0)
        .called(10, 1, 1, 1)
        .failed(500, 0, 1, FailureKind::Crashed, "boom")
        .failed(600, 1, 1, FailureKind::Throttled, "429")
        .called(700, 0, 2, 0)
        .failed(900, 0, 2, FailureKind::TimedOut, "no answer");
    let state = fold(&scene.events);
    let failed = FailedCalls {
        count: 2,
        timed: 2,
        ms: 700,
    };
    assert_eq!(state.failed_calls, failed);
    assert_eq!(state.calls_of_unknown_cost(), 2);
    assert_eq!(state.last_failure.as_deref(), Some("no answer"));
    // The last call has no answer yet.
    assert_eq!(fold(&scene.events[..5]).calls_of_unknown_cost(), 2);
}

#[test]
fn an_answer_after_the_end_of_its_start_belongs_to_its_call() {
    let mut scene = Scene::new(2, 10);
    scene
        .started(0, "http", 2)
        .called(0, 0, 1, 0)
        .called(0, 1, 1, 1)
        .emit(500, Event::Cancelled);
    assert_eq!(fold(&scene.events).calls_of_unknown_cost(), 2);
    scene
        .started(9_000, "http", 2)
        .called(9_000, 1, 1, 0)
        .finished(9_500, 1, receipt(0, "a", 100, 2_000.0));
    let history = CallHistory::of(&scene.events);
    assert_eq!(history.state().calls_of_unknown_cost(), 2);
    let calls = history.finish(&scene.receipts);
    let outcomes: Vec<_> = calls
        .invocations
        .iter()
        .map(|call| (call.start, call.batch, call.outcome))
        .collect();
    assert_eq!(
        outcomes,
        [
            (1, 1, Outcome::Unanswered),
            (1, 0, Outcome::Done),
            (2, 1, Outcome::Unanswered),
        ]
    );
}

/// The same batch and attempt in two starts.
#[test]
fn an_answer_belongs_to_the_call_in_flight() {
    let mut scene = Scene::new(1, 10);
    scene
        .started(0, "http", 1)
        .called(0, 0, 1, 0)
        .emit(500, Event::Cancelled)
        .started(9_000, "http", 1)
        .called(9_000, 0, 1, 0)
        .finished(9_900, 0, receipt(0, "a", 9_100, 700.0));
    let history = CallHistory::of(&scene.events);
    assert_eq!(history.state().calls_of_unknown_cost(), 1);
    let outcomes = history.invocations().iter().map(|call| call.outcome);
    assert_eq!(
        outcomes.collect::<Vec<_>>(),
        [Outcome::Unanswered, Outcome::Done]
    );
    assert_eq!(history.invocations()[1].waited_ms, Some(900));
}

#[test]
fn different_failures_are_bounded() {
    let mut scene = Scene::new(1, 10);
    for attempt in 1..100 {
        let reason = format!("reason {attempt}");
        scene.called(u64::from(attempt), 0, attempt, 0).failed(
            u64::from(attempt),
            0,
            attempt,
            FailureKind::Crashed,
            &reason,
        );
    }
    let failures = fold(&scene.events).failures;
    assert_eq!(failures.len(), MOST_FAILURES + 1);
    assert_eq!(failures.last().unwrap().attempts, 79);
}

#[test]
fn a_start_that_fails_while_planning_leaves_the_one_before_it_alone() {
    let mut scene = Scene::new(1, 10);
    scene
        .started(0, "local", 1)
        .called(0, 0, 1, 0)
        .emit(1_000, Event::Planning { records: 0 })
        .emit(500_000, Event::Cancelled);
    let state = fold(&scene.events);
    assert_eq!(state.phase, Phase::Ended(End::Cancelled));
    assert_eq!((state.starts.len(), state.starts[0].end), (1, End::Open));
    assert_eq!(state.seconds_at_work(), 0.0);
}

fn any_event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(FailureKind::Throttled),
        Just(FailureKind::Crashed),
        Just(FailureKind::Refused)
    ];
    (0..17_u8, 0..3_u64, 1..3_u32, 0..3_usize, kind).prop_map(
        |(which, batch, attempt, worker, kind)| {
            let ms = batch * 7;
            match which {
                0 => Event::Planning { records: 0 },
                1 => planned(),
                2 => Event::Started {
                    backend: "http".into(),
                    concurrency: 3,
                    reused_batches: 0,
                    reused_records: 0,
                },
                3..7 => Event::Dispatched {
                    batch,
                    offset: 0,
                    until: None,
                    attempt,
                    worker,
                    second: false,
                },
                7..10 => {
                    let mut receipt = receipt(batch, "a", ms, 5.0 + batch as f64);
                    receipt.attempt = attempt;
                    let receipt = receipt.into();
                    Event::Finished { worker, receipt }
                }
                10 => Event::Failed {
                    batch,
                    offset: 0,
                    attempt,
                    worker,
                    kind,
                    reason: "no".into(),
                    retry: true,
                },
                11 => Event::Superseded {
                    batch,
                    offset: 0,
                    attempt,
                    worker,
                },
                12 => Event::Waiting { batch, attempt, ms },
                13 => Event::Held { ms },
                14 => Event::Verifying { parts: 1 },
                15 => Event::Cancelled,
                _ => Event::Completed {
                    results: 20,
                    failed: 0,
                },
            }
        },
    )
}

prop_compose! {
    fn any_events()(steps in prop::collection::vec((1..20_u64, any_event()), 0..60)) -> Vec<(u64, Event)> {
        let mut now = NOON;
        let timed = steps.into_iter().map(|(step, event)| {
            now += step;
            (now, event)
        });
        timed.collect()
    }
}

proptest! {
    #[test]
    fn one_event_at_a_time_equals_all_at_once_in_any_order(
        (events, shuffled) in any_events().prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
    ) {
        let mut history = CallHistory::default();
        for (at, event) in &events {
            history.apply(*at, event);
        }
        let at_once = CallHistory::of(&shuffled);
        prop_assert_eq!(history.state(), at_once.state());
        prop_assert_eq!(history.state(), &fold(&events));
        let (one, other) = (history.finish(&Receipts::default()), at_once.finish(&Receipts::default()));
        prop_assert_eq!(one.invocations, other.invocations);
    }

    #[test]
    fn each_call_is_in_flight_or_has_ended_once(events in any_events()) {
        let mut state = RunState::default();
        let (mut called, mut answered) = (0, 0);
        for (at, event) in &events {
            let change = state.apply(*at, event);
            called += usize::from(matches!(event, Event::Dispatched { .. }));
            answered += usize::from(change.answered.is_some());
            prop_assert_eq!(called, answered + state.in_flight.len() + state.unanswered.len());
            for lost in &change.unanswered {
                prop_assert!(state.unanswered.contains(lost));
            }
        }
        prop_assert!(state.seconds_at_work() <= events.len() as f64 * 0.02);
    }
}
