//! What the targets share: folders, the fixtures of the encoder's tests, and tables that are planned and read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use shoal_encoder::{Isa, Model, Precision};
use shoal_job::input::Sources;
use shoal_job::part::{Labelled, PartWriter, count_rows};
use shoal_job::plan::{self, Request};
use shoal_job::spec::{ModelSpec, Parameters};
use shoal_job::{Batch, Cancel, Job, Row, RunDir};

/// What stands between the files of an input that holds several: no text has it.
pub const BETWEEN: u8 = 0xff;

/// An empty folder that goes when it is dropped.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Libraries for Parquet and for tokenizers panic on some files, which shoal catches. What is caught must not end a target, as
/// the hook of the fuzzer would have it; what is not caught still does.
pub fn allow_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// A model folder of the encoder's tests.
pub fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/encoder/tests/fixtures");
    fixtures.join(name)
}

/// A copy of the smallest fixture with `content` in the place of `file`.
pub fn model_folder(file: &str, content: &[u8]) -> tempfile::TempDir {
    let copy = folder();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        // `vocab.txt` counts where there is no other tokenizer.
        if name != file && !(name == "tokenizer.json" && file == "vocab.txt") {
            let whole = fixture("distilbert-regression").join(name);
            std::os::unix::fs::symlink(whole, copy.path().join(name)).unwrap();
        }
    }
    std::fs::write(copy.path().join(file), content).unwrap();
    copy
}

/// Opens a model folder in both precisions and labels `texts` with what can be read.
pub fn label_texts(folder: &Path, texts: &[&str]) {
    let checkpoint = match shoal_encoder::Checkpoint::open(folder) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for precision in Precision::ALL {
        let Ok(model) = Model::pack(&checkpoint, "fuzz".into(), precision, Isa::best()) else {
            continue;
        };
        let model = Arc::new(model);
        for text in texts {
            let Ok(tokens) = model.encode(text, model.max_tokens().min(24)) else {
                continue;
            };
            assert!(tokens.ids.len() <= model.max_tokens());
            let mut session = shoal_encoder::Session::new(model.clone());
            let labels = session.logits(&[tokens]).len();
            assert_eq!(labels, model.labels().len());
        }
    }
}

/// A model that no file stands behind.
pub fn no_model() -> ModelSpec {
    ModelSpec {
        reference: "fuzz".into(),
        fingerprint: "fuzz".into(),
        precision: "int8".into(),
        labels: vec!["no".into(), "yes".into()],
        max_tokens: 16,
    }
}

/// Plans `input` in batches of one and of many records, and reads them back. What a record is must not depend on how the
/// input was cut. `may_fail`: whether a source that was planned may turn out to be unreadable, as Parquet may.
pub fn plan_and_read(input: &Path, parameters: &Parameters, may_fail: bool) {
    let run_at = |batch_size: u64| {
        let folder = folder();
        let parameters = Parameters {
            batch_size,
            ..parameters.clone()
        };
        read(input, folder.path(), parameters)
    };
    match (run_at(1), run_at(1000)) {
        (Ok(one), Ok(many)) => assert_eq!(one, many),
        (Err(_), Err(_)) => {}
        (one, many) => assert!(may_fail, "{one:?}\n{many:?}"),
    }
}

/// The rows of `input`; `Err` where it is refused when it is planned.
fn read(input: &Path, run: &Path, parameters: Parameters) -> shoal_job::Result<Vec<Row>> {
    let run = RunDir::create(run)?;
    let inputs = [input.to_str().unwrap().to_owned()];
    let request = Request {
        inputs: &inputs,
        spool: None,
        model: no_model(),
        parameters,
        output: "-",
        version: "fuzz",
        inputs_at: None,
    };
    let is_parquet = input.extension().is_some_and(|name| name == "parquet");
    let job = plan::plan(&request, &run, &Cancel::new(), &mut |_| {})?;
    let batches = run.batches(&job)?;
    assert_eq!(run.job().unwrap().as_ref(), Some(&job));
    assert_eq!(run.batches(&job).unwrap(), batches);
    let rows = rows(&job, &batches, &run);
    match rows {
        Ok(rows) => {
            assert_eq!(rows.len() as u64, job.records);
            for (number, row) in rows.iter().enumerate() {
                assert_eq!(row.row, number as u64);
            }
            write(&job, &rows);
            Ok(rows)
        }
        Err(error) => {
            assert!(is_parquet, "a planned text cannot be read: {error}");
            Err(error)
        }
    }
}

/// The rows of all batches.
pub fn rows(job: &Job, batches: &[Batch], run: &RunDir) -> shoal_job::Result<Vec<Row>> {
    let sources = Sources::default();
    let mut rows = Vec::new();
    for batch in batches {
        for row in sources.rows(job, run, batch) {
            rows.push(row?);
        }
    }
    Ok(rows)
}

/// The part of rows that all got the same label.
fn write(job: &Job, rows: &[Row]) {
    let mut part = PartWriter::new(job);
    let mut results = 0;
    for record in rows.iter().filter_map(|row| row.content.as_ref().ok()) {
        results += 1;
        part.push(Labelled {
            id: &record.id,
            label: "yes",
            score: 0.75,
            scores: &[0.25, 0.75],
            kept: &record.kept,
        });
    }
    if let Ok(part) = part.finish() {
        assert_eq!(
            count_rows(job.parameters.output_format, &part),
            Some(results)
        );
    }
}
