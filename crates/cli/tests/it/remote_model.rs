//! Packed models from an HTTP store, which a local server simulates.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::errors::{MODEL, STORAGE, USAGE};
use crate::server::{Response, Server};
use crate::support::{Bench, describe, jsonl, tiny_model};

/// The object `/model.shoal` of the store.
struct Object {
    content: Vec<u8>,
    /// Header lines that identify a version.
    marks: &'static str,
    /// The number of bytes in the response to a `GET`; all if `None`.
    cut: Option<usize>,
}

const MARKED: &str = "ETag: \"1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
const CHANGED: &str = "ETag: \"2\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n";

/// A folder with `model.shoal` and `in.jsonl`, and a store with the same model.
struct Store {
    bench: Bench,
    object: Arc<Mutex<Object>>,
    server: Server,
}

impl Store {
    fn new() -> Self {
        let bench = Bench::new();
        bench.write("in.jsonl", jsonl(30));
        let tiny = tiny_model();
        bench.ok(["pack", tiny.to_str().unwrap(), "-o", "model.shoal"]);
        let object = Arc::new(Mutex::new(Object {
            content: bench.read("model.shoal"),
            marks: MARKED,
            cut: None,
        }));
        let held = object.clone();
        let server = Server::new(move |request, _| {
            if request.path != "/model.shoal" {
                return Response::not_found();
            }
            let object = held.lock().unwrap();
            match object.cut {
                Some(cut) if request.method == "GET" => {
                    Response::part(request, &object.content[..cut], object.marks)
                }
                _ => Response::part(request, &object.content, object.marks),
            }
        });
        Self {
            bench,
            object,
            server,
        }
    }

    fn url(&self) -> String {
        format!("{}/model.shoal", self.server.url())
    }

    fn run(&self, output: &str) -> Command {
        let url = self.url();
        self.bench.shoal([
            "run", "in.jsonl", "--fresh", "--scores", "-q", "-o", output, "--model", &url,
        ])
    }

    /// Runs `command` and returns the methods of its requests to the store.
    fn asked(&self, command: &mut Command) -> Vec<String> {
        let before = self.server.requests().len();
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        let requests = self.server.requests();
        requests[before..]
            .iter()
            .map(|request| request.method.clone())
            .collect()
    }

