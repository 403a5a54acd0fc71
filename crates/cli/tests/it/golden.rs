//! Outputs are byte-identical to those of an earlier build, which are in `tests/golden/CASE`.
//!
//! A case runs the command and compares the output, `failed.jsonl` if there are dead letters, and the values of the
//! summary that do not depend on time. If something differs, the output is kept in `target/tmp/golden/CASE`, and the
//! message says how to compare it.
//!
//! - `SHOAL_GOLDEN_WRITE=1` writes the golden files instead. Do so only if outputs are meant to change, and read the
//!   difference before the commit.
//! - `SHOAL_GOLDEN_BIN=/path/to/shoal` runs another build.
//!
//! `tests/golden/make_inputs.py` makes the inputs in `tests/golden/inputs`. No fixture has extreme scores, so [`Head`]
//! makes models that do.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Bench, describe, repository};

const FOLDER: &str = "tests/golden";

/// The folder of the inputs, which is not a case.
const INPUTS: &str = "inputs";

/// The maximum number of characters of a line in a message.
const SHOWN: usize = 400;

struct Case {
    name: String,
    /// The case with the same golden files: the same job with other batches or another input format.
    same_as: Option<&'static str>,
    model: Model,
    precision: &'static str,
    isa: &'static str,
    /// Files of the repository, or `-`.
    inputs: Vec<String>,
    stdin: Option<String>,
    /// `out.csv`, a folder (`out/`), or `-`.
    output: &'static str,
    batch_size: u32,
    concurrency: u32,
    /// Further options, separated by spaces.
    options: &'static str,
}

enum Model {
    Bundled,
    Fixture(&'static str),
    Made(Head),
}

/// A fixture whose classifier is changed, so that its scores are extreme.
struct Head {
    /// A fixture with one file of weights in `f32`.
    fixture: &'static str,
    problem: &'static str,
    /// The factor by which the classifier's weights are multiplied.
    factor: f32,
    bias: &'static [f32],
}

/// A run of the bundled model.
fn bundled(name: &str) -> Case {
    Case {
        name: name.into(),
        same_as: None,
        model: Model::Bundled,
        precision: "int8",
        isa: "avx2",
        inputs: vec!["examples/reviews.csv".into()],
        stdin: None,
        output: "out.csv",
        batch_size: 50,
        concurrency: 2,
        options: "",
    }
}

/// A run of a small model with two labels that reads 64 tokens.
fn small(name: &str, input: &str) -> Case {
    Case {
        model: Model::Fixture("distilbert-f32"),
        precision: "f32",
        inputs: vec![own(input)],
        options: "--text-column text",
        ..bundled(name)
    }
}

/// A run of a model with extreme scores.
fn extreme(name: &str, output: &'static str, head: Head) -> Case {
    Case {
        model: Model::Made(head),
        options: "--text-column text --scores",
        output,
        ..small(name, "texts.jsonl")
    }
}

fn own(input: &str) -> String {
    format!("{FOLDER}/{INPUTS}/{input}")
}

impl Case {
    fn same_as(self, name: &'static str) -> Self {
        let same_as = Some(name);
        Self { same_as, ..self }
    }

    fn model(self, fixture: &'static str) -> Self {
        let model = Model::Fixture(fixture);
        Self { model, ..self }
    }

    fn engine(self, precision: &'static str, isa: &'static str) -> Self {
        Self {
            precision,
            isa,
            ..self
        }
    }

    fn inputs<const N: usize>(self, inputs: [String; N]) -> Self {
        let inputs = inputs.into();
        Self { inputs, ..self }
    }

    fn piped(self, file: &str) -> Self {
        Self {
            stdin: Some(file.into()),
            ..self.inputs(["-".into()])
        }
    }

    fn output(self, output: &'static str) -> Self {
        Self { output, ..self }
    }

    fn cut(self, batch_size: u32, concurrency: u32) -> Self {
        Self {
            batch_size,
            concurrency,
            ..self
        }
    }

    fn options(self, options: &'static str) -> Self {
        Self { options, ..self }
    }

    fn golden(&self) -> PathBuf {
        repository(FOLDER).join(self.same_as.unwrap_or(&self.name))
    }

