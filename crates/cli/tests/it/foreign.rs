//! A run directory from another user is not trusted: it does not decide what is written, read or called, or who gets a
//! token.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::support::{Bench, files_in, jsonl, tiny_model};

/// A bench with a finished run in the folder `run`.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("input.jsonl", jsonl(20));
    let model = tiny_model();
    let command = ["run", "input.jsonl", "-o", "out.csv", "--run-dir", "run"];
    bench.ok(command
        .map(Path::new)
        .into_iter()
        .chain([Path::new("--model"), &model]));
    bench
}

/// Copies the run, as if another user had sent it.
fn send(bench: &Bench, to: &str) {
    let copy = |name: &str| {
        bench.write(&format!("{to}/{name}"), bench.read(&format!("run/{name}")));
    };
    for name in ["job.json", "batches.jsonl", "backend.json"] {
        copy(name);
    }
}

fn edit(bench: &Bench, file: &str, change: impl FnOnce(&mut Value)) {
    let mut content = serde_json::from_slice(&bench.read(file)).unwrap();
    change(&mut content);
    bench.write(file, content.to_string());
}

#[test]
fn settings_of_a_foreign_run_are_refused_and_listed() {
    let bench = bench();
    send(&bench, "theirs");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let victim = bench.path("victim.csv").display().to_string();
    edit(&bench, "theirs/job.json", |job| {
        job["output"] = victim.as_str().into()
    });
    edit(&bench, "theirs/backend.json", |config| {
        config["backend"] = "http".into();
        config["url"] = serde_json::json!([url]);
    });

    let output = bench
        .shoal(["resume", "theirs"])
        .env("SHOAL_TOKEN", "s3cret")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{printed}");
    let input = bench.path("input.jsonl");
    for named in [
        &victim,
        &url,
        input.to_str().unwrap(),
        "the model",
        "--trust",
    ] {
        assert!(printed.contains(named), "{named}: {printed}");
    }
    // Options of the command replace single settings; the others are still refused.
    let printed = bench.fails(6, ["resume", "theirs", "-o", "mine.csv"]);
    assert!(
        printed.contains(&url) && !printed.contains(&victim),
        "{printed}"
    );
    let local = ["resume", "theirs", "-o", "mine.csv", "--backend", "local"];
    let printed = bench.fails(6, local);
    assert!(
        printed.contains("input.jsonl") && !printed.contains(&url),
        "{printed}"
    );
    let printed = bench.fails(6, ["collect", "theirs"]);
    assert!(printed.contains(&victim), "{printed}");

    let called = listener.accept().map(drop).map_err(|e| e.kind());
    assert_eq!(called, Err(ErrorKind::WouldBlock));
    assert!(!bench.path("victim.csv").exists() && !bench.path("mine.csv").exists());
    assert_eq!(files_in(&bench.path("theirs/parts")), 0);

    // `--trust` accepts it.
    bench.ok(local.into_iter().chain(["--trust"]));
    assert_eq!(bench.read("mine.csv"), bench.read("out.csv"));
    assert!(!bench.path("victim.csv").exists());
    // From now on the run is trusted.
    bench.ok(["resume", "theirs"]);
    assert_eq!(bench.read("victim.csv"), bench.read("out.csv"));
}

#[test]
fn the_users_own_run_is_trusted_until_it_is_changed() {
    let bench = bench();
    bench.ok(["resume", "run"]);
    bench.ok(["collect", "run"]);
    edit(&bench, "run/job.json", |job| {
        job["output"] = bench.path("victim.csv").display().to_string().into();
    });
    for command in ["resume", "collect"] {
        let printed = bench.fails(6, [command, "run"]);
        assert!(printed.contains("victim.csv"), "{printed}");
    }
    assert!(!bench.path("victim.csv").exists());
    bench.ok(["collect", "run", "-o", "mine.csv"]);
    assert_eq!(bench.read("mine.csv"), bench.read("out.csv"));
    // Running the same job again does not make the run trusted, because the directory names another output.
    let model = tiny_model();
    let command = ["run", "input.jsonl", "-o", "out.csv", "--run-dir", "run"];
    bench.ok(command
        .map(Path::new)
        .into_iter()
        .chain([Path::new("--model"), &model]));
    bench.fails(6, ["resume", "run"]);
}

#[cfg(unix)]
#[test]
fn links_in_a_run_directory_are_refused() {
    let bench = bench();
    send(&bench, "theirs");
    bench.write("victim", "mine\n");
    std::os::unix::fs::symlink("../victim", bench.path("theirs/events.jsonl")).unwrap();
    let printed = bench.fails(6, ["resume", "theirs", "--trust"]);
    assert!(printed.contains("events.jsonl is a link"), "{printed}");
    assert_eq!(bench.text("victim"), "mine\n");
}
