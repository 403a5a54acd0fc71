//! Writes reports of synthetic runs into a folder: `sample_reports FOLDER`.

#[path = "../src/fixture.rs"]
mod fixture;
#[path = "../src/plan/fixture.rs"]
mod plan;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use fixture::{Scene, cold, receipt};
use serde_json::json;
use shoal_estimate::{
    Approach, Architecture, Basis, BatchSize, Bill, Comparison, PaperBaseline, Prices, Usage,
};
use shoal_job::Event;
use shoal_job::wire::FailureKind;
use shoal_report::{CallHistory, ComparisonReport, PlanReport, Recorded, RunReport};

fn main() -> std::io::Result<()> {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("usage: sample_reports FOLDER");
        std::process::exit(2);
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let mut noise = Noise(7);
    let runs = [
        ("small", small(&mut noise), None),
        (
            "cloud",
            cloud(&mut noise, 20_000, 1_000),
            Some(bill(20_000.0, 4.1)),
        ),
        ("resumed", resumed(&mut noise), Some(bill(160.0, 2.0))),
    ];
    for (name, scene, bill) in runs {
        write_run(folder, name, &scene, bill)?;
    }
    for (name, comparison) in [
        ("comparison", compared(true)),
        ("comparison-local", compared(false)),
    ] {
        let report = ComparisonReport::of(&comparison);
        write(
            folder,
            name,
            [
                report.html(),
                report.json(),
                report.csv(),
                report.markdown(),
            ],
        )?;
        for (figure, svg) in report.figures() {
            std::fs::write(folder.join(format!("{name}-{figure}.svg")), svg)?;
        }
    }
    for (name, deadline) in [
        ("plan", Some(10.0)),
        ("plan-local", None),
        ("plan-nothing-fits", Some(1.0)),
    ] {
        let plan = plan::plan(deadline);
        let report = PlanReport::of(&plan);
        write(
            folder,
            name,
            [
                report.html(),
                report.json(),
                report.csv(),
                report.markdown(),
            ],
        )?;
    }
    Ok(())
}

fn write_run(folder: &Path, name: &str, scene: &Scene, bill: Option<Bill>) -> std::io::Result<()> {
    let failed: u64 = scene.receipts.values().map(|receipt| receipt.failed).sum();
    let letters: Vec<_> = (0..failed.min(100))
        .map(|n| {
            json!({"id": format!("r{n:04}"), "row": n * 61 + 4, "file": "/data/reviews.csv", "line": n * 61 + 6,
                "reason": "the column \"text\" is empty"})
        })
        .collect();
    let report = RunReport::of(Recorded {
        job: &scene.job,
        run: &format!("reviews-{name}-ebcf50ee"),
        receipts: &scene.receipts,
        history: CallHistory::of(&scene.events),
        dead_letters: &letters,
        dead_letters_total: failed,
        bill,
        command: format!(
            "shoal run /data/reviews.csv -o /data/labels.csv --batch-size {} --label-column label",
            scene.job.parameters.batch_size
        ),
    });
    write(
        folder,
        name,
        [
            report.html(),
            report.json(),
            report.csv(),
            report.markdown(),
        ],
    )
}

fn write(folder: &Path, name: &str, forms: [String; 4]) -> std::io::Result<()> {
    for (form, ending) in forms.into_iter().zip(["html", "json", "csv", "md"]) {
        std::fs::write(folder.join(format!("{name}.{ending}")), form)?;
    }
    Ok(())
}

/// Four batches on two workers.
fn small(noise: &mut Noise) -> Scene {
    let mut scene = Scene::new(4, 50);
    scene.started(0, "local", 2);
    for batch in 0..4 {
        let (worker, began) = ((batch % 2) as usize, 2 + 140 * (batch / 2));
        let total = 120.0 + 15.0 * noise.next();
        let mut done = receipt(batch, &format!("4711-{worker}"), began, total);
        (done.records, done.units) = (50, 1_891);
        done.cold = batch < 2;
        for (gold, label, records) in [("NEGATIVE", 23, 2), ("POSITIVE", 2, 23)]
            .into_iter()
            .flat_map(|(gold, one, other)| [(gold, "NEGATIVE", one), (gold, "POSITIVE", other)])
        {
            done.metrics.add(&["confusion", gold, label], records);
        }
        scene.called(began, batch, 1, worker);
        scene.finished(began + total as u64 + 1, worker, done);
    }
    scene.events.sort_by_key(|(at, _)| *at);
    scene.emit(
        300,
        Event::Completed {
            results: 200,
            failed: 0,
        },
    );
    scene
}