    /// Runs the command, and returns the files to compare, by name, or its error.
    fn run(&self, bench: &Bench) -> Result<BTreeMap<String, Vec<u8>>, String> {
        let folder = bench.path(&self.name);
        std::fs::create_dir_all(&folder).unwrap();
        let run = folder.join("run");
        let to_stdout = self.output == "-";
        let mut command = command(bench);
        command.arg("run");
        for input in &self.inputs {
            match input.as_str() {
                "-" => command.arg(input),
                file => command.arg(repository(file)),
            };
        }
        match self.output {
            "-" => command.args(["-o", "-"]),
            output => command.arg("-o").arg(folder.join(output)).arg("--json"),
        };
        match &self.model {
            Model::Bundled => {}
            Model::Fixture(name) => {
                command.arg("--model").arg(fixture(name));
            }
            Model::Made(head) => {
                command.arg("--model").arg(head.write(bench, &self.name));
            }
        }
        command
            .args(["--precision", self.precision, "--isa", self.isa])
            .args(["--batch-size", &self.batch_size.to_string()])
            .args(["--concurrency", &self.concurrency.to_string()])
            .arg("--quiet")
            .arg("--run-dir")
            .arg(&run)
            .args(self.options.split_whitespace());
        if let Some(file) = &self.stdin {
            command.stdin(File::open(repository(file)).unwrap());
        }
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(format!("{}: {command:?}: {}", self.name, describe(&output)));
        }

        let mut found = BTreeMap::new();
        let path = folder.join(self.output);
        if to_stdout {
            found.insert("stdout".to_owned(), output.stdout);
        } else {
            found.insert("summary.json".to_owned(), figures(&output.stdout));
            if path.is_dir() {
                for (name, content) in files(&path) {
                    found.insert(format!("out/{name}"), content);
                }
            } else {
                found.insert(self.output.to_owned(), std::fs::read(path).unwrap());
            }
        }
        if let Ok(letters) = std::fs::read(run.join("failed.jsonl")) {
            found.insert("failed.jsonl".to_owned(), without_checkout(&letters));
        }
        Ok(found)
    }

    /// Describes the differences from the golden files.
    fn compare(&self, found: &BTreeMap<String, Vec<u8>>) -> Option<String> {
        let golden = self.golden();
        let expected = files(&golden);
        if expected == *found {
            return None;
        }
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("golden")
            .join(&self.name);
        write(&kept, found);
        let mut message = format!("{}:", self.name);
        let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        for name in names {
            let difference = match (expected.get(name), found.get(name)) {
                (Some(expected), Some(found)) if expected == found => continue,
                (Some(expected), Some(found)) => first_difference(name, expected, found),
                (Some(_), None) => "is missing".to_owned(),
                (None, _) => "has no golden file".to_owned(),
            };
            message += &format!("\n  {name} {difference}");
        }
        message += &format!(
            "\n  to see all: diff -r {} {}",
            golden.display(),
            kept.display()
        );
        Some(message)
    }
}

/// The command with only the settings of the case.
fn command(bench: &Bench) -> Command {
    let binary = std::env::var_os("SHOAL_GOLDEN_BIN");
    let mut command = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_shoal").into()));
    command
        .current_dir(bench.path(""))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", bench.path("home"))
        .stdin(Stdio::null());
    command
}

fn fixture(name: &str) -> PathBuf {
    repository("crates/encoder/tests/fixtures").join(name)
}

impl Head {
    /// Writes the model to a new folder.
    fn write(&self, bench: &Bench, name: &str) -> PathBuf {
        let from = fixture(self.fixture);
        let into = |file: &str| format!("models/{name}/{file}");
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            bench.write(&into(file), std::fs::read(from.join(file)).unwrap());
        }
        let config = std::fs::read(from.join("config.json")).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        config["problem_type"] = json!(self.problem);
        bench.write(&into("config.json"), config.to_string());

        // A safetensors file: length of the header, header, values.
        let mut weights = std::fs::read(from.join("model.safetensors")).unwrap();
        let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        let (header, values) = weights[8..].split_at_mut(length);
        let header: Value = serde_json::from_slice(header).unwrap();
        let mut change = |tensor: &str, new: &dyn Fn(usize, f32) -> f32| {
            let tensor = &header[tensor];
            assert_eq!(tensor["dtype"], "F32");
            let [from, to] = [0, 1].map(|at| tensor["data_offsets"][at].as_u64().unwrap() as usize);
            for (index, value) in values[from..to].chunks_exact_mut(4).enumerate() {
                let old = f32::from_le_bytes((&*value).try_into().unwrap());
                value.copy_from_slice(&new(index, old).to_le_bytes());
            }
        };
        change("classifier.weight", &|_, weight| weight * self.factor);
        change("classifier.bias", &|label, _| self.bias[label]);
        bench.write(&into("model.safetensors"), weights);
        bench.path(&format!("models/{name}"))
    }
}

/// The values of a summary that are the same in every run, one per line.
fn figures(summary: &[u8]) -> Vec<u8> {
    let summary: Value = serde_json::from_slice(summary).unwrap();
    let names = [
        "accuracy",
        "failed",
        "isa",
        "max_tokens",
        "precision",
        "records",
        "results",
        "tokens",
        "truncated",
    ];
    let lines = names.map(|name| format!("{}\n", json!({ name: summary[name] })));
    lines.concat().into_bytes()
}

