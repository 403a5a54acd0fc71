//! Malicious run directories: nothing outside them is read or written, and nothing large is held in memory.

#![cfg(unix)]

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use arrow_schema::{DataType, Field};
use serde_json::{Value, json};
use shoal_job::input::Sources;
use shoal_job::wire::Receipt;
use shoal_job::{Error, RunDir};

/// A run directory with one batch of two records, whose input is staged.
struct Scene {
    folder: tempfile::TempDir,
    job: Value,
    batch: Value,
}

impl Scene {
    fn new() -> Self {
        let job = json!({
            "layout": shoal_job::spec::LAYOUT_VERSION, "shoal": "0", "inputs": ["-"], "output": "-", "records": 2, "batches": 1,
            "sources": [{ "uri": "-", "format": "jsonl", "identity": { "bytes": 24 }, "staged": "input/0000.jsonl" }],
            "function": {
                "kind": "none", "reference": "none", "fingerprint": "é", "inputs": [], "unit": "rows", "determinism": "exact",
                "output": { "fields": [], "metadata": {} },
            },
            "parameters": shoal_job::spec::Parameters::default(),
            "columns": {
                "inputs": [{ "role": { "name": "text" }, "source": "text" }], "id": null, "kept": [],
            },
        });
        let batch = json!({
            "index": 0, "records": 2,
            "slices": [{ "source": 0, "start": 0, "end": 24, "row": 0, "line": 1, "records": 2 }],
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("input")).unwrap();
        let scene = Self { folder, job, batch };
        scene.write("input/0000.jsonl", b"{\"text\":1}\n{\"text\":22}\n\n");
        scene
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// Writes a sparse file of this length.
    fn write_hole(&self, name: &str, bytes: u64) {
        let file = File::create(self.path().join(name)).unwrap();
        file.set_len(bytes).unwrap();
    }

    /// Writes the job and the batch table, and reads all records.
    fn read(&self) -> shoal_job::Result<usize> {
        self.write("job.json", self.job.to_string().as_bytes());
        self.write("batches.jsonl", format!("{}\n", self.batch).as_bytes());
        let run = RunDir::open(self.path())?;
        let job = run.job()?.unwrap();
        let sources = Sources::default();
        let mut rows = 0;
        for batch in run.batches(&job)? {
            for row in sources.rows(&job, &run, &batch) {
                row?;
                rows += 1;
            }
        }
        Ok(rows)
    }

    fn refusal(&self) -> String {
        let error = self.read().unwrap_err();
        assert!(
            matches!(error, Error::Corrupt { .. } | Error::Conflict { .. }),
            "{error}"
        );
        error.to_string()
    }
}

#[test]
fn staged_inputs_outside_of_the_store_are_refused() {
    assert_eq!(Scene::new().read().unwrap(), 2);
    for staged in [
        "/etc/passwd",
        "../input/0000.jsonl",
        "input/../../secret",
        "input/below/0000.jsonl",
        "input/",
        "input/..",
        "input/.hidden",
        "input/a\0b",
        "parts/00000000.csv",
        "file:///etc/passwd",
        "http://127.0.0.1:9/inputs/0000.jsonl",
        "s3://other/inputs/0000.jsonl",
    ] {
        let mut scene = Scene::new();
        scene.job["sources"][0]["staged"] = staged.into();
        let refusal = scene.refusal();
        assert!(
            refusal.contains("outside the run directory"),
            "{staged}: {refusal}"
        );
    }
}

#[test]
fn a_local_store_has_staged_inputs_under_inputs() {
    let store = tempfile::tempdir().unwrap();
    let store = store.path().canonicalize().unwrap();
    let run = store.join("runs").join("one");
    std::fs::create_dir_all(&run).unwrap();
    std::fs::create_dir(store.join("inputs")).unwrap();
    let may = |staged: String| {
        let mut scene = Scene::new();
        scene.job["sources"][0]["staged"] = staged.into();
        std::fs::write(run.join("job.json"), scene.job.to_string()).unwrap();
        RunDir::open(&run).unwrap().job().is_ok()
    };
    let store = store.display();
    assert!(may(format!("file://{store}/inputs/0123.jsonl")));
    assert!(!may(format!("file://{store}/inputs/../0123.jsonl")));
    assert!(!may(format!("file://{store}/runs/0123.jsonl")));
    assert!(!may(format!("file://{store}/inputs/a/0123.jsonl")));
}

/// A change of a batch table.
type Change = fn(&mut Value);

#[test]
fn a_table_that_does_not_match_its_job_is_refused() {
    let wrong: [(&str, Change); 6] = [
        ("reads source 3", |b| b["slices"][0]["source"] = 3.into()),
        ("begins at 25", |b| b["slices"][0]["start"] = 25.into()),
        ("beyond every input", |b| {
            b["slices"][0]["row"] = u64::MAX.into()
        }),
        ("has 3 records", |b| b["records"] = 3.into()),
        ("part of a batch", |b| b["offset"] = 1.into()),
        ("contains batch 1", |b| b["index"] = 1.into()),
    ];
    for (says, change) in wrong {
        let mut scene = Scene::new();
        change(&mut scene.batch);
        let refusal = scene.refusal();
        assert!(refusal.contains(says), "{says}: {refusal}");
    }
    let mut scene = Scene::new();
    scene.job["records"] = 3.into();
    assert!(scene.refusal().contains("says 1 of 3"));
}

#[test]
fn batches_of_callers_are_checked_too() {
    let scene = Scene::new();
    scene.read().unwrap();
    let run = RunDir::open(scene.path()).unwrap();
    let job = run.job().unwrap().unwrap();
    let mut batch = run.batches(&job).unwrap().remove(0);
    batch.slices[0].source = 7;
    let sources = Sources::default();
    let error = sources
        .rows(&job, &run, &batch)
        .next()
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("reads source 7"), "{error}");
}

#[test]
fn links_are_not_followed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    std::fs::write(&secret, "{\"text\":1}\n{\"text\":22}\n\n").unwrap();
    for name in ["parts", "receipts", "failed", "map"] {
        let scene = Scene::new();
        symlink(elsewhere.path(), scene.path().join(name)).unwrap();
        let refusal = scene.refusal();
        assert!(refusal.contains(&format!("{name} is a link")), "{refusal}");
    }
    for name in ["events.jsonl", "lock", "report.html", "backend.json"] {
        let scene = Scene::new();
        symlink(&secret, scene.path().join(name)).unwrap();
        assert!(scene.refusal().contains("is a link"));
    }
    // The same for a staged input, a part, and a receipt, which counts as missing.
    let scene = Scene::new();
    let copy = scene.path().join("input/0000.jsonl");
    std::fs::remove_file(&copy).unwrap();
    symlink(&secret, &copy).unwrap();
    assert!(scene.refusal().contains("input/0000.jsonl is a link"));

