//! Packed models, their cache, and the choice of precision and instruction set.

use serde_json::Value;
use shoal::encoder::{Isa, Target};

use crate::errors::{MODEL, STORAGE, USAGE};
use crate::support::{Bench, jsonl, repository, tiny_model};

fn files_of_cache(bench: &Bench) -> Vec<String> {
    let mut names: Vec<_> = match std::fs::read_dir(bench.path("cache")) {
        Ok(files) => files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
    names
}

fn summary(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_packed_model_gives_the_results_of_its_source() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(60));
    let tiny = tiny_model();
    let tiny = tiny.to_str().unwrap();
    for precision in ["int8", "f32"] {
        for isa in Isa::available() {
            let how = ["--precision", precision, "--isa", isa.name()];
            let pack = ["pack", tiny, "-o", "model.shoal"];
            let printed = bench.ok(pack.iter().chain(&how));
            let printed = String::from_utf8(printed.stderr).unwrap();
            assert!(
                printed.contains(&format!("{precision} on {}", isa.name())),
                "{printed}"
            );
            let run = |model: &str, output: &str, more: &[&str]| {
                let args = [
                    "run", "in.jsonl", "--fresh", "--scores", "--json", "-o", output, "--model",
                    model,
                ];
                summary(&bench.ok(args.iter().chain(more)))
            };
            let packed = run("model.shoal", "packed.csv", &["--isa", isa.name()]);
            let folder = run(tiny, "folder.csv", &how);
            for summary in [packed, folder] {
                assert_eq!(summary["precision"], precision);
                assert_eq!(summary["isa"], serde_json::json!([isa.name()]));
            }
            assert_eq!(bench.read("packed.csv"), bench.read("folder.csv"));
            bench.ok([
                "run",
                "in.jsonl",
                "-o",
                "packed.csv",
                "--model",
                "model.shoal",
            ]);
        }
    }
}

#[test]
fn one_file_is_packed_for_several_instruction_sets() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(40));
    let tiny = tiny_model();
    let tiny = tiny.to_str().unwrap();
    let all = Target::ALL.map(Target::name);
    // Includes instruction sets that this CPU lacks. A duplicate has no effect.
    let list = format!("{},avx2", all.join(","));
    let packed = summary(&bench.ok(["pack", tiny, "-o", "all.shoal", "--json", "--isa", &list]));
    assert_eq!(packed["isas"], serde_json::json!(all));
    for isa in all {
        bench.ok(["pack", tiny, "-o", "one.shoal", "--isa", isa]);
        if Isa::named(isa).is_none() {
            let run = ["run", "in.jsonl", "-o", "x.csv", "--model", "one.shoal"];
            let message = bench.fails(MODEL, run);
            assert!(message.contains(&format!("packed for {isa}")), "{message}");
            let pack = ["pack", tiny, "-o", "x.shoal", "--isa", isa, "--check"];
            let message = bench.fails(USAGE, pack.iter().chain(&["in.jsonl"]));
            assert!(message.contains("this CPU cannot run"), "{message}");
            continue;
        }
        for name in ["one", "all"] {
            let (model, output) = (format!("{name}.shoal"), format!("{name}.csv"));
            let run = ["run", "in.jsonl", "--fresh", "--scores", "--isa", isa];
            bench.ok(run.into_iter().chain(["--model", &model, "-o", &output]));
        }
        assert_eq!(bench.read("one.csv"), bench.read("all.csv"), "{isa}");
    }
}

#[test]
fn a_check_compares_with_f32() {
    let bench = Bench::new();
    let sample = repository("examples/reviews.csv");
    let sample = sample.to_str().unwrap();
    let pack = [
        "pack",
        "bundled",
        "-o",
        "model.shoal",
        "--json",
        "--check",
        sample,
    ];
    let found = summary(&bench.ok(pack.iter().chain(&["--label-column", "label"])));
    assert_eq!(found["precision"], "int8");
    let check = &found["check"];
    assert_eq!(check["records"], 200);
    assert_eq!(check["gold"], 200);
    assert!(check["agreeing"].as_f64().unwrap() >= 198.0, "{check}");
    // With transformers, the bundled model labels 185 records of its sample correctly.
    assert_eq!(check["right_f32"], 185);
    assert!(
        check["right_packed"].as_u64().unwrap().abs_diff(185) <= 2,
        "{check}"
    );

    let pack = [
        "pack",
        "bundled",
        "-o",
        "model.shoal",
        "--precision",
        "f32",
        "--check",
        sample,
    ];
    let printed = String::from_utf8(bench.ok(pack).stderr).unwrap();
    assert!(printed.contains("100.00 % with f32"), "{printed}");
    assert!(printed.contains("200 records"), "{printed}");
}