/// Dead letters contain the full path of their file. Replaces the path of the repository by `CHECKOUT`, as in the golden
/// files.
fn without_checkout(letters: &[u8]) -> Vec<u8> {
    let root = json!(repository("").display().to_string()).to_string();
    let root = root.trim_matches('"').trim_end_matches('/');
    let letters = String::from_utf8(letters.to_vec()).unwrap();
    letters
        .replace(&format!("\"file\":\"{root}"), "\"file\":\"CHECKOUT")
        .into_bytes()
}

/// All files below a folder, by relative path; none if the folder does not exist.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return found;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = files(&entry.path()).into_iter();
            found.extend(below.map(|(path, content)| (format!("{name}/{path}"), content)));
        } else {
            found.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

/// Replaces a folder by these files.
fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    for (name, content) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

fn first_difference(name: &str, expected: &[u8], found: &[u8]) -> String {
    let is_same = |(a, b): &(&u8, &u8)| a == b;
    let same = std::iter::zip(expected, found).take_while(is_same).count();
    if name.ends_with(".parquet") {
        return format!(
            "differs at byte {same} ({} bytes, golden {})",
            found.len(),
            expected.len()
        );
    }
    let number = expected[..same].iter().filter(|b| **b == b'\n').count();
    let line = |content: &[u8]| {
        content
            .split_inclusive(|b| *b == b'\n')
            .nth(number)
            .map_or_else(
                || "the end".to_owned(),
                |line| {
                    let text = String::from_utf8_lossy(line);
                    format!("{:?}", text.chars().take(SHOWN).collect::<String>())
                },
            )
    };
    format!(
        "differs in line {}:\n    golden {}\n    now    {}",
        number + 1,
        line(expected),
        line(found)
    )
}

/// Whether this CPU has an instruction set.
fn has(isa: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        match isa {
            "portable" => true,
            "avx2" => avx2,
            "avx512" => avx2 && avx512,
            "avx512-vnni" => avx2 && avx512 && is_x86_feature_detected!("avx512vnni"),
            other => panic!("unknown instruction set {other}"),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        isa == "portable"
    }
}

/// Runs all cases, and compares or writes their golden files.
fn check(cases: &[Case]) {
    let is_to_write = std::env::var_os("SHOAL_GOLDEN_WRITE").is_some_and(|value| value == "1");
    let bench = Bench::new();
    let mut differences = Vec::new();
    for case in cases {
        if !has(case.isa) {
            println!("{} skipped: this CPU lacks {}", case.name, case.isa);
            continue;
        }
        // A case with the golden files of another one follows it in the table, so they are already written.
        match case.run(&bench) {
            Err(message) => differences.push(message),
            Ok(found) if is_to_write && case.same_as.is_none() => write(&case.golden(), &found),
            Ok(found) => differences.extend(case.compare(&found)),
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} cases differ from their golden files\n{}\nIf outputs are meant to change, run this again with \
         SHOAL_GOLDEN_WRITE=1.",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
}

#[test]
fn golden_files_of_the_bundled_model() {
    check(&cases::bundled_cases());
}

#[test]
fn golden_files_of_every_small_model() {
    check(&cases::model_cases());
}

#[test]
fn golden_files_of_thresholds_and_extreme_scores() {
    check(&cases::decision_cases());
}

#[test]
fn golden_files_of_kept_columns_and_ids() {
    check(&cases::column_cases());
}

#[test]
fn golden_files_of_every_input_and_output_format() {
    check(&cases::input_cases());
}

#[test]
fn golden_files_of_bad_records() {
    check(&cases::bad_record_cases());
}

#[test]
fn case_names_are_unique_and_every_golden_folder_has_a_case() {
    let cases = [
        cases::bundled_cases(),
        cases::model_cases(),
        cases::decision_cases(),
        cases::column_cases(),
        cases::input_cases(),
        cases::bad_record_cases(),
    ];
    let mut names = BTreeSet::new();
    for table in &cases {
        let mut before = BTreeSet::new();
        for case in table {
            assert!(
                names.insert(&case.name),
                "two cases are called {}",
                case.name
            );
            match case.same_as {
                Some(other) => assert!(before.contains(other), "{} must follow {other}", case.name),
                None => assert!(before.insert(case.name.as_str())),
            }
        }
    }
    for entry in std::fs::read_dir(repository(FOLDER)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_case = |case: &Case| case.same_as.is_none() && case.name == name;
        assert!(
            !entry.path().is_dir() || name == INPUTS || cases.iter().flatten().any(is_case),
            "{FOLDER}/{name} belongs to no case"
        );
    }
}
