//! Outputs are the same bytes as those of an earlier build, which lie in `tests/golden/CASE`.
//!
//! A case runs the command and compares the output, `failed.jsonl` where there are dead letters, and the figures of the
//! summary that do not depend on time. Where it differs, what was written is kept in `target/tmp/golden/CASE`, and the
//! message says how to look at it.
//!
//! - `SHOAL_GOLDEN_WRITE=1` writes the golden files instead. Do so only where outputs are meant to change, and look at
//!   the difference before the commit.
//! - `SHOAL_GOLDEN_BIN=/path/to/shoal` runs another build.
//!
//! The inputs in `tests/golden/inputs` are made by `tests/golden/make_inputs.py`. The head of a model with extreme scores
//! is made here ([`Head`]), since none of the fixtures has one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Bench, describe, repository};

const FOLDER: &str = "tests/golden";

/// Folder of the inputs, which is no case.
const INPUTS: &str = "inputs";

/// Longest piece of a line that a message shows.
const SHOWN: usize = 400;

struct Case {
    name: String,
    /// The case whose golden files these are too: the same job, cut or read in another way.
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
    /// Further options, with spaces between them.
    options: &'static str,
}

enum Model {
    Bundled,
    Fixture(&'static str),
    Made(Head),
}

/// A fixture whose classifier is changed, so that its scores are extreme.
struct Head {
    /// One file of weights in `f32`.
    fixture: &'static str,
    problem: &'static str,
    /// What its weights are multiplied by.
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

    /// Runs the command, and gives what is compared, by file name; what it said, where it fails.
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