    let run = RunDir::open(scene.path()).unwrap();
    std::fs::create_dir(scene.path().join("parts")).unwrap();
    symlink(&secret, scene.path().join("parts/00000000.csv")).unwrap();
    assert!(run.get("parts/00000000.csv").is_err());
    std::fs::create_dir(scene.path().join("receipts")).unwrap();
    std::fs::write(&secret, receipt()).unwrap();
    symlink(&secret, scene.path().join("receipts/00000000.json")).unwrap();
    assert!(run.receipt(0, 0).unwrap().is_none());
    assert!(run.receipts().unwrap().is_empty());
    run.replace("receipts/00000000.json", "mine").unwrap();
    assert_eq!(std::fs::read(&secret).unwrap(), receipt());
}

fn receipt() -> Vec<u8> {
    let receipt = Receipt {
        attempt: 1,
        records: 2,
        ..Receipt::default()
    };
    serde_json::to_vec(&receipt).unwrap()
}

#[test]
fn oversized_files_are_not_read() {
    let scene = Scene::new();
    scene.read().unwrap();
    let run = RunDir::open(scene.path()).unwrap();
    let job = run.job().unwrap().unwrap();
    scene.write_hole("batches.jsonl", (2 << 30) + 1);
    let error = run.batches(&job).unwrap_err().to_string();
    assert!(error.contains("more than the limit"), "{error}");
    scene.write_hole("job.json", (64 << 20) + 1);
    let error = run.job().unwrap_err().to_string();
    assert!(error.contains("more than the limit"), "{error}");
    scene.write_hole("backend.json", (1 << 20) + 1);
    assert!(run.get("backend.json").is_err());
    std::fs::create_dir(scene.path().join("receipts")).unwrap();
    scene.write_hole("receipts/00000000.json", (16 << 20) + 1);
    assert!(run.receipt(0, 0).unwrap().is_none());
    assert!(run.receipts().unwrap().is_empty());
    scene.write_hole("failed.jsonl", 1 << 40);
    assert!(run.first_lines("failed.jsonl", 10).unwrap().len() <= 1);
    scene.write("failed.jsonl", b"{}\n\n[]\n1\n");
    assert_eq!(
        run.first_lines("failed.jsonl", 2).unwrap(),
        [&b"{}"[..], b"[]"]
    );
    assert!(run.first_lines("nothing", 2).unwrap().is_empty());
}

