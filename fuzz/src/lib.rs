//! Helpers of the fuzz targets: folders, the encoder's test fixtures, and planning and reading of
//! inputs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use shoal_encoder::{Isa, Model, Precision};
use shoal_job::input::Sources;
use shoal_job::part::{Labelled, PartWriter, count_rows};
use shoal_job::plan::{self, Request};
use shoal_job::spec::{ModelSpec, Parameters};
use shoal_job::{Batch, Cancel, Job, Row, RunDir};

/// Separates the files in an input that contains several. No text contains this byte.
pub const SEPARATOR: u8 = 0xff;

/// An empty temporary folder that is deleted when dropped.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Some files cause panics in the Parquet and tokenizer libraries, which shoal catches. The panic
/// hook of the fuzzer would abort on caught panics; uncaught ones still abort without it.
pub fn allow_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

/// A model folder from the encoder's tests.
pub fn fixture(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/encoder/tests/fixtures");
    fixtures.join(name)
}

/// A copy of the smallest fixture in which `file` has this content.
pub fn model_folder(file: &str, content: &[u8]) -> tempfile::TempDir {
    let copy = folder();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        // `vocab.txt` is only used if there is no other tokenizer.
        if name != file && !(name == "tokenizer.json" && file == "vocab.txt") {
            let whole = fixture("distilbert-regression").join(name);
            std::os::unix::fs::symlink(whole, copy.path().join(name)).unwrap();
        }
    }
    std::fs::write(copy.path().join(file), content).unwrap();
    copy
}

/// Opens a model folder in both precisions and labels `texts` with every model that loads.
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

/// A model specification without files.
pub fn no_model() -> ModelSpec {
    ModelSpec {
        reference: "fuzz".into(),
        fingerprint: "fuzz".into(),
        precision: "int8".into(),
        labels: vec!["no".into(), "yes".into()],
        max_tokens: 16,
    }
}

/// Plans `input` in batches of one and of many records, and reads them back. Records must not
/// depend on how the input is split. `may_fail`: whether a planned source may turn out to be
/// unreadable, which is possible for Parquet.
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

/// The rows of `input`; `Err` if planning refuses it.
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

/// Writes a part in which all rows have the same label.
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