#[test]
fn models_are_packed_once_and_damaged_copies_are_replaced() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20));
    let tiny = tiny_model();
    let run = |output: &str| {
        let cache = bench.path("cache");
        let args = [
            "run",
            "in.jsonl",
            "--fresh",
            "-q",
            "-o",
            output,
            "--precision",
            "int8",
        ];
        let more = [
            "--model",
            tiny.to_str().unwrap(),
            "--cache-dir",
            cache.to_str().unwrap(),
        ];
        bench.ok(args.iter().chain(&more));
        bench.read(output)
    };
    let first = run("first.csv");
    let files = files_of_cache(&bench);
    assert_eq!(files.len(), 1, "{files:?}");
    let path = bench.path("cache").join(&files[0]);
    let packed = std::fs::read(&path).unwrap();
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(run("second.csv"), first);
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        before,
        "the model was packed again"
    );
    for damaged in [&packed[..packed.len() / 2], b"something else", b""] {
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(run("third.csv"), first);
        assert!(
            std::fs::read(&path).unwrap() == packed,
            "the copy was not replaced"
        );
    }
    // Runs do not need a writable cache.
    std::fs::remove_dir_all(bench.path("cache")).unwrap();
    bench.write("cache", "no folder");
    assert_eq!(run("fourth.csv"), first);
}

#[test]
fn the_default_precision_depends_on_the_records_of_the_run() {
    let bench = Bench::new();
    let cache = bench.path("cache");
    let tiny = tiny_model();
    let (tiny, folder) = (tiny.to_str().unwrap(), cache.to_str().unwrap());
    let precision = |input: &str, more: &[&str]| {
        let args = [
            "run",
            input,
            "--fresh",
            "--json",
            "-o",
            "out.csv",
            "--cache-dir",
            folder,
        ];
        let summary = summary(&bench.ok([&args[..], more].concat()));
        let choice = summary["precision_choice"].as_str().map(str::to_owned);
        (summary["precision"].as_str().unwrap().to_owned(), choice)
    };
    let is_choice = |choice: Option<String>, words: &str| {
        assert!(
            choice.as_ref().is_some_and(|choice| choice.contains(words)),
            "{choice:?}"
        );
    };
    let of_model = ["--model", tiny];

    // The bundled model has a fixed default precision.
    bench.write("small.jsonl", jsonl(20));
    assert_eq!(precision("small.jsonl", &[]), ("int8".into(), None));
    let given = [&of_model[..], &["--precision", "int8"]].concat();
    assert_eq!(precision("small.jsonl", &given), ("int8".into(), None));

    // A comparison would take longer than the run itself.
    let (chosen, choice) = precision("small.jsonl", &of_model);
    assert_eq!(chosen, "f32");
    is_choice(choice, "too small");

    bench.write("large.jsonl", jsonl(6_000));
    let (chosen, choice) = precision("large.jsonl", &of_model);
    is_choice(choice, "same label, on ");
    let files = files_of_cache(&bench);
    let kept = files.iter().find(|name| name.ends_with("-agreement.json"));
    let path = cache.join(kept.unwrap());
    let agreement: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let measured = agreement["agreement"].as_f64().unwrap();
    assert!(agreement["records"].as_u64().unwrap() >= 30, "{agreement}");
    assert_eq!(
        chosen,
        if measured >= 0.99 { "int8" } else { "f32" },
        "{agreement}"
    );

    // From now on the cached agreement decides, also for small jobs.
    for (cached, expected) in [(0.5, "f32"), (1.0, "int8")] {
        let cached = serde_json::json!({
            "agreement": cached, "measure": "same label", "records": 100
        });
        std::fs::write(&path, cached.to_string()).unwrap();
        assert_eq!(precision("small.jsonl", &of_model).0, expected);
    }
}

