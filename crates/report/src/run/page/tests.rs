use shoal_job::Determinism;

use crate::fixture::{Scene, receipt};
use crate::{CallHistory, Recorded, RunReport};

fn report(scene: &Scene) -> RunReport {
    RunReport::of(Recorded {
        job: &scene.job,
        run: "reviews-ebcf50ee",
        receipts: &scene.receipts,
        history: CallHistory::of(&scene.events),
        dead_letters: &[],
        dead_letters_total: 0,
        bill: None,
        command: "shoal run".into(),
    })
}

fn one_batch(change: fn(&mut Scene, &mut shoal_job::wire::Receipt)) -> RunReport {
    let mut scene = Scene::new(1, 10);
    let mut done = receipt(0, "a", 0, 1_000.0);
    change(&mut scene, &mut done);
    scene
        .started(0, "local", 1)
        .called(0, 0, 1, 0)
        .finished(1_000, 0, done);
    report(&scene)
}

#[test]
fn an_embedding_has_tokens_and_an_engine_but_no_accuracy() {
    let report = one_batch(|scene, done| {
        scene.job.function.task = [("name".to_owned(), "embed".into())].into_iter().collect();
        done.metrics.add(&["truncated"], 3);
    });
    let page = report.markdown();
    for expected in [
        "| Tokens | 1,000 | 3 records cut at 512 tokens |",
        "| Task | embed |",
        "| Engine | int8 on avx2 |",
        "| tokenize | 30 ms | 3.0 % |",
        "byte-identical",
    ] {
        assert!(page.contains(expected), "{expected} is missing in {page}");
    }
    assert!(
        !page.contains("Accuracy") && !page.contains("gold"),
        "{page}"
    );
}

#[test]
fn a_program_has_neither_tokens_nor_a_precision() {
    let report = one_batch(|scene, done| {
        let function = &mut scene.job.function;
        function.kind = "program".into();
        function.reference = "./summarize.py".into();
        function.unit = "rows".into();
        function.determinism = Determinism::PerBatch;
        function.settings.clear();
        function.task.clear();
        (done.units, done.engine) = (10, "python 3.13".into());
        done.timings.stages = Default::default();
        done.timings.stages.add("program", 930.0);
        done.metrics.add(&["retried"], 2);
    });
    let page = report.markdown();
    for expected in [
        "| Function | ./summarize.py (program) |",
        "| Engine | python 3.13 |",
        "| program | 930 ms | 93.0 % |",
        "may depend on how the records were grouped",
    ] {
        assert!(page.contains(expected), "{expected} is missing in {page}");
    }
    for absent in ["okens", "int8", "| Task |", "Accuracy", "model"] {
        assert!(!page.contains(absent), "{absent} is in {page}");
    }
    let csv = report.csv();
    let header = csv.lines().next().unwrap();
    assert!(
        header.contains(",failed,rows,retried,init_ms,read_ms,program_ms,write_ms,"),
        "{header}"
    );
}
