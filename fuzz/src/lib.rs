//! Helpers of the fuzz targets: folders, the encoder's test fixtures, and planning and reading of
//! inputs.

pub mod columnar;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use arrow_array::{Float32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use shoal_encoder::{Checkpoint, Isa, Model, Precision, Purpose, Session};
use shoal_job::format::OutputFormat;
use shoal_job::input::Sources;
use shoal_job::part::{PartWriter, count_rows};
use shoal_job::plan::{self, Request};
use shoal_job::spec::Parameters;
use shoal_job::{Batch, Cancel, Determinism, FunctionSpec, Job, Role, Row, RunDir};

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

/// A copy of a classifier in which `file` has this content.
pub fn model_folder(file: &str, content: &[u8]) -> tempfile::TempDir {
    let copy = folder();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        // `vocab.txt` is only used if there is no other tokenizer.
        if name != file && !(name == "tokenizer.json" && file == "vocab.txt") {
            link("distilbert-regression", name, copy.path());
        }
    }
    std::fs::write(copy.path().join(file), content).unwrap();
    copy
}

/// Puts the file `name` of a fixture into `folder`.
pub fn link(model: &str, name: &str, folder: &Path) {
    std::os::unix::fs::symlink(fixture(model).join(name), folder.join(name)).unwrap();
}

/// Opens a model folder for every purpose and in every precision, and runs each model that loads on
/// `texts`.
pub fn run_texts(folder: &Path, texts: &[&str]) {
    let checkpoint = match Checkpoint::open(folder) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for purpose in Purpose::ALL {
        for precision in Precision::ALL {
            let fingerprint = "fuzz".to_owned();
            let model = Model::pack(&checkpoint, fingerprint, purpose, precision, Isa::best());
            if let Ok(model) = model {
                run_model(&Arc::new(model), texts);
            }
        }
    }
}

/// Runs `model` on `texts`, with each of its prompts.
pub fn run_model(model: &Arc<Model>, texts: &[&str]) {
    let prompts = model.embedding().map(|embedding| &embedding.prompts);
    let prompts = prompts.into_iter().flat_map(|prompts| prompts.values());
    for prompt in prompts.map(String::as_str).chain([""]) {
        for text in texts {
            let limit = model.max_tokens().min(24);
            let Ok(tokens) = model.encode_with_prompt(prompt, text, limit) else {
                continue;
            };
            assert!(tokens.ids.len() <= limit);
            let mut session = Session::new(model.clone());
            assert_eq!(session.run(&[tokens]).len(), model.output_width());
        }
    }
}

/// A function that reads the roles `text` and `label`.
fn function() -> FunctionSpec {
    let fields = vec![
        Field::new("label", DataType::Utf8, false),
        Field::new("score", DataType::Float32, false),
    ];
    FunctionSpec {
        kind: "fuzz".into(),
        reference: "fuzz".into(),
        fingerprint: "fuzz".into(),
        settings: Default::default(),
        task: Default::default(),
        inputs: vec![Role::text("text"), Role::optional("label")],
        refused: Default::default(),
        output: Arc::new(Schema::new(fields)),
        unit: "rows".into(),
        determinism: Determinism::Exact,
    }
}

/// The parameters that the bits of `choice` select.
pub fn parameters(choice: u8) -> Parameters {
    let mut parameters = Parameters::default();
    let mut name = |role: &str| parameters.columns.insert(role.to_owned(), role.to_owned());
    if choice & 8 != 0 {
        name("label");
    }
    if choice & 4 != 0 {
        name("text");
        parameters.id_column = Some("id".into());
        parameters.keep_columns = vec!["kept".into()];
    }
    parameters.output_format = [
        OutputFormat::Csv,
        OutputFormat::Jsonl,
        OutputFormat::Parquet,
        OutputFormat::Arrow,
    ][usize::from(choice >> 4 & 3)];
    parameters
}

/// Whether content is taken for Parquet or Arrow, whatever its name.
pub fn is_columnar(content: &[u8]) -> bool {
    let starts = |magic: &[u8]| content.starts_with(magic);
    starts(b"PAR1") || starts(b"ARROW1") || starts(&[0xff; 4])
}

/// A small file may announce more records, which would only take time.
const MAX_RECORDS: u64 = 100_000;

/// Plans `input` in batches of one and of many records, and reads them back, unless it announces too
/// many. Records must not depend on how the input is split. `may_fail`: whether a planned source may turn out to be
/// unreadable, which is possible for Parquet and Arrow.
pub fn plan_and_read(input: &Path, parameters: &Parameters, may_fail: bool) {
    let run_at = |batch_size: u64| {
        let folder = folder();
        let parameters = Parameters {
            batch_size,
            ..parameters.clone()
        };
        read(input, folder.path(), parameters, may_fail)
    };
    let many = run_at(1000);
    if let Ok(None) = many {
        return;
    }
    match (run_at(1), many) {
        (Ok(one), Ok(many)) => assert_eq!(one, many),
        (Err(_), Err(_)) => {}
        (one, many) => assert!(may_fail, "{one:?}\n{many:?}"),
    }
}

/// The rows of `input`, `None` if it announces too many; `Err` if planning refuses it.
fn read(
    input: &Path,
    run: &Path,
    parameters: Parameters,
    may_fail: bool,
) -> shoal_job::Result<Option<Vec<Row>>> {
    let run = RunDir::create(run)?;
    let inputs = [input.to_str().unwrap().to_owned()];
    let request = Request {
        inputs: &inputs,
        spool: None,
        function: function(),
        parameters,
        output: "-",
        version: "fuzz",
        inputs_at: None,
    };
    let job = plan::plan(&request, &run, &Cancel::new(), &mut |_| {})?;
    if job.records > MAX_RECORDS {
        return Ok(None);
    }
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
            Ok(Some(rows))
        }
        Err(error) => {
            assert!(may_fail, "a planned text cannot be read: {error}");
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
    let records: Vec<_> = rows
        .iter()
        .filter_map(|row| row.content.clone().ok())
        .collect();
    let count = records.len();
    let columns = vec![
        Arc::new(StringArray::from(vec!["yes"; count])) as _,
        Arc::new(Float32Array::from(vec![0.75; count])) as _,
    ];
    let results = RecordBatch::try_new(job.function.output.clone(), columns).unwrap();
    let mut part = PartWriter::new(job);
    if part.push(records, results).is_ok()
        && let Ok(part) = part.finish()
    {
        let counted = count_rows(job.parameters.output_format, &part);
        assert_eq!(counted, Some(count as u64));
    }
}
