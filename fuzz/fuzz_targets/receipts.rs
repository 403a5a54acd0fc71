//! Arbitrary receipts, events and dead letters of a run: counted, joined, and rendered in the
//! report, where none of them may become an HTML element.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shoal_estimate::Prices;
use shoal_fuzz::{SEPARATOR, folder};
use shoal_job::RunDir;

const FILES: [&str; 7] = [
    "receipts/00000000.json",
    "receipts/00000001.json",
    "receipts/00000001.00000002.json",
    "events.jsonl",
    "failed.jsonl",
    "backend.json",
    "execution.json",
];
/// A run of two batches of four records.
const JOB: &str = r#"{
 "layout": 2,
 "shoal": "0.1.0",
 "inputs": [
  "/in.csv.gz"
 ],
 "sources": [
  {
   "uri": "/in.csv.gz",
   "format": "csv",
   "identity": {
    "bytes": 112,
    "modified": "1795613502766585034",
    "digest": "1f60163e90ed8a39402ac94b71bc5e27b0ba8ac3ce520be032387ab8673bb187"
   },
   "staged": "input/0000.csv",
   "header": [
    "id",
    "text",
    "label"
   ]
  }
 ],
 "function": {
  "kind": "encoder",
  "reference": "bundled",
  "fingerprint": "4adee659f734f1f18ca024214c39d314e3298363f8f64e19be52472441822216",
  "settings": {
   "precision": "int8",
   "max_tokens": 512
  },
  "task": {
   "name": "classify",
   "labels": [
    "NEGATIVE",
    "POSITIVE"
   ]
  },
  "inputs": [
   {
    "name": "text",
    "is_text": true,
    "is_required": true
   },
   {
    "name": "label"
   }
  ],
  "output": {
   "fields": [
    {
     "name": "label",
     "data_type": "Utf8",
     "nullable": false,
     "dict_id": 0,
     "dict_is_ordered": false,
     "metadata": {}
    },
    {
     "name": "score",
     "data_type": "Float32",
     "nullable": false,
     "dict_id": 0,
     "dict_is_ordered": false,
     "metadata": {}
    }
   ],
   "metadata": {}
  },
  "unit": "tokens",
  "determinism": "exact"
 },
 "parameters": {
  "batch_size": 4,
  "input_format": null,
  "columns": {
   "label": "label"
  },
  "id_column": null,
  "keep_columns": [],
  "output_format": "csv"
 },
 "output": "/out.csv",
 "columns": {
  "inputs": [
   {
    "role": {
     "name": "text",
     "is_text": true,
     "is_required": true
    },
    "source": "text"
   },
   {
    "role": {
     "name": "label"
    },
    "source": "label"
   }
  ],
  "id": {
   "source": "id",
   "name": "id",
   "data_type": "Utf8"
  },
  "kept": []
 },
 "records": 8,
 "batches": 2
}"#;
const BATCHES: &str = r#"{"index":0,"records":4,"slices":[{"source":0,"start":14,"end":77,"row":0,"line":2,"records":4}]}
{"index":1,"records":4,"slices":[{"source":0,"start":77,"end":126,"row":4,"line":6,"records":4}]}
"#;

static PRICES: LazyLock<Prices> = LazyLock::new(Prices::aws);

fuzz_target!(|input: &[u8]| {
    let folder = folder();
    std::fs::create_dir(folder.path().join("receipts")).unwrap();
    std::fs::write(folder.path().join("job.json"), JOB).unwrap();
    std::fs::write(folder.path().join("batches.jsonl"), BATCHES).unwrap();
    for (name, content) in FILES.iter().zip(input.split(|byte| *byte == SEPARATOR)) {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let run = RunDir::open(folder.path()).unwrap();
    let job = run.job().unwrap().unwrap();
    let batches = run.batches(&job).unwrap();
    let mut receipts = run.receipts().unwrap();
    let open = receipts.open(&batches);
    assert!(open.iter().all(|batch| batch.offset < batch.records));
    receipts.retain_ranges_of(&batches);
    assert!(receipts.records() <= job.records);
    if let Ok(report) = shoal::report(&run, &PRICES) {
        let html = report.html();
        assert!(!html.contains("<xss"), "an element of the data");
        let _ = (report.json(), report.csv(), report.markdown());
    }
});