    fn fails(&self, code: i32, words: &[&str]) {
        let output = self.run("failed.csv").output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", describe(&output));
        let message = String::from_utf8(output.stderr).unwrap();
        for word in words.iter().chain(&[self.url().as_str()]) {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        assert!(!self.bench.path("failed.csv").exists());
    }

    fn change(&self, change: impl FnOnce(&mut Object)) {
        change(&mut self.object.lock().unwrap());
    }
}

const FETCHED: [&str; 3] = ["HEAD", "GET", "HEAD"];

/// The copies of models in a cache folder.
fn copies(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(files) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn a_remote_model_is_fetched_once_and_gives_the_results_of_the_file() {
    let store = Store::new();
    let model = ["--model", "model.shoal", "--scores", "-o", "file.csv"];
    store.bench.ok(["run", "in.jsonl"].into_iter().chain(model));
    let file = store.bench.read("file.csv");
    assert_eq!(store.asked(&mut store.run("first.csv")), FETCHED);
    assert_eq!(store.asked(&mut store.run("second.csv")), ["HEAD"]);
    assert_eq!(store.bench.read("first.csv"), file);
    assert_eq!(store.bench.read("second.csv"), file);

    // The run records the URL and can be resumed with it.
    let run = ["run", "in.jsonl", "-o", "r.csv", "--run-dir", "run", "-m"];
    let url = store.url();
    store.bench.ok(run.into_iter().chain([&*url]));
    assert!(store.bench.text("run/job.json").contains(&url));
    assert_eq!(
        store.asked(&mut store.bench.shoal(["resume", "run"])),
        ["HEAD"]
    );

    // A `file:` URL needs no copy.
    let url = format!("file://{}", store.bench.path("model.shoal").display());
    let run = ["run", "in.jsonl", "--scores", "-o", "url.csv", "-m", &url];
    store.bench.ok(run);
    assert_eq!(store.bench.read("url.csv"), file);

    let message = store
        .bench
        .fails(USAGE, ["pack", &store.url(), "-o", "again.shoal"]);
    assert!(message.contains("packed already"), "{message}");
}

#[test]
fn a_changed_model_replaces_the_copy() {
    let store = Store::new();
    let cache = store.bench.path("cache");
    let run = |output: &str| {
        let mut command = store.run(output);
        command.arg("--cache-dir").arg(&cache);
        command
    };
    assert_eq!(store.asked(&mut run("first.csv")), FETCHED);
    let first = copies(&cache);
    store.change(|object| object.marks = CHANGED);
    assert_eq!(store.asked(&mut run("second.csv")), FETCHED);
    let second = copies(&cache);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    // If the server identifies no version, the model is fetched each time.
    store.change(|object| object.marks = "");
    for _ in 0..2 {
        assert_eq!(store.asked(&mut run("third.csv")), FETCHED);
    }
}

#[test]
fn failed_fetches_leave_no_copy() {
    let store = Store::new();
    let whole = store.object.lock().unwrap().content.clone();
    store.change(|object| object.cut = Some(whole.len() / 2));
    store.fails(STORAGE, &["instead of", "try again"]);
    store.change(|object| object.cut = None);
    assert_eq!(store.asked(&mut store.run("next.csv")), FETCHED);

    // A model that is damaged in the store is an error, and the next start fetches it again.
    store.change(|object| {
        object.marks = CHANGED;
        object.content[whole.len() / 2] ^= 1;
    });
    store.fails(MODEL, &["checksum"]);
    store.fails(MODEL, &["checksum"]);
    store.change(|object| object.content.clone_from(&whole));
    assert_eq!(store.asked(&mut store.run("next.csv")), FETCHED);

    let message = store.bench.fails(
        MODEL,
        [
            "run",
            "in.jsonl",
            "-o",
            "x.csv",
            "-m",
            &format!("{}/none.shoal", store.server.url()),
        ],
    );
    assert!(
        message.contains("none.shoal: there is no such object"),
        "{message}"
    );
    let run = ["run", "in.jsonl", "-o", "x.csv", "-m", "ftp://host/m.shoal"];
    let message = store.bench.fails(MODEL, run);
    assert!(message.contains("known schemes"), "{message}");
}

#[test]
fn a_damaged_copy_is_fetched_again() {
    let store = Store::new();
    let cache = store.bench.path("cache");
    let run = |output: &str| {
        let mut command = store.run(output);
        command.arg("--cache-dir").arg(&cache);
        command
    };
    assert_eq!(store.asked(&mut run("first.csv")), FETCHED);
    let copy = &copies(&cache)[0];
    let whole = std::fs::read(copy).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"something else", b""] {
        std::fs::write(copy, damaged).unwrap();
        assert_eq!(store.asked(&mut run("next.csv")), FETCHED);
        assert!(std::fs::read(copy).unwrap() == whole);
    }
    assert_eq!(store.bench.read("next.csv"), store.bench.read("first.csv"));
}

#[cfg(unix)]
#[test]
fn if_the_home_is_not_writable_the_copy_is_in_the_temporary_folder() {
    let store = Store::new();
    let home = store.bench.write("no-home", "a file");
    let temporary = store.bench.path("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let run = |output: &str| {
        let mut command = store.run(output);
        command.env("HOME", &home).env("TMPDIR", &temporary);
        command
    };
    assert_eq!(store.asked(&mut run("first.csv")), FETCHED);
    assert_eq!(store.asked(&mut run("second.csv")), ["HEAD"]);
    // A folder to which other users can write is not trusted.
    let own = std::fs::read_dir(&temporary).unwrap().next().unwrap();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(own.unwrap().path(), open_to_all).unwrap();
    let output = run("third.csv").output().unwrap();
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
}

#[test]
fn concurrent_fetches_do_not_conflict() {
    let store = Store::new();
    let runs: Vec<_> = (0..4)
        .map(|i| store.run(&format!("{i}.csv")).spawn().unwrap())
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
    }
    for i in 1..4 {
        assert_eq!(
            store.bench.read(&format!("{i}.csv")),
            store.bench.read("0.csv")
        );
    }
    assert_eq!(store.asked(&mut store.run("5.csv")), ["HEAD"]);
}
