//! Inputs from an HTTP store, which a local server simulates, and from S3.

use serde_json::json;
use shoal_testing::Ministack;

use crate::server::{Response, Server};
use crate::support::{Bench, describe, jsonl, repository, tiny};

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

#[test]
fn folders_in_keys_are_columns() {
    let (bench, cloud) = (Bench::new(), Ministack::start());
    // Special characters stand in keys as they are.
    let objects = [
        ("data/lang=en/year=2020/part-0.csv", "id,text\n1,a\n2,b\n"),
        ("data/lang=pt%2FBR/year=2020/part #1?.csv", "id,text\n3,c\n"),
        (
            "data/lang=__HIVE_DEFAULT_PARTITION__/year=naïve/part-0.csv",
            "id,text\n4,d\n",
        ),
    ];
    let objects_json = serde_json::to_string(&objects).unwrap();
    cloud.python(&format!(
        "import boto3\ns3 = boto3.client('s3')\ns3.create_bucket(Bucket='lake')\nfor key, body in {objects_json}:\n  \
         s3.put_object(Bucket='lake', Key=key, Body=body.encode())"
    ));
    let model = tiny();
    let run = |input: &str, output: &str| {
        let mut args = run(input, output, model);
        args[9] = "lang,year";
        let mut command = bench.shoal(args);
        let output = command.envs(cloud.variables()).output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
    };
    let rows = |name: &str| {
        let text = bench.text(name);
        let rows = text.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            json!([row["id"], row["lang"], row["year"]])
        });
        rows.collect::<Vec<_>>()
    };
    run("s3://lake/data/*/*.csv", "all.jsonl");
    let expected = [
        json!(["4", null, "naïve"]),
        json!(["1", "en", "2020"]),
        json!(["2", "en", "2020"]),
        json!(["3", "pt/BR", "2020"]),
    ];
    assert_eq!(rows("all.jsonl"), expected);
    run(&format!("s3://lake/{}", objects[1].0), "one.jsonl");
    assert_eq!(rows("one.jsonl"), expected[3..]);
    run("s3://lake/data/lang=pt%2FBR/*", "some.jsonl");
    assert_eq!(rows("some.jsonl"), expected[3..]);
}

#[test]
fn standard_input_of_a_run_in_a_store_needs_no_home() {
    let (bench, cloud) = (Bench::new(), Ministack::start());
    cloud.python("import boto3; boto3.client('s3').create_bucket(Bucket='lake')");
    bench.write("in.jsonl", jsonl(30));
    let nowhere = bench.write("file", "").join("home");
    std::fs::create_dir(bench.path("tmp")).unwrap();
    for place in [
        ["--run-dir", "s3://lake/run"],
        ["--store", "s3://lake/shoal"],
    ] {
        let mut command = bench.shoal(["run", "-", "-o", "out.csv", "--model", tiny()]);
        for name in ["HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
            command.env(name, &nowhere);
        }
        let output = command
            .args(place)
            .envs(cloud.variables())
            .env("TMPDIR", bench.path("tmp"))
            .stdin(std::fs::File::open(bench.path("in.jsonl")).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{place:?}: {}", describe(&output));
        assert_eq!(bench.text("out.csv").lines().count(), 31);
        assert_eq!(std::fs::read_dir(bench.path("tmp")).unwrap().count(), 0);
    }
}