/// Many batches on a platform that ramps up, with cold starts, throttled calls and attempts that fail.
fn cloud(noise: &mut Noise, batches: u64, functions: usize) -> Scene {
    let mut scene = Scene::new(batches, 50);
    scene.started(0, "lambda", functions);
    // When each function is free, and how many were begun.
    let mut free = BinaryHeap::new();
    let mut begun = 0;
    let mut now = 0;
    for batch in 0..batches {
        let may_begin = functions.min(200 + (now / 10_000) as usize * 250);
        let (at, worker, is_cold) = match free.peek() {
            Some(&Reverse((at, worker))) if begun >= may_begin || at <= now => {
                free.pop();
                (at, worker, false)
            }
            _ => {
                begun += 1;
                (now, begun - 1, true)
            }
        };
        now = now.max(at);
        let mut began = at;
        if is_cold && noise.next() < 0.2 {
            scene.called(at, batch, 1, worker);
            scene.failed(at + 30, batch, 1, FailureKind::Throttled, "Rate exceeded");
            began += 100;
        }
        let slow = if noise.next() > 0.995 { 3.0 } else { 1.0 };
        let total = (3_000.0 + 900.0 * noise.next() + 600.0 * noise.next()) * slow;
        let init = if is_cold {
            180.0 + 60.0 * noise.next()
        } else {
            0.0
        };
        began += 20 + init as u64;
        let mut attempt = 1;
        if noise.next() > 0.997 {
            scene.called(began, batch, 1, worker);
            scene.failed(
                began + 2_000,
                batch,
                1,
                FailureKind::Crashed,
                "the function crashed: out of memory",
            );
            (attempt, began) = (2, began + 3_000);
        }
        let mut done = receipt(
            batch,
            &format!("2026/11/24/[$LATEST]{worker:032x}"),
            began,
            total,
        );
        if is_cold {
            done = cold(done, init);
        }
        (done.records, done.units, done.attempt) = (50, 13_500, attempt);
        done.failed = u64::from(noise.next() > 0.995);
        done.metrics
            .add(&["truncated"], u64::from(noise.next() > 0.5) * 7);
        done.billed_ms = Some((total + init).ceil());
        done.sizing = Some(lambda().into());
        done.peak_memory_bytes = Some(182_000_000);
        let end = began + total as u64 + 15;
        scene.called(began - init as u64 - 20, batch, attempt, worker);
        scene.finished(end, worker, done);
        free.push(Reverse((end, worker)));
    }
    scene.events.sort_by_key(|(at, _)| *at);
    let last = scene.events.last().map_or(0, |(at, _)| *at - fixture::NOON);
    scene.emit(
        last + 2_000,
        Event::Completed {
            results: batches * 50,
            failed: 0,
        },
    );
    scene
}

/// Two starts hours apart: the first one is stopped, a batch is processed twice, some attempts fail.
fn resumed(noise: &mut Noise) -> Scene {
    let mut scene = Scene::new(80, 50);
    let names = ["vm-a-2201-0", "vm-a-2201-1", "vm-b-3307-0", "vm-b-3307-1"];
    let mut began = [5_u64; 4];
    scene.started(0, "http", 4);
    for batch in 0..81 {
        if batch == 34 {
            let (last, paused) = (began.into_iter().min().unwrap_or(0), 9_000_000);
            scene.called(last, 77, 1, 0);
            scene.emit(last + 1_500, Event::Cancelled);
            scene.started(last + paused, "http", 4);
            began = [last + paused + 10; 4];
        }
        let worker = (0..4).min_by_key(|&worker| began[worker]).unwrap_or(0);
        let total = 1_700.0 + 900.0 * noise.next();
        let mut at = began[worker];
        // The last one is a batch that was done before.
        let index = if batch == 80 { 17 } else { batch };
        let mut done = receipt(index, names[worker], at + 3, total);
        (done.records, done.units) = (50, 13_500);
        if [9, 41, 52].contains(&batch) {
            scene.called(at, index, 1, worker);
            let reason = if batch == 41 {
                "the worker closed the connection"
            } else {
                "the function did not answer within 1 s"
            };
            let kind = if batch == 41 {
                FailureKind::Retryable
            } else {
                FailureKind::TimedOut
            };
            scene.failed(at + 900, index, 1, kind, reason);
            at += 1_200;
            (done.attempt, done.started_unix_ms) = (2, done.started_unix_ms + 1_200);
        }
        if batch < 4 {
            done = cold(done, 60.0);
        }
        if batch % 20 == 3 {
            done.failed = 1;
        }
        scene.called(at, index, done.attempt, worker);
        scene.finished(at + total as u64 + 8, worker, done);
        began[worker] = at + total as u64 + 12;
    }
    scene.events.sort_by_key(|(at, _)| *at);
    let last = scene.events.last().map_or(0, |(at, _)| *at - fixture::NOON);
    scene.emit(
        last + 100,
        Event::Completed {
            results: 3_996,
            failed: 4,
        },
    );
    scene
}

