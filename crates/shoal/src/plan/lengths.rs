//! Reads the lengths of an input's records.

use std::sync::atomic::{AtomicUsize, Ordering};

use shoal_estimate::Workload;
use shoal_job::Batch;
use shoal_job::Cancel;
use shoal_job::input::Sources;
use shoal_job::wire::Failure;
use shoal_runners::EncoderRunner;

use crate::machine::cores;
use crate::scratch::ScratchRun;
use crate::{Error, Result};

/// Number of records to read, which takes some seconds. Larger inputs are sampled.
const MAX_RECORDS: u64 = 50_000;
/// Bytes of texts to keep for calibrations.
const KEPT_BYTES: usize = 4 << 20;

/// The lengths of an input's records.
pub(super) struct Lengths {
    pub(super) workload: Workload,
    /// Number of consecutive records in a sampled group, for the sampling error.
    pub(super) group: usize,
    /// Some of the texts.
    pub(super) texts: Vec<String>,
}

/// The lengths and texts of one batch.
type Part = (Workload, Vec<String>);

/// Reads all batches of a job, or a sample spread evenly over it.
pub(super) fn read(
    scratch: &ScratchRun,
    runner: &EncoderRunner,
    cancel: &Cancel,
) -> Result<Lengths> {
    let ScratchRun { job, batches, .. } = scratch;
    let group = batches.iter().map(|batch| batch.records).max().unwrap_or(1);
    let count = if job.records <= MAX_RECORDS {
        batches.len()
    } else {
        ((MAX_RECORDS / group).max(1) as usize).min(batches.len())
    };
    let next = AtomicUsize::new(0);
    let read = || -> Result<Vec<(usize, Part)>> {
        let sources = Sources::default();
        let mut found = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(found);
            }
            if cancel.is_cancelled() {
                return Err(shoal_job::Error::Cancelled.into());
            }
            let batch = &batches[number * batches.len() / count];
            found.push((number, read_batch(scratch, batch, &sources, runner)?));
        }
    };
    let mut found = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(read)).collect();
        for thread in threads {
            found.extend(thread.join().expect("reading does not panic")?);
        }
        Ok::<_, Error>(())
    })?;
    found.sort_by_key(|(number, _)| *number);
    let mut workload = Workload {
        records: job.records,
        ..Workload::default()
    };
    let (mut texts, mut kept) = (Vec::new(), 0);
    for (_, (part, of_part)) in found {
        workload.read += part.read;
        workload.truncated += part.truncated;
        workload.bytes += part.bytes;
        workload.lengths.extend(part.lengths);
        if kept < KEPT_BYTES {
            kept += of_part.iter().map(String::len).sum::<usize>();
            texts.extend(of_part);
        }
    }
    Ok(Lengths {
        workload,
        group: group as usize,
        texts,
    })
}

fn read_batch(
    scratch: &ScratchRun,
    batch: &Batch,
    sources: &Sources,
    runner: &EncoderRunner,
) -> Result<Part> {
    let (mut found, mut texts) = (Workload::default(), Vec::new());
    for row in sources.rows(&scratch.job, &scratch.run, batch) {
        let row = row.map_err(|error| Error::Batch {
            batch: batch.index,
            failure: Failure::from(error),
        })?;
        found.read += 1;
        // A bad record becomes a dead letter, which takes no time.
        let Ok(record) = row.content else {
            found.lengths.push(0);
            continue;
        };
        let text = record.text();
        let tokens = runner.encode(text)?;
        found.lengths.push(tokens.ids.len() as u32);
        found.truncated += u64::from(tokens.truncated);
        found.bytes += text.len() as u64;
        texts.push(text.to_owned());
    }
    Ok((found, texts))
}
