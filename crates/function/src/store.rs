//! Stores the output of a batch: the receipt last, so that it implies the dead letters and the part.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shoal_job::part::{count_lines, count_rows};
use shoal_job::run_dir::Put;
use shoal_job::wire::{BatchRange, Failure, Invocation, Receipt, Sizing, Stored};
use shoal_job::{Result, RunDir};

use crate::work::Done;
use crate::{Clock, Function, memory, milliseconds};

/// The start of an invocation.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) at: Instant,
    pub(crate) init: Duration,
    pub(crate) cold: bool,
    pub(crate) clock: Clock,
}

pub(crate) fn store(
    function: &Function,
    invocation: &Invocation,
    done: Done,
    start: &Start,
    environment: &str,
) -> std::result::Result<Receipt, Failure> {
    let writing = start.clock.now();
    let Function { run, job, .. } = function;
    let batch = &invocation.batch;
    let format = job.parameters.output_format;
    let (results, failed) = (done.results, done.failed);
    let records = results + failed;
    let remaining = batch.records - batch.offset - records;
    let range = BatchRange {
        batch: batch.index,
        offset: batch.offset,
        records,
        is_last: remaining == 0,
        is_quarantined: done.quarantined > 0,
    };
    let dead_letters = match failed {
        0 => None,
        _ => {
            let name = RunDir::dead_letters_name(range);
            let is_complete = |existing: &[u8]| count_lines(existing) == Some(failed);
            Some(put_once(run, &name, done.dead_letters, is_complete)?)
        }
    };
    let name = RunDir::part_name(range, format);
    let is_complete = |existing: &[u8]| count_rows(format, existing) == Some(results);
    let part = put_once(run, &name, done.part, is_complete)?;
    let mut timings = done.timings;
    timings.init = milliseconds(start.init);
    timings.write = milliseconds(start.clock.now() - writing);
    let total = start.clock.now() - start.at;
    timings.total = milliseconds(total);
    let receipt = Receipt {
        batch: batch.index,
        offset: batch.offset,
        remaining,
        attempt: invocation.attempt,
        records,
        failed,
        quarantined: done.quarantined,
        units: done.usage.units,
        part,
        dead_letters,
        started_unix_ms: unix_ms_before(total),
        timings,
        environment: environment.into(),
        cold: start.cold,
        peak_memory_bytes: memory::peak_bytes(),
        billed_ms: None,
        sizing: sizing().map(Into::into),
        engine: done.usage.engine.into(),
        metrics: done.usage.metrics,
    };
    let mut content = serde_json::to_vec(&receipt).expect("a receipt is always JSON");
    content.push(b'\n');
    let name = RunDir::receipt_name(batch.index, batch.offset);
    if run.put_new(&name, content.clone())? == Put::Existed {
        match run.receipt(batch.index, batch.offset)? {
            // Another attempt was faster: its receipt and part are kept.
            Some(first) => return Ok(first),
            None => run.replace(&name, content)?,
        }
    }
    Ok(receipt)
}

/// The time `ago` before now, in milliseconds since 1970.
fn unix_ms_before(ago: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.saturating_sub(ago).as_millis() as u64)
}

/// What Lambda bills by. *Defined runtime environment variables* (`lambda/latest/dg/configuration-envvars.html`).
fn sizing() -> Option<Sizing> {
    let memory = std::env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok()?;
    Some(Sizing {
        memory_mb: memory.parse().ok()?,
        architecture: std::env::consts::ARCH.replace("aarch64", "arm64"),
        region: std::env::var("AWS_REGION").unwrap_or_default(),
    })
}

/// Creates an object. An existing one, from an attempt that died before its receipt, is kept if it is complete. A crash of the
/// machine may leave an incomplete one, which is replaced.
fn put_once(
    run: &RunDir,
    name: &str,
    content: Vec<u8>,
    is_complete: impl Fn(&[u8]) -> bool,
) -> Result<Stored> {
    let stored = Stored::of(&content);
    if run.put_new(name, content.clone())? == Put::Created {
        return Ok(stored);
    }
    match run.get(name)? {
        Some(existing) if existing == content => Ok(stored),
        Some(existing) if is_complete(&existing) => Ok(Stored::of(&existing)),
        _ => {
            run.replace(name, content)?;
            Ok(stored)
        }
    }
}