/// The cost of invocations on Lambda.
fn bill(invocations: f64, seconds: f64) -> Bill {
    let usage = Usage {
        compute_gb_s: invocations * seconds * 1_769.0 / 1_024.0,
        init_gb_s: (invocations / 20.0) * 0.2 * 1_769.0 / 1_024.0,
        requests: invocations,
        puts: invocations * 2.0,
        gets: invocations * 3.0,
        ..Usage::none("us-east-1", Architecture::X86, Basis::Measured)
    };
    usage
        .bill(&Prices::aws())
        .expect("the prices of the project have all of it")
}

fn predicted(mut bill: Bill) -> Bill {
    bill.items
        .iter_mut()
        .for_each(|item| item.basis = Basis::Predicted);
    bill
}

/// The paper's experiment, on Lambda by the simulator or on two cores.
fn compared(on_lambda: bool) -> Comparison {
    let records = 100_000;
    let functions = if on_lambda { 1_000 } else { 2 };
    let candidate = |seconds: f64, at_a_time: u64, batches: u64| Approach {
        seconds,
        function_seconds: 20_500.0,
        peak_concurrency: at_a_time,
        cold_starts: at_a_time,
        invocations: batches,
        bill: on_lambda.then(|| predicted(bill(batches as f64, 20_500.0 / batches as f64))),
    };
    let row = |batch_size: u64| {
        let batches = records / batch_size;
        let at_a_time = batches.min(functions);
        let rounds = batches.div_ceil(at_a_time) as f64;
        let each = 20_500.0 / batches as f64;
        BatchSize {
            batch_size,
            same_batches: Vec::new(),
            batches,
            monolithic: candidate(20_500.0 + batches as f64 * 0.05, 1, batches),
            parallel: candidate(rounds * (each + 0.05) + 0.6, at_a_time, batches),
        }
    };
    Comparison {
        inputs: vec!["/data/imdb.jsonl".into()],
        function: "distilbert-base-uncased-finetuned-sst-2-english".into(),
        engine: "int8 on avx2".into(),
        records,
        unit: "tokens".into(),
        units: 27_000_000,
        place: if on_lambda {
            "lambda, 1769 MB, x86_64, us-east-1"
        } else {
            "local"
        }
        .into(),
        basis: if on_lambda {
            Basis::Predicted
        } else {
            Basis::Measured
        },
        concurrency: functions,
        assumptions: if on_lambda {
            vec![
                "A vCPU of Lambda is as fast as a core of the machine that was measured.".into(),
                "A cold start takes 250 ms before the function's own beginning.".into(),
            ]
        } else {
            Vec::new()
        },
        rows: [50, 100, 200, 250, 500, 1_000].map(row).into(),
        paper_baseline: Some(PaperBaseline {
            runtime: "PyTorch 2.9.1, transformers 4.57.3".into(),
            records: 512,
            batch_size: 50,
            seconds_per_record: 0.612,
            start_seconds: 4.2,
            shoal_seconds_per_record: 0.0701,
            usd_per_million: 17.62,
            shoal_usd_per_million: 2.02,
        }),
        command:
            "shoal compare /data/imdb.jsonl --batch-sizes 50,100,200,250,500,1000 --backend lambda"
                .into(),
    }
}

/// Numbers from 0 to 1 that are the same each time (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn lambda() -> shoal_job::wire::Sizing {
    shoal_job::wire::Sizing {
        memory_mb: 1_769,
        architecture: "x86_64".into(),
        region: "us-east-1".into(),
    }
}
