//! Reading how long an input's records are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use shoal_estimate::Workload;
use shoal_job::input::Sources;
use shoal_job::wire::Failure;
use shoal_job::{Batch, Cancel, Job, RunDir};
use shoal_runners::EncoderRunner;

use crate::{Error, Result};

/// Records that are read, at most: some seconds of tokenizing. Of a larger input a sample is.
const MOST_RECORDS: u64 = 50_000;
/// Bytes of texts that are kept for calibrating.
const KEPT_BYTES: usize = 4 << 20;

/// What was found.
pub(crate) struct Lengths {
    pub(crate) workload: Workload,
    /// Records that were read side by side, for the error of a sample.
    pub(crate) group: usize,
    /// Some of the texts.
    pub(crate) texts: Vec<String>,
}

/// What one batch holds.
#[derive(Default)]
struct Found {
    tokens: Vec<u32>,
    truncated: u64,
    bytes: u64,
    texts: Vec<String>,
}

/// Reads all batches of `job`, or some of them, evenly over the input, where they are very many.
pub(crate) fn read(
    run: &RunDir,
    job: &Job,
    batches: &[Batch],
    runner: &EncoderRunner,
    cancel: &Cancel,
) -> Result<Lengths> {
    let group = batches.iter().map(|batch| batch.records).max().unwrap_or(1);
    let wanted = if job.records <= MOST_RECORDS {
        batches.len()
    } else {
        ((MOST_RECORDS / group).max(1) as usize).min(batches.len())
    };
    let chosen: Vec<&Batch> = (0..wanted)
        .map(|number| &batches[number * batches.len() / wanted])
        .collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Option<Result<Found>>>> =
        Mutex::new(chosen.iter().map(|_| None).collect());
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(chosen.len()) {
            scope.spawn(|| {
                let sources = Sources::default();
                while !cancel.is_cancelled() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = chosen.get(number) else {
                        break;
                    };
                    let of_batch = read_batch(run, job, batch, &sources, runner);
                    found.lock().expect("nobody panics while holding it")[number] = Some(of_batch);
                }
            });
        }
    });
    let mut lengths = Lengths {
        workload: Workload {
            records: job.records,
            lengths: Vec::new(),
            read: 0,
            truncated: 0,
            bytes: 0,
        },
        group: group as usize,
        texts: Vec::new(),
    };
    let mut kept = 0;
    for of_batch in found.into_inner().expect("all threads have ended") {
        let Some(of_batch) = of_batch else {
            return Err(shoal_job::Error::Cancelled.into());
        };
        let Found {
            tokens,
            truncated,
            bytes,
            texts,
        } = of_batch?;
        let workload = &mut lengths.workload;
        workload.read += tokens.len() as u64;
        workload.truncated += truncated;
        workload.bytes += bytes;
        workload.lengths.extend(tokens);
        if kept < KEPT_BYTES {
            kept += texts.iter().map(String::len).sum::<usize>();
            lengths.texts.extend(texts);
        }
    }
    Ok(lengths)
}

fn read_batch(
    run: &RunDir,
    job: &Job,
    batch: &Batch,
    sources: &Sources,
    runner: &EncoderRunner,
) -> Result<Found> {
    let mut found = Found::default();
    for row in sources.rows(job, run, batch) {
        let row = row.map_err(|error| Error::Batch {
            batch: batch.index,
            failure: Failure::from(error),
        })?;
        // A bad record takes no time, and goes to the dead letters.
        let Ok(record) = row.content else {
            found.tokens.push(0);
            continue;
        };
        let text = record.text();
        let tokens = runner.encode(text)?;
        found.tokens.push(tokens.ids.len() as u32);
        found.truncated += u64::from(tokens.truncated);
        found.bytes += text.len() as u64;
        found.texts.push(text.to_owned());
    }
    Ok(found)
}