/// A run keeps its precision, even if a later start would choose another one.
#[test]
fn a_later_start_keeps_the_precision_of_the_run() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20) + "not JSON\n");
    let tiny = tiny_model();
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--json",
        "--model",
        tiny.to_str().unwrap(),
    ];
    let stopped =
        bench.shoal(
            args.into_iter()
                .chain(["--precision", "int8", "--on-error", "fail"]),
        );
    assert_eq!({ stopped }.output().unwrap().status.code(), Some(7));
    assert_eq!(summary(&bench.ok(args))["precision"], "int8");
}

#[test]
fn a_run_resumes_only_in_its_precision() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(10) + "not JSON\n");
    let tiny = tiny_model();
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--run-dir",
        "run",
        "--model",
    ];
    let run = |more: &[&'static str]| {
        let mut args: Vec<_> = args.to_vec();
        args.push(tiny.to_str().unwrap());
        args.extend(more);
        bench.shoal(args).output().unwrap()
    };
    let stopped = run(&["--precision", "f32", "--on-error", "fail"]);
    assert_eq!(stopped.status.code(), Some(7));
    let other = run(&["--precision", "int8"]);
    assert_eq!(other.status.code(), Some(6));
    let message = String::from_utf8(other.stderr).unwrap();
    assert!(message.contains("precision was f32, is int8"), "{message}");
    let resumed = bench.ok(["resume", "run", "--json"]);
    assert_eq!(summary(&resumed)["precision"], "f32");
}

#[test]
fn invalid_arguments_are_refused_with_the_valid_ones() {
    let bench = Bench::new();
    bench.write("in.csv", "text\nx\n");
    let run = ["run", "in.csv", "-o", "out.csv"];
    let fails = |code: i32, args: &[&str], words: &[&str]| {
        let message = bench.fails(code, args);
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    };
    let with = |more: &[&'static str]| [&run[..], more].concat();
    fails(
        USAGE,
        &with(&["--isa", "sse9"]),
        &["sse9", "possible values", "portable"],
    );
    fails(
        USAGE,
        &with(&["--precision", "int4"]),
        &["int4", "int8", "f32"],
    );
    let tiny = tiny_model();
    let tiny = tiny.to_str().unwrap();
    fails(
        USAGE,
        &["pack", tiny, "-o", "x.shoal", "--isa", "avx2,sse9"],
        &["sse9", "avx512-vnni, avx512, avx2, portable"],
    );
    bench.ok(["pack", tiny, "-o", "model.shoal", "--isa", "portable"]);
    let packed = with(&["--model", "model.shoal"]);
    let more = |more: &[&'static str]| [&packed[..], more].concat();
    fails(
        USAGE,
        &more(&["--precision", "f32"]),
        &["model.shoal", "packed in int8"],
    );
    if Isa::available().len() > 1 {
        let best = Isa::best().name();
        let args = [&packed[..], &["--isa", best]].concat();
        fails(MODEL, &args, &["model.shoal", "packed for portable", best]);
    }
    fails(
        USAGE,
        &["pack", "model.shoal", "-o", "again.shoal"],
        &["packed already"],
    );
    fails(
        USAGE,
        &["pack", tiny, "-o", "x.shoal", "--text-column", "t"],
        &["--check"],
    );
    fails(MODEL, &["pack", "./nowhere", "-o", "x.shoal"], &["nowhere"]);
    fails(
        STORAGE,
        &["pack", tiny, "-o", "no/such/folder/x.shoal"],
        &["x.shoal"],
    );

    let whole = bench.read("model.shoal");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    bench.write("damaged.shoal", &damaged);
    let model = |name: &'static str| with(&["--model", name]);
    fails(
        MODEL,
        &model("damaged.shoal"),
        &["damaged.shoal", "checksum"],
    );
    bench.write("short.shoal", &whole[..whole.len() - 1]);
    fails(MODEL, &model("short.shoal"), &["short.shoal", "cut short"]);
    bench.write("other.shoal", "text\n");
    fails(
        MODEL,
        &model("other.shoal"),
        &["other.shoal", "neither a model folder nor"],
    );
    assert!(!bench.path("out.csv").exists());
}
