//! Inputs from an HTTP store, which a local server simulates.

use crate::server::{Response, Server};
use crate::support::{Bench, repository, tiny};

/// A store with the files of `examples/`.
fn store() -> Server {
    Server::new(|request, _| {
        let name = request.path.trim_start_matches('/');
        match std::fs::read(repository("examples").join(name)) {
            Ok(content) => {
                let headers = "ETag: \"1\"\r\nLast-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n";
                Response::part(request, &content, headers)
            }
            Err(_) => Response::not_found(),
        }
    })
}

fn run<'a>(input: &'a str, output: &'a str, model: &'a str) -> [&'a str; 12] {
    [
        "run",
        input,
        "-o",
        output,
        "--model",
        model,
        // Without a precision, the run would first read a sample of the input to choose one.
        "--precision",
        "f32",
        "--keep-columns",
        "stars",
        "--quiet",
        "--json",
    ]
}

#[test]
fn objects_give_the_same_results_as_files_and_plain_text_is_read_in_ranges() {
    let (bench, store) = (Bench::new(), store());
    let model = tiny();
    for name in [
        "reviews.csv",
        "reviews.jsonl",
        "reviews.jsonl.zst",
        "reviews.parquet",
    ] {
        let file = repository("examples").join(name);
        bench.ok(run(file.to_str().unwrap(), "file.csv", model));
        let asked = store.requests().len();
        let url = format!("{}/{name}", store.url());
        bench.ok(run(&url, "object.csv", model));
        assert_eq!(bench.text("object.csv"), bench.text("file.csv"), "{name}");
        // 200 records are 4 batches; the staged copy is not requested again.
        let requests = store.requests();
        let ranges = requests[asked..]
            .iter()
            .filter(|request| request.method == "GET" && request.range.is_some());
        let is_plain = matches!(name, "reviews.csv" | "reviews.jsonl");
        assert_eq!(ranges.count(), if is_plain { 4 } else { 0 }, "{name}");
        // The same command finds its run and detects that the object is unchanged.
        let again = bench.ok(run(&url, "object.csv", model));
        let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
        assert_eq!(again["reused_batches"], 4, "{name}");
    }
}

#[test]
fn the_error_names_the_missing_object() {
    let (bench, store) = (Bench::new(), store());
    let model = tiny();
    let url = format!("{}/nothing.csv", store.url());
    let message = bench.fails(3, run(&url, "labels.csv", model));
    assert!(
        message.contains(&url) && message.contains("no such object"),
        "{message}"
    );
    let url = format!("{}/reviews.csv?version=1", store.url());
    let message = bench.fails(3, run(&url, "labels.csv", model));
    assert!(message.contains("query"), "{message}");
}
