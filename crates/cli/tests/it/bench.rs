//! The output of `shoal bench`.

use std::sync::Arc;

use serde_json::{Value, json};
use shoal::encoder::{Checkpoint, Isa, Model, Precision, Purpose, Session, Tokens};

use crate::support::{Bench, Random, describe, tiny_model};

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const MODEL: i32 = 4;

/// Random sequences for the tiny model, with 1 to 64 ids below 186.
fn sequences(count: usize) -> Vec<Vec<u32>> {
    let mut random = Random::new(3);
    let mut sequence = || {
        let length = 1 + random.below(64);
        (0..length).map(|_| random.below(186) as u32).collect()
    };
    (0..count).map(|_| sequence()).collect()
}

fn bench(args: &[&str]) -> Vec<String> {
    let model = tiny_model();
    let model = model.to_str().unwrap();
    let common = ["bench", "--model", model, "--cache-dir", "cache"];
    let args = common.iter().chain(args);
    args.map(|arg| (*arg).to_owned()).collect()
}

fn stdout(dir: &Bench, args: &[&str]) -> String {
    let output = dir.ok(bench(args));
    assert!(output.stderr.is_empty(), "{}", describe(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `shoal bench`, which must print one line of JSON.
fn json(dir: &Bench, args: &[&str]) -> Value {
    let text = stdout(dir, args);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[track_caller]
fn assert_positive(report: &Value, keys: &[&str]) {
    for key in keys {
        assert!(
            report[key].as_f64().is_some_and(|n| n > 0.0),
            "{key} in {report}"
        );
    }
}

#[track_caller]
fn assert_stages(report: &Value, precision: &str) {
    let stages = report["stages"].as_object().unwrap();
    let mut names: Vec<_> = stages.keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "activation",
        "attention",
        "embedding",
        "norms",
        "products",
        "quantizing",
    ];
    assert_eq!(names, expected);
    let quantizing = stages["quantizing"].as_f64().unwrap();
    assert_eq!(quantizing > 0.0, precision == "int8", "{report}");
    let rest = report["share_of_rest"].as_f64().unwrap();
    assert!(rest > 0.0 && rest < 1.0, "{report}");
    assert_positive(report, &["cpu_share"]);
    if cfg!(target_arch = "x86_64") {
        assert_positive(report, &["share_of_peak"]);
    }
}

#[test]
fn logits_equal_those_of_the_library_for_every_micro_batch() {
    let dir = Bench::new();
    let sequences = sequences(50);
    dir.write("ids.json", json!(sequences).to_string());
    let tokens: Vec<_> = sequences.into_iter().map(Tokens::from_ids).collect();
    let checkpoint = Checkpoint::open(&tiny_model()).unwrap();
    for precision in Precision::ALL {
        let model = Model::pack(
            &checkpoint,
            String::new(),
            Purpose::Classify,
            precision,
            Isa::best(),
        )
        .unwrap();
        let mut session = Session::new(Arc::new(model));
        let expected: Vec<f32> = tokens
            .iter()
            .flat_map(|one| session.run(std::slice::from_ref(one)).to_vec())
            .collect();
        for cut in [
            &[][..],
            &["--micro-batch-tokens", "0", "--threads", "3"],
            &["--micro-batch-tokens", "100", "--threads", "2"],
            &["--limit", "7"],
        ] {
            let args = [
                "--sequences",
                "ids.json",
                "--logits",
                "--precision",
                precision.name(),
            ];
            let text = stdout(&dir, &[&args, cut].concat());
            let found: Vec<Vec<f32>> = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            let count = if cut.contains(&"--limit") { 7 } else { 50 };
            assert_eq!(found.len(), count);
            assert!(found.iter().all(|logits| logits.len() == 2));
            let bits = |logits: &[f32]| logits.iter().map(|l| l.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                bits(&found.concat()),
                bits(&expected[..2 * count]),
                "{precision} {cut:?}"
            );
        }
    }
}

#[test]
fn sequences_are_timed_and_counted() {
    let dir = Bench::new();
    let sequences = sequences(60);
    dir.write("ids.json", json!(sequences).to_string());
    let total: usize = sequences.iter().map(Vec::len).sum();
    for precision in ["f32", "int8"] {
        let args = [
            "--sequences",
            "ids.json",
            "--json",
            "--precision",
            precision,
        ];
        let report = json(&dir, &args);
        assert_eq!(report["precision"], precision);
        assert_eq!(report["isa"], Isa::best().name());
        assert_eq!(report["threads"], 1);
        assert_eq!(report["sequences"], 60);
        assert_eq!(report["tokens"], total);
        assert!(report["model"].as_str().unwrap().contains("distilbert-f32"));
        let rates = [
            "records_per_s_wall",
            "records_per_s_cpu",
            "tokens_per_s_wall",
        ];
        assert_positive(&report, &rates);
        assert_positive(
            &report,
            &["seconds_wall", "seconds_cpu", "gflop_per_record"],
        );
        assert_stages(&report, precision);
        assert!(report.get("records_per_s_cpu_normalised").is_none());
        assert!(report["peak"]["threads_gain"].is_null());
        if cfg!(target_os = "linux") {
            assert_positive(&report, &["peak_rss_mb"]);
        }
        // Two layers of width 48 with an inner width of 96: products and attention of every token.
        let work = |n: usize| 2.0 * (n * 2 * 48 * (4 * 48 + 2 * 96) + 4 * n * n * 48) as f64;
        let mean = |of: &[usize]| of.iter().map(|&n| work(n)).sum::<f64>() / of.len() as f64;
        let all: Vec<_> = sequences.iter().map(Vec::len).collect();
        let near = |a: &Value, b: f64| (a.as_f64().unwrap() / b - 1.0).abs() < 1e-9;
        assert!(
            near(&report["gflop_per_record"], mean(&all) / 1e9),
            "{report}"
        );

        let more = [
            "--limit",
            "3",
            "--threads",
            "2",
            "--micro-batch-tokens",
            "0",
        ];
        let report = json(&dir, &[&args[..], &more].concat());
        assert_eq!(
            (&report["sequences"], &report["threads"]),
            (&json!(3), &json!(2))
        );
        let chosen = [all[10], all[30], all[50]];
        assert_eq!(report["tokens"], chosen.iter().sum::<usize>());
        for clock in ["wall", "cpu"] {
            let rate = report[format!("records_per_s_{clock}")].as_f64().unwrap();
            let normalised = &report[format!("records_per_s_{clock}_normalised")];
            assert!(
                near(normalised, rate * mean(&chosen) / mean(&all)),
                "{report}"
            );
        }
        if cfg!(target_arch = "x86_64") {
            assert_positive(
                &report["peak"],
                &["f32_gflops", "int8_gops", "threads_gain"],
            );
        }
    }
    let text = stdout(&dir, &["--sequences", "ids.json", "--limit", "60"]);
    for word in [
        "records/s",
        "tokens/s",
        "CPU time",
        "products",
        "of peak",
        "1 thread",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains("mean work"), "{text}");
}

#[test]
fn generated_records_are_timed_by_length_and_micro_batch() {
    let dir = Bench::new();
    let short = ["--seconds", "0.002"];
    let cells = |args: &[&str]| -> Vec<[u64; 3]> {
        let report = json(&dir, &[&short[..], &["--json"], args].concat());
        let cells = report["cells"].as_array().unwrap();
        for cell in cells {
            let keys = [
                "records_per_s_wall",
                "records_per_s_cpu",
                "tokens_per_s_wall",
            ];
            assert_positive(cell, &keys);
            assert_positive(cell, &["ms_per_record", "records"]);
            assert_stages(cell, report["precision"].as_str().unwrap());
            assert_eq!(cell["threads_gain"].is_number(), report["threads"] == 2);
        }
        let place = ["length", "micro_batch_tokens", "micro_batch_records"];
        let place = |cell: &Value| place.map(|key| cell[key].as_u64().unwrap());
        cells.iter().map(place).collect()
    };
    // The limit of the model is 64 tokens.
    let expected = [16, 64]
        .map(|length| [0, 256, 512, 1024].map(|tokens| [length, tokens, (tokens / length).max(1)]));
    assert_eq!(cells(&["--precision", "int8"]), expected.concat());
    let args = [
        "--lengths",
        "1,30",
        "--micro-batches",
        "0,29,60",
        "--threads",
        "2",
    ];
    let expected = [[1, 0, 1], [1, 29, 29], [1, 60, 60], [30, 0, 1], [30, 60, 2]];
    assert_eq!(cells(&args), expected);

    let text = stdout(
        &dir,
        &[&short[..], &["--lengths", "8", "--threads", "2"]].concat(),
    );
    for word in [
        "LENGTH",
        "OF PEAK",
        "QUANTIZING",
        "GAIN",
        "2 threads",
        "64 records",
    ] {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn the_error_names_the_invalid_sequence() {
    let dir = Bench::new();
    let fails = |content: &str, words: &[&str]| {
        dir.write("bad.json", content);
        let message = dir.fails(INPUT, bench(&["--sequences", "bad.json"]));
        for word in [&["bad.json"], words].concat() {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    };
    fails("", &["JSON"]);
    fails("[[1, 2]", &["JSON"]);
    fails("{\"ids\": [[1]]}", &["array of arrays"]);
    fails("[]", &["no sequences"]);
    fails("[1, 2]", &["sequence 0", "array"]);
    fails("[[1], [2, \"x\"]]", &["sequence 1", "\"x\""]);
    fails("[[1], [2], [1.5]]", &["sequence 2", "1.5"]);
    fails("[[-1]]", &["sequence 0", "-1"]);
    fails("[[null]]", &["sequence 0", "null"]);
    fails("[[4294967296]]", &["sequence 0", "4294967296"]);
    fails("[[1], []]", &["sequence 1", "empty"]);
    fails("[[185], [0, 186]]", &["sequence 1", "186", "185"]);
    let long = format!("[[1], {}]", json!(vec![1; 65]));
    fails(&long, &["sequence 1", "65", "64"]);
    let message = dir.fails(INPUT, bench(&["--sequences", "none.json"]));
    assert!(message.contains("none.json"), "{message}");
    let args = ["bench", "--model", "./nowhere", "--cache-dir", "cache"];
    assert!(dir.fails(MODEL, args).contains("nowhere"));
}

#[test]
fn contradictory_flags_are_refused() {
    let dir = Bench::new();
    dir.write("ids.json", "[[1]]");
    let given = ["--sequences", "ids.json"];
    let usage = |args: &[&str], word: &str| {
        let message = dir.fails(USAGE, bench(args));
        assert!(message.contains(word), "{word:?} is not in: {message}");
    };
    for (flag, value) in [
        ("--lengths", "16"),
        ("--micro-batches", "0"),
        ("--seconds", "0.1"),
    ] {
        usage(&[&given[..], &[flag, value]].concat(), flag);
    }
    usage(&["--limit", "3"], "--sequences");
    usage(&["--micro-batch-tokens", "3"], "--sequences");
    usage(&["--logits"], "--sequences");
    usage(&[&given[..], &["--logits", "--json"]].concat(), "--json");
    usage(&["--threads", "0"], "--threads");
    usage(&["--seconds", "0"], "--seconds");
    usage(&["--seconds", "NaN"], "--seconds");
    usage(&["--isa", "sse9"], "sse9");
    usage(&["--lengths", "0"], "1 to 64");
    usage(&["--lengths", "16,65"], "1 to 64");
    usage(&[&given[..], &["--limit", "0"]].concat(), "--limit");
}
