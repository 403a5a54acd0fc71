//! The command in a report repeats the run: when a shell runs it in another folder, it writes the same bytes.

use std::path::Path;
use std::process::{Child, Command};

use serde_json::Value;

use crate::support::{Bench, describe, repository, summary, tiny};
use crate::worker_http::{LISTEN, Worker};

/// Options that name the columns of the input.
const COLUMNS: [&str; 8] = [
    "--text-column",
    "review",
    "--id-column",
    "key",
    "--label-column",
    "gold",
    "--keep-columns",
    "gold,it's a $col,\"a, b\"",
];

/// A bench for runs and the commands that repeat them.
struct Repeat {
    bench: Bench,
    variables: Vec<(&'static str, String)>,
    /// The run directory whose batches an array worker processes while a run waits.
    array: Option<&'static str>,
}

impl Repeat {
    fn new() -> Self {
        Self::within(Bench::new(), Vec::new())
    }

    /// Uses `bench`, and adds an input in two formats.
    fn within(bench: Bench, variables: Vec<(&'static str, String)>) -> Self {
        for (separator, name) in [(",", "in/some reviews.csv"), ("\t", "in/reviews.txt")] {
            let mut text = ["key", "review", "gold", "it's a $col", "\"a, b\""].join(separator);
            text.push('\n');
            for row in 0..23 {
                let words = ["good ", "bad ", "film "][row % 3].repeat(row % 5 + 1);
                let gold = ["label A", "label B"][row % 2];
                let cells = [&format!("k{row}"), &words, gold, &row.to_string(), "x"];
                text += &cells.join(separator);
                text.push('\n');
            }
            bench.write(name, text);
        }
        bench.write("elsewhere/x", "");
        Self {
            bench,
            variables,
            array: None,
        }
    }

    fn shoal(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.shoal(arguments);
        command.envs(self.variables.clone());
        command
    }

    /// Runs a command until it exits, and array workers until then.
    fn finish(&self, mut command: Command) -> std::process::Output {
        let mut child = command.spawn().unwrap();
        if let Some(run) = self.array {
            let worker = ["worker", "--run", run, "--index", "0", "--of", "1"];
            let is_running = |child: &mut Child| child.try_wait().unwrap().is_none();
            while is_running(&mut child) {
                // The worker fails until the run is planned.
                self.shoal(&worker).output().unwrap();
            }
        }
        child.wait_with_output().unwrap()
    }

    /// The command in the report of a run, which the HTML page must also contain.
    fn command_of(&self, run: &str) -> String {
        let report: Value = summary(self.shoal(&["report", run, "--format", "json"]));
        let command = report["command"].as_str().unwrap().to_owned();
        let page = self.shoal(&["report", run, "-o", "-"]).output().unwrap();
        let page = String::from_utf8(page.stdout).unwrap();
        let text = [
            ("&#39;", "'"),
            ("&#34;", "\""),
            ("&quot;", "\""),
            ("&amp;", "&"),
        ]
        .into_iter()
        .fold(page, |page, (escape, character)| {
            page.replace(escape, character)
        });
        assert!(text.contains(&command), "{command} is not on the page");
        command
    }

    /// Runs the arguments, then the command of the report, and compares the output with that of the first run.
    fn check(&self, arguments: &[&str], output: &str) {
        let mut run = self.shoal(&["run"]);
        run.args(arguments)
            .args(["--json", "--quiet", "-o", output])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        let run = self.finish(run);
        assert!(run.status.success(), "{arguments:?}: {}", describe(&run));
        let found: Value = serde_json::from_slice(&run.stdout).unwrap();
        let command = self.command_of(found["run_dir"].as_str().unwrap());

        let path = self.bench.path(output);
        let first = content(&path);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        let repeated = self.finish(self.shell(&command));
        assert!(
            repeated.status.success(),
            "{command}: {}",
            describe(&repeated)
        );
        assert!(content(&path) == first, "{command} writes other bytes");
    }

    /// A shell that runs `command` in another folder, with `shoal` on its PATH.
    fn shell(&self, command: &str) -> Command {
        let shoal = self.shoal(&[]);
        let variables: Vec<_> = shoal
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let program = Path::new(shoal.get_program()).parent().unwrap();
        let others = std::env::var_os("PATH").unwrap();
        let paths = std::iter::once(program.to_owned()).chain(std::env::split_paths(&others));
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .env_clear()
            .envs(variables)
            .env("PATH", std::env::join_paths(paths).unwrap())
            .current_dir(self.bench.path("elsewhere"))
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        shell
    }
}

/// The name and content of each file of an output, which is a file or a folder.
fn content(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), std::fs::read(path).unwrap())];
    }
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// The input and the tiny model, with further options.
fn reviews<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let job = ["in/some reviews.csv", "--model", model];
    [&job[..], &COLUMNS, more].concat()
}