    /// What differs from the golden files, in words.
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
                (None, _) => "is there, but no golden file".to_owned(),
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

/// The command, with no settings but those of the case.
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
    /// Writes the model to a folder of its own.
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

/// The figures of a summary that are the same at every run, a line each.
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

/// Dead letters name their file by its full path. The golden files have `CHECKOUT` for the part that is not the same on
/// every machine.
fn without_checkout(letters: &[u8]) -> Vec<u8> {
    let root = json!(repository("").display().to_string()).to_string();
    let root = root.trim_matches('"').trim_end_matches('/');
    let letters = String::from_utf8(letters.to_vec()).unwrap();
    letters
        .replace(&format!("\"file\":\"{root}"), "\"file\":\"CHECKOUT")
        .into_bytes()
}

/// All files below a folder with their paths in it; none where there is no folder.
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
            "differs from byte {same} on ({} bytes, golden {})",
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
            other => panic!("no instruction set is called {other}"),
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
        // A case that has the files of another one follows it in the table, and is compared with what that wrote.
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

fn bundled_cases() -> Vec<Case> {
    let all = "--scores --label-column label --keep-columns text,stars,label,title";
    vec![
        bundled("bundled-csv").options("--label-column label"),
        bundled("bundled-batches-of-7")
            .same_as("bundled-csv")
            .options("--label-column label")
            .cut(7, 1),
        bundled("bundled-batches-of-1")
            .same_as("bundled-csv")
            .options("--label-column label")
            .cut(1, 2),
        bundled("bundled-one-batch-of-jsonl-zst")
            .same_as("bundled-csv")
            .inputs(["examples/reviews.jsonl.zst".into()])
            .options("--label-column label")
            .cut(100_000, 1),
        bundled("bundled-tsv-piped")
            .same_as("bundled-csv")
            .piped("examples/reviews.tsv")
            .options("--label-column label"),
        bundled("bundled-processes")
            .same_as("bundled-csv")
            .inputs(["examples/reviews.csv.gz".into()])
            .options("--label-column label --backend process"),
        bundled("bundled-jsonl")
            .inputs(["examples/reviews.jsonl".into()])
            .output("out.jsonl")
            .options(all),
        bundled("bundled-parquet")
            .inputs(["examples/reviews.parquet".into()])
            .output("out.parquet")
            .options(all),
        bundled("bundled-text-folder")
            .inputs(["examples/aclImdb".into()])
            .options("--label-column label --keep-columns label --scores"),
        bundled("bundled-f32")
            .engine("f32", "avx2")
            .options("--label-column label --scores"),
        bundled("bundled-avx512")
            .engine("int8", "avx512")
            .options("--label-column label --scores"),
        bundled("bundled-avx512-f32")
            .engine("f32", "avx512")
            .options("--label-column label --scores"),
        bundled("bundled-avx512-vnni")
            .engine("int8", "avx512-vnni")
            .options("--label-column label --scores"),
        bundled("bundled-portable")
            .engine("int8", "portable")
            .inputs([own("reviews-6.jsonl")])
            .options("--scores"),
        bundled("bundled-portable-f32")
            .engine("f32", "portable")
            .inputs([own("reviews-6.jsonl")])
            .options("--scores"),
        bundled("bundled-long")
            .inputs([own("reviews-long.jsonl")])
            .options("--scores"),
        bundled("bundled-long-f32")
            .engine("f32", "avx2")
            .inputs([own("reviews-long.jsonl")])
            .options("--scores"),
        bundled("bundled-16-tokens").options("--label-column label --max-tokens 16"),
    ]
}

/// Every fixture in both precisions.
fn model_cases() -> Vec<Case> {
    let models = [
        "bert-bf16-sharded",
        "bert-cased-multi",
        "bert-f32",
        "bert-old-names",
        "bert-vocabulary",
        "distilbert-f16",
        "distilbert-f32",
        "distilbert-positions",
        "distilbert-regression",
    ];
    let mut cases = Vec::new();
    for model in models {
        // Models of 2 and 7 labels on every instruction set; the others where it takes another path of the code.
        let isas = match model {
            "distilbert-f32" | "bert-bf16-sharded" => {
                &["avx2", "portable", "avx512", "avx512-vnni"][..]
            }
            _ => &["avx2", "portable"],
        };
        // Gold labels are compared with one label a record.
        let options = match model {
            "bert-cased-multi" | "distilbert-regression" => "--text-column text --scores",
            _ => "--text-column text --scores --label-column gold",
        };
        for isa in isas {
            for precision in ["f32", "int8"] {
                cases.push(
                    small(&format!("{model}-{isa}-{precision}"), "texts.jsonl")
                        .model(model)
                        .engine(precision, isa)
                        .options(options),
                );
            }
        }
    }
    cases
}

fn decision_cases() -> Vec<Case> {
    let threshold = |name, options: &'static str| {
        small(name, "texts.jsonl")
            .model("bert-cased-multi")
            .options(options)
    };
    let regression = |name, output, factor, bias| {
        let head = Head {
            fixture: "distilbert-regression",
            problem: "regression",
            factor,
            bias,
        };
        extreme(name, output, head)
    };
    let two = |name, output, factor, bias| {
        let head = Head {
            fixture: "distilbert-f32",
            problem: "single_label_classification",
            factor,
            bias,
        };
        extreme(name, output, head)
    };
    let seven = |name, output, problem, factor, bias| {
        let head = Head {
            fixture: "bert-cased-multi",
            problem,
            factor,
            bias,
        };
        extreme(name, output, head)
    };
    let single = "single_label_classification";
    let multi = "multi_label_classification";
    let steep = &[0.0, -5.0, -16.0, -40.0, -80.0, -86.0, -200.0];
    let wide = &[-100.0, -20.0, -16.0, 0.0, 16.0, 20.0, 100.0];
    vec![
        threshold("threshold-0", "--text-column text --threshold 0"),
        threshold("threshold-0.45", "--text-column text --threshold 0.45"),
        threshold("threshold-1", "--text-column text --threshold 1"),
        threshold("threshold-parquet", "--text-column text --scores").output("out.parquet"),
        // One label without a problem type is a yes or no.
        extreme(
            "one-label",
            "out.jsonl",
            Head {
                fixture: "distilbert-regression",
                problem: single,
                factor: 1.0,
                bias: &[0.25],
            },
        ),
        two("two-equal-labels", "out.csv", 0.0, &[0.0, 0.0]),
        two("two-equal-labels-jsonl", "out.jsonl", 0.0, &[0.0, 0.0]),
        two("two-certain-labels", "out.csv", 100.0, &[0.0, 0.0]),
        two("two-certain-labels-jsonl", "out.jsonl", 100.0, &[0.0, 0.0]),
        two("two-nearly-certain-labels", "out.jsonl", 1.0, &[0.0, 15.0]),
        seven("seven-steep-labels", "out.csv", single, 0.0, steep),
        seven("seven-steep-labels-jsonl", "out.jsonl", single, 1.0, steep),
        seven(
            "seven-steep-labels-parquet",
            "out.parquet",
            single,
            1.0,
            steep,
        ),
        seven("seven-wide-labels", "out.csv", multi, 0.01, wide),
        seven("seven-wide-labels-jsonl", "out.jsonl", multi, 1.0, wide),
        regression("regression-0", "out.jsonl", 0.0, &[0.0]),
        regression("regression-1e-44", "out.csv", 0.0, &[1e-44]),
        regression("regression-1e-8", "out.jsonl", 1e-8, &[0.0]),
        regression("regression-1e-5", "out.csv", 1e-5, &[0.0]),
        regression("regression-1e7", "out.csv", 1e7, &[0.0]),
        regression("regression-1e16", "out.jsonl", 1e16, &[0.0]),
        regression("regression-1e20", "out.csv", 1e20, &[0.0]),
        regression("regression-infinite", "out.csv", 0.0, &[f32::INFINITY]),
        regression(
            "regression-infinite-jsonl",
            "out.jsonl",
            0.0,
            &[f32::NEG_INFINITY],
        ),
        regression("regression-nan", "out.csv", 0.0, &[f32::NAN]),
        regression("regression-nan-jsonl", "out.jsonl", 0.0, &[f32::NAN]),
        two("two-labels-nan", "out.csv", 0.0, &[f32::NAN, 0.0]),
    ]
}

fn column_cases() -> Vec<Case> {
    let json = "--text-column text --scores --label-column label \
                --keep-columns text,int,float,bool,mixed,big,list,object,größe,label,score";
    let csv = "--text-column text --keep-columns text,number,note,größe,label,score";
    let tsv = "--text-column text --keep-columns note,number,text";
    let parquet = "--text-column text --label-column label --keep-columns \
                   text,i8,u64,f32,f64,inf,bool,date,time,utc,clock,decimal,list,struct,dictionary,binary,null,label";
    let id = |name, input| small(name, input).output("out.jsonl");
    let id_parquet = |name, input| small(name, input).output("out.parquet");
    let key = "--text-column text --id-column key";
    vec![
        small("columns-jsonl-to-csv", "columns.jsonl").options(json),
        small("columns-jsonl-to-jsonl", "columns.jsonl")
            .options(json)
            .output("out.jsonl"),
        small("columns-jsonl-to-parquet", "columns.jsonl")
            .options(json)
            .output("out.parquet"),
        small("columns-jsonl-in-batches-of-1", "columns.jsonl")
            .same_as("columns-jsonl-to-jsonl")
            .options(json)
            .output("out.jsonl")
            .cut(1, 2),
        small("columns-csv-to-csv", "columns.csv").options(csv),
        small("columns-csv-to-jsonl", "columns.csv")
            .options(csv)
            .output("out.jsonl"),
        small("columns-csv-to-parquet", "columns.csv")
            .options(csv)
            .output("out.parquet"),
        small("columns-csv-in-batches-of-1", "columns.csv")
            .same_as("columns-csv-to-csv")
            .options(csv)
            .cut(1, 2),
        small("columns-csv-piped", "columns.csv")
            .same_as("columns-csv-to-jsonl")
            .piped(&own("columns.csv"))
            .options(csv)
            .output("out.jsonl"),
        small("columns-crlf", "columns-crlf.csv")
            .options("--text-column text --keep-columns text,note"),
        small("columns-tsv-to-csv", "columns.tsv").options(tsv),
        small("columns-tsv-to-jsonl", "columns.tsv")
            .options(tsv)
            .output("out.jsonl"),
        small("columns-parquet-to-csv", "columns.parquet").options(parquet),
        small("columns-parquet-to-jsonl", "columns.parquet")
            .options(parquet)
            .output("out.jsonl"),
        small("columns-parquet-to-parquet", "columns.parquet")
            .options(parquet)
            .output("out.parquet"),
        small("columns-parquet-in-batches-of-2", "columns.parquet")
            .same_as("columns-parquet-to-jsonl")
            .options(parquet)
            .output("out.jsonl")
            .cut(2, 2),
        small("columns-parquet-piped", "columns.parquet")
            .same_as("columns-parquet-to-jsonl")
            .piped(&own("columns.parquet"))
            .options(parquet)
            .output("out.jsonl"),
        // Today, values of a time zone with a name are not readable.
        small("columns-parquet-time-zone", "columns.parquet")
            .options("--text-column text --keep-columns zone")
            .output("out.jsonl"),
        id("ids-numbers", "ids-numbers.jsonl"),
        id_parquet("ids-numbers-parquet", "ids-numbers.jsonl"),
        id("ids-floats", "ids-floats.jsonl"),
        id_parquet("ids-floats-parquet", "ids-floats.jsonl"),
        id("ids-mixed", "ids-mixed.jsonl"),
        id_parquet("ids-mixed-parquet", "ids-mixed.jsonl"),
        small("ids-mixed-csv", "ids-mixed.jsonl"),
        id("ids-large", "ids-large.jsonl"),
        id("ids-strings", "ids-strings.jsonl"),
        small("ids-strings-csv", "ids-strings.jsonl"),
        id("ids-some", "ids-some.jsonl"),
        id("ids-none", "ids-none.jsonl"),
        id_parquet("ids-none-parquet", "ids-none.jsonl"),
        id("ids-key", "ids-none.jsonl").options(key),
        id("ids-csv-none", "ids-none.csv"),
        id("ids-csv-key", "ids-none.csv").options(key),
        id("ids-csv-some", "ids-some.csv"),
        id("ids-parquet-strings", "ids-strings.parquet"),
        id("ids-parquet-none", "ids-none.parquet"),
    ]
}

fn input_cases() -> Vec<Case> {
    let few = "--text-column text --keep-columns text";
    let several = || {
        [
            own("several/*.csv"),
            own("several/c [x].csv"),
            own("several/d.jsonl"),
        ]
    };
    let folder = |name, output, options| {
        small(name, "texts.jsonl")
            .output(output)
            .options(options)
            .cut(20, 2)
    };
    vec![
        small("few", "few.jsonl").options(few).output("out.jsonl"),
        small("few-gz", "few.jsonl.gz")
            .same_as("few")
            .options(few)
            .output("out.jsonl"),
        small("few-two-members", "two-members.jsonl.gz")
            .same_as("few")
            .options(few)
            .output("out.jsonl"),
        small("few-two-frames", "two-frames.jsonl.zst")
            .same_as("few")
            .options(few)
            .output("out.jsonl"),
        small("few-gz-piped", "few.jsonl")
            .same_as("few")
            .piped(&own("few.jsonl.gz"))
            .options(few)
            .output("out.jsonl"),
        small("few-zst-piped", "few.jsonl")
            .same_as("few")
            .piped(&own("two-frames.jsonl.zst"))
            .options(few)
            .output("out.jsonl"),
        small("to-stdout", "few.jsonl").options(few).output("-"),
        small("to-stdout-csv", "few.jsonl")
            .options("--text-column text --keep-columns text --format csv")
            .output("-"),
        small("to-stdout-parquet", "few.jsonl")
            .options("--text-column text --format parquet")
            .output("-"),
        folder("to-folder-csv", "out/", "--text-column text --format csv"),
        folder(
            "to-folder-jsonl",
            "out/",
            "--text-column text --format jsonl",
        ),
        folder(
            "to-folder-parquet",
            "out/",
            "--text-column text --format parquet --scores",
        ),
        folder(
            "to-parquet-of-several-batches",
            "out.parquet",
            "--text-column text --scores",
        ),
        small("several", "few.jsonl")
            .inputs(several())
            .output("out.jsonl")
            .options(few),
        small("several-in-batches-of-2", "few.jsonl")
            .same_as("several")
            .inputs(several())
            .output("out.jsonl")
            .options(few)
            .cut(2, 2),
        small("text-folder", "folder")
            .output("out.jsonl")
            .options("--keep-columns label,text --label-column label"),
        small("text-folder-in-batches-of-1", "folder")
            .same_as("text-folder")
            .output("out.jsonl")
            .options("--keep-columns label,text --label-column label")
            .cut(1, 2),
        small("text-folder-plain", "folder-plain")
            .options("--text-column text --keep-columns text"),
        small("max-tokens-3", "texts.jsonl").options("--text-column text --scores --max-tokens 3"),
        small("max-tokens-10", "texts.jsonl")
            .engine("int8", "avx2")
            .options("--text-column text --scores --max-tokens 10"),
        small("max-tokens-300", "texts.jsonl")
            .model("distilbert-positions")
            .options("--text-column text --scores --max-tokens 300"),
    ]
}

fn bad_record_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for input in [
        "bad.jsonl",
        "bad.csv",
        "bad.tsv",
        "bad.parquet",
        "bad-folder",
    ] {
        let owner: &'static str = match input {
            "bad.jsonl" => "bad-jsonl",
            "bad.csv" => "bad-csv",
            "bad.tsv" => "bad-tsv",
            "bad.parquet" => "bad-parquet",
            _ => "bad-text-folder",
        };
        let keep = match input {
            "bad.csv" => "--text-column text --keep-columns text,more",
            _ => "--text-column text --keep-columns text",
        };
        cases.push(small(owner, input).output("out.jsonl").options(keep));
        for (batch_size, concurrency) in [(1, 1), (3, 2)] {
            cases.push(
                small(&format!("{owner}-in-batches-of-{batch_size}"), input)
                    .same_as(owner)
                    .output("out.jsonl")
                    .options(keep)
                    .cut(batch_size, concurrency),
            );
        }
    }
    let bad = "--text-column text";
    cases.extend([
        small("bad-to-csv", "bad.jsonl").options(bad),
        small("bad-to-parquet", "bad.jsonl")
            .options(bad)
            .output("out.parquet"),
        // A batch whose records are all bad has an empty part.
        small("bad-to-folder-csv", "bad-only.jsonl")
            .options("--text-column text --format csv")
            .output("out/")
            .cut(2, 1),
        small("bad-to-folder-jsonl", "bad-only.jsonl")
            .options("--text-column text --format jsonl")
            .output("out/")
            .cut(2, 1),
        small("bad-to-folder-parquet", "bad-only.jsonl")
            .options("--text-column text --format parquet")
            .output("out/")
            .cut(2, 1),
        small("bad-piped", "bad.csv")
            .piped(&own("bad.csv"))
            .options("--text-column text --keep-columns text,more")
            .output("out.jsonl"),
        small("oversized-jsonl", "oversized.jsonl.zst").options(bad),
        small("oversized-csv", "oversized.csv.zst")
            .options(bad)
            .cut(1, 1),
    ]);
    cases
}

#[test]
fn of_the_bundled_model() {
    check(&bundled_cases());
}

#[test]
fn of_every_small_model() {
    check(&model_cases());
}

#[test]
fn of_thresholds_and_extreme_scores() {
    check(&decision_cases());
}

#[test]
fn of_kept_columns_and_ids() {
    check(&column_cases());
}

#[test]
fn of_inputs_and_outputs_of_every_kind() {
    check(&input_cases());
}

#[test]
fn of_bad_records() {
    check(&bad_record_cases());
}

#[test]
fn every_case_has_a_name_of_its_own_and_every_golden_file_a_case() {
    let cases = [
        bundled_cases(),
        model_cases(),
        decision_cases(),
        column_cases(),
        input_cases(),
        bad_record_cases(),
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
