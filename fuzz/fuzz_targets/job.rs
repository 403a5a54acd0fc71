//! Arbitrary `job.json`, batch table and staged input of a run directory: read, and passed to a
//! part writer. No file outside the run directory is accessed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{SEPARATOR, allow_caught_panics, folder, rows};
use shoal_job::RunDir;
use shoal_job::part::PartWriter;

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let folder = folder();
    let mut parts = input.split(|byte| *byte == SEPARATOR);
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
    // Other sources would be read from this machine or the network.
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