#[test]
fn a_local_run_is_repeated() {
    let repeat = Repeat::new();
    let model = tiny();
    let check = |more: &[&str], output: &str| repeat.check(&reviews(model, more), output);
    check(&[], "plain.csv");
    check(&["--format", "parquet"], "out/");
    check(
        &["--scores", "--precision", "f32", "--isa", "portable"],
        "scores.jsonl",
    );
    let process = "--batch-size 4 --concurrency 3 --max-tokens 8 --backend process --machine desk=0.1:2 --max-cost 9 \
                   --cache-dir cache --max-time 1h --speculation-budget 0 --on-error skip --run-dir";
    let process: Vec<_> = process.split(' ').chain(["my run"]).collect();
    check(&process, "process.csv");
    let tsv = [
        "in/reviews.txt",
        "--input-format",
        "tsv",
        "--quote",
        "\"",
        "--model",
        model,
    ];
    repeat.check(&[&tsv[..], &COLUMNS].concat(), "of_tsv.csv");
    check(&["--auto"], "auto.csv");
    // Options in `shoal.toml` are part of the command.
    let file = "batch-size = 5\nscores = true\nkeep-columns = [\"gold\", \"a, b\"]\n";
    repeat.bench.write("shoal.toml", file);
    let job = [
        "in/some reviews.csv",
        "--model",
        model,
        "--text-column",
        "review",
    ];
    repeat.check(&job, "file.csv");
    let header = repeat.bench.text("file.csv");
    assert!(header.lines().next().unwrap().ends_with(",gold,\"a, b\""));
}

#[test]
fn a_multi_label_run_is_repeated_with_its_threshold() {
    let model = repository("crates/encoder/tests/fixtures/bert-cased-multi");
    let job = ["in/some reviews.csv", "--text-column", "review", "--model"];
    let more = [model.to_str().unwrap(), "--threshold", "0.3"];
    Repeat::new().check(&[&job[..], &more].concat(), "labels.csv");
}

#[test]
fn embeddings_are_repeated_with_their_prompt_dimensions_and_scale() {
    let repeat = Repeat::new();
    let models = repository("crates/encoder/tests/fixtures/embedding");
    let model = models.join("prompts-default-old").display().to_string();
    let job = [
        "in/some reviews.csv",
        "--text-column",
        "review",
        "--model",
        &model,
    ];
    let check = |more: &[&str], output: &str| repeat.check(&[&job[..], more].concat(), output);
    check(&[], "default.jsonl");
    check(
        &[
            "--prompt",
            "it's \"this\": ",
            "--dimensions",
            "4",
            "--normalize",
        ],
        "short.parquet",
    );
    check(&["--prompt", "", "--normalize=false"], "none.jsonl");
    check(
        &["--prompt-name", "query", "--task", "embed"],
        "query.arrow",
    );
}

#[test]
fn a_run_on_http_workers_is_repeated_on_them() {
    let repeat = Repeat::new();
    let worker = Worker::start(&mut repeat.bench.shoal(LISTEN));
    let http = ["--backend", "http", "--url", &worker.url, "--timeout", "60"];
    let model = tiny();
    let job = reviews(model, &http);
    repeat.check(&[&job[..], &["--batch-size", "5"]].concat(), "labels.csv");
}

/// Both runs wait for their workers.
#[test]
fn a_run_of_array_workers_is_repeated_with_other_workers() {
    let repeat = Repeat {
        array: Some("array run"),
        ..Repeat::new()
    };
    let array = [
        "--backend",
        "array",
        "--run-dir",
        "array run",
        "--batch-size",
        "5",
    ];
    repeat.check(&reviews(tiny(), &array), "labels.csv");
}

#[test]
fn a_run_in_an_object_store_is_repeated_there() {
    let cloud = shoal_testing::Ministack::start();
    cloud.python("import boto3; boto3.client('s3').create_bucket(Bucket='lake')");
    let variables = cloud.variables().into_iter().collect();
    let repeat = Repeat::within(Bench::new(), variables);
    let store = ["--store", "s3://lake/shoal"];
    repeat.check(&reviews(tiny(), &store), "labels.csv");
}

#[cfg(feature = "aws")]
#[test]
fn a_run_on_cloud_functions_is_repeated_there() {
    use crate::cloud::{Account, ISA, STORE};

    let account = Account::new(&["--state-machine"]);
    let variables = account.cloud.variables().into_iter().collect();
    let Account { bench, cloud } = account;
    let repeat = Repeat::within(bench, variables);
    let model = tiny();
    for backend in ["lambda", "step-functions"] {
        let place = ["--backend", backend, "--store", STORE, "--isa", ISA];
        let more = "--precision int8 --concurrency 4 --batch-size 5 --timeout 60 --function shoal --max-cost 1 --yes";
        let more: Vec<_> = place.into_iter().chain(more.split(' ')).collect();
        repeat.check(&reviews(model, &more), &format!("{backend}.csv"));
    }
    drop(cloud);
}

/// A library call that continues a run has no command, and the first command may no longer describe the run.
#[test]
fn a_run_that_the_library_continues_has_no_command() {
    let repeat = Repeat::new();
    let model = tiny();
    let job = [
        "in/some reviews.csv",
        "--text-column",
        "review",
        "--model",
        model,
    ];
    let place = ["-o", "labels.csv", "--run-dir", "run", "--quiet"];
    repeat.bench.ok([&["run"], &job[..], &place].concat());
    assert!(repeat.command_of("run").starts_with("shoal run "));

    let mut settings = shoal::Settings::new(
        vec![
            repeat
                .bench
                .path("in/some reviews.csv")
                .display()
                .to_string(),
        ],
        repeat.bench.path("labels.csv").display().to_string(),
    );
    settings.model.reference = Some(model.into());
    settings.parameters.columns = [("text".to_owned(), "review".to_owned())].into();
    settings.run_dir = Some(repeat.bench.path("run"));
    shoal::run(&settings, &shoal::Cancel::new(), &mut |_| {}).unwrap();
    assert!(repeat.command_of("run").starts_with("# no command"));
}
