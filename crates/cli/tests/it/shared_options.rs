//! Commands read the options that they share with `run` from flags, variables and `shoal.toml`, in order of precedence.

use serde_json::Value;

use crate::support::{Bench, describe, jsonl, summary, tiny};

/// A bench whose `shoal.toml` has options that affect every result.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(40));
    let model = tiny();
    let file =
        format!("model = {model:?}\nprecision = \"f32\"\nisa = \"portable\"\nquiet = true\n");
    bench.write("shoal.toml", file);
    bench
}

#[test]
fn plan_uses_the_options_of_the_file() {
    let bench = bench();
    let plan = |more: &[&str]| -> Value {
        summary(bench.shoal([&["plan", "in.jsonl", "--json"], more].concat()))
    };
    let model = tiny();
    assert_eq!(
        (&plan(&[])["model"], &plan(&[])["precision"]),
        (&model.into(), &"f32".into())
    );
    assert_eq!(plan(&["--precision", "int8"])["precision"], "int8");
    let mut command = bench.shoal(["plan", "in.jsonl", "--json"]);
    command.env("SHOAL_PRECISION", "int8");
    assert_eq!(summary(command)["precision"], "int8");
}

#[test]
fn bench_and_pack_use_the_options_of_the_file() {
    let bench = bench();
    let grid = "--lengths 16 --micro-batches 0 --seconds 0.01 --json";
    let timed = summary(bench.shoal(["bench"].into_iter().chain(grid.split(' '))));
    assert_eq!(
        (&timed["precision"], &timed["isa"]),
        (&"f32".into(), &"portable".into())
    );
    let model = tiny();
    let packed = summary(bench.shoal(["pack", model, "-o", "packed.shoal", "--json"]));
    assert_eq!(packed["precision"], "f32");
    assert_eq!(packed["isas"], serde_json::json!(["portable"]));
}

#[test]
fn compare_resume_and_collect_use_the_options_of_the_file() {
    let bench = bench();
    let compare = [
        "compare",
        "in.jsonl",
        "--batch-sizes",
        "20",
        "--format",
        "json",
    ];
    let output = bench.ok(compare);
    assert!(output.stderr.is_empty(), "{}", describe(&output));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let model = tiny();
    assert!(found.to_string().contains(model), "{found}");

    bench.ok(["run", "in.jsonl", "-o", "out.csv", "--run-dir", "run"]);
    for command in ["resume", "collect"] {
        let output = bench.ok([command, "run"]);
        assert!(output.stderr.is_empty(), "{}", describe(&output));
        let output = bench.ok([command, "run", "--quiet=false"]);
        assert!(!output.stderr.is_empty(), "{command} prints nothing");
        let found = summary(bench.shoal([command, "run", "--json"]));
        assert_eq!(found["records"], 40);
    }
    // The run was local, and a backend in the file does not change this.
    bench.write(
        "shoal.toml",
        "backend = \"http\"\nurl = [\"http://127.0.0.1:1\"]\n",
    );
    bench.ok(["resume", "run", "--isa", "portable"]);
}

#[test]
fn a_damaged_file_stops_only_commands_that_read_it() {
    let bench = bench();
    bench.write("shoal.toml", "batch-size = true\n");
    for command in [
        &["plan", "in.jsonl"][..],
        &["bench"],
        &["resume", "x"],
        &["worker", "--http"],
    ] {
        let message = bench.fails(2, command);
        assert!(
            message.contains("shoal.toml") && message.contains("batch-size"),
            "{message}"
        );
    }
    bench.ok(["runs"]);
    bench.ok(["plan", "--help"]);
    bench.write("other.toml", "");
    let message = bench.fails(6, ["resume", "x", "--config", "other.toml"]);
    assert!(message.contains("failed to find run x"), "{message}");
    bench.fails(2, ["resume", "x", "--config", "absent.toml"]);
}
