//! Stores the output of a batch: the receipt last, so that it implies the dead letters and the part.

use std::time::Instant;

use shoal_job::part::{count_lines, count_rows};
use shoal_job::run_dir::Put;
use shoal_job::wire::{Failure, Invocation, Receipt, Sizing, Stored};
use shoal_job::{Result, RunDir, unix_ms};

use crate::work::Done;
use crate::{Environment, Function, memory, milliseconds};

impl Environment {
    /// Stores what was `done` in an invocation that began `at` this time, and was the first one if `cold`.
    pub(crate) fn store(
        &self,
        function: &Function,
        invocation: &Invocation,
        done: Done,
        at: Instant,
        cold: bool,
    ) -> std::result::Result<Receipt, Failure> {
        let writing = self.clock.now();
        let Function { run, job, .. } = function;
        let batch = &invocation.batch;
        let format = job.parameters.output_format;
        let (results, failed) = (done.results, done.failed);
        let records = results + failed;
        let mut receipt = Receipt {
            batch: batch.index,
            offset: batch.offset,
            remaining: batch.records - batch.offset - records,
            attempt: invocation.attempt,
            records,
            failed,
            quarantined: done.quarantined,
            units: done.usage.units,
            timings: done.timings,
            environment: self.name.as_str().into(),
            cold,
            sizing: sizing().map(Into::into),
            engine: done.usage.engine.into(),
            metrics: done.usage.metrics,
            ..Receipt::default()
        };
        let range = receipt.range();
        if failed > 0 {
            let name = RunDir::dead_letters_name(range);
            let is_complete = |existing: &[u8]| count_lines(existing) == Some(failed);
            receipt.dead_letters = Some(put_once(run, &name, done.dead_letters, is_complete)?);
        }
        let name = RunDir::part_name(range, format);
        let rows = match job.parameters.error_column {
            true => records,
            false => results,
        };
        let is_complete = |existing: &[u8]| count_rows(format, existing) == Some(rows);
        receipt.part = put_once(run, &name, done.part, is_complete)?;
        receipt.timings.write = milliseconds(self.clock.now() - writing);
        let total = self.clock.now() - at;
        receipt.timings.total = milliseconds(total);
        receipt.started_unix_ms = unix_ms().saturating_sub(total.as_millis() as u64);
        receipt.peak_memory_bytes = memory::peak_bytes();
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