#[test]
fn a_deeply_nested_type_is_an_error() {
    let mut scene = Scene::new();
    // Below and above the nesting limit of the JSON parser.
    for levels in [10, 40, 70, 1 << 16] {
        let item = serde_json::to_string(&Field::new("item", DataType::Null, true)).unwrap();
        let (start, end) = item.split_once("\"Null\"").unwrap();
        let (start, end) = (format!("{{\"List\":{start}"), format!("{end}}}"));
        let deep = start.repeat(levels) + "\"Int64\"" + &end.repeat(levels);
        let column = format!(r#"{{"source":"id","name":"id","data_type":{deep}}}"#);
        let job = scene.job.to_string();
        let job = job.replace(r#""id":null"#, &format!(r#""id":{column}"#));
        assert!(job.contains("Int64"));
        scene.write("job.json", job.as_bytes());
        let read = RunDir::open(scene.path()).unwrap().job();
        assert_eq!(read.is_ok(), levels <= 40, "{levels} levels");
    }
    scene.job["columns"]["id"] = json!({
        "source": "id", "name": "id", "data_type": { "Timestamp": ["Millisecond", "+01:00"] },
    });
    assert_eq!(scene.read().unwrap(), 2);
}

#[test]
fn invalid_columns_are_refused() {
    let item = Arc::new(Field::new("item", DataType::Int8, true));
    let wrong = [
        DataType::FixedSizeBinary(-1),
        DataType::Dictionary(DataType::Int8.into(), DataType::Utf8.into()),
        DataType::FixedSizeList(item, -1),
    ];
    for data_type in wrong {
        for format in ["csv", "jsonl", "parquet", "arrow"] {
            let mut scene = Scene::new();
            scene.job["parameters"]["output_format"] = format.into();
            let field = Field::new("bad", data_type.clone(), true);
            scene.job["function"]["output"]["fields"] = json!([field]);
            assert!(scene.refusal().contains("\"bad\""));
            let mut scene = Scene::new();
            scene.job["parameters"]["output_format"] = format.into();
            scene.job["columns"]["kept"] =
                json!([{ "source": "bad", "name": "bad", "data_type": data_type }]);
            assert!(scene.refusal().contains("\"bad\""));
        }
    }
}

#[test]
fn oversized_records_are_not_buffered() {
    let mut scene = Scene::new();
    // One more than a record and its line break may have.
    let bytes = (64 << 20) + 3u64;
    scene.write_hole("input/0000.jsonl", bytes);
    scene.batch["slices"][0]["end"] = bytes.into();
    let error = scene.read().unwrap_err().to_string();
    assert!(error.contains("larger than the plan allows"), "{error}");
    scene.job["sources"][0]["format"] = "csv".into();
    scene.job["sources"][0]["header"] = json!(["text"]);
    // The buffer for CSV fields grows by doubling.
    scene.write_hole("input/0000.jsonl", 2 * bytes);
    scene.batch["slices"][0]["end"] = (2 * bytes).into();
    let error = scene.read().unwrap_err().to_string();
    assert!(error.contains("larger than the plan allows"), "{error}");
}
