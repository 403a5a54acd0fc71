//! Any bytes as the `job.json`, the batch table and a staged input of a run directory: read, and worked off by a part
//! writer. No file beside the run directory's own is asked for.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{BETWEEN, allow_caught_panics, folder, rows};
use shoal_job::RunDir;
use shoal_job::part::PartWriter;

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let folder = folder();
    let mut parts = input.split(|byte| *byte == BETWEEN);
    for name in ["job.json", "batches.jsonl", "input/0000.jsonl"] {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(content) = parts.next() {
            std::fs::write(path, content).unwrap();
        }
    }
    let run = RunDir::open(folder.path()).unwrap();
    let Ok(Some(job)) = run.job() else { return };
    let _ = PartWriter::new(&job).finish();
    let Ok(batches) = run.batches(&job) else {
        return;
    };
    assert_eq!(batches.len() as u64, job.batches);
    // Other sources would be looked for on this machine, or on the network.
    if job.sources.iter().all(|source| {
        source
            .staged
            .as_ref()
            .is_some_and(|staged| !shoal_job::store::is_url(staged))
    }) && let Ok(rows) = rows(&job, &batches, &run)
    {
        assert_eq!(rows.len() as u64, job.records);
    }
});
