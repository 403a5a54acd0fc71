//! The expected time of batches.

use std::time::Instant;

use shoal_function::{RecordRef, Runner};
use shoal_job::{Batch, Cell, Job};

/// Expected time of batches on one vCPU, in seconds; NaN if the runner cannot be timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) longest_batch: f64,
    pub(crate) all: f64,
}

/// Measured on this machine, and scaled by the size of the batches. It is doubled, as a platform's vCPU is half a core.
pub(crate) fn expected(job: &Job, batches: &[Batch], runner: &dyn Runner) -> Expected {
    /// A lower bound, so that the expected time is an upper one.
    const BYTES_PER_TOKEN: f64 = 4.0;
    let max_tokens = job.function.number("max_tokens").unwrap_or(512) as u64;
    let seconds_per_token = seconds_per_unit(runner).unwrap_or(f64::NAN);
    let tokens = |batch: &Batch| {
        let most = (batch.records * max_tokens) as f64;
        let slices = &batch.slices;
        let is_columnar = |source: u32| job.sources[source as usize].format.is_columnar();
        if slices.iter().any(|slice| is_columnar(slice.source)) {
            return most;
        }
        let bytes: u64 = slices.iter().map(|slice| slice.end - slice.start).sum();
        (bytes as f64 / BYTES_PER_TOKEN).min(most)
    };
    let longest = batches.iter().map(tokens).fold(0.0, f64::max);
    let all: f64 = batches.iter().map(tokens).sum();
    Expected {
        longest_batch: 2.0 * longest * seconds_per_token,
        all: 2.0 * all * seconds_per_token,
    }
}

/// Seconds per unit of work; `None` if `runner` cannot process a text.
fn seconds_per_unit(runner: &dyn Runner) -> Option<f64> {
    const WORDS: usize = 256;
    let mut inputs = vec![Cell::Null; runner.spec().inputs.len()];
    *inputs.first_mut()? = Cell::Text("film ".repeat(WORDS));
    let id = Cell::Null;
    let mut session = runner.session().ok()?;
    let mut once = || {
        let started = Instant::now();
        let record = RecordRef {
            id: &id,
            inputs: &inputs,
        };
        session.push(record).and_then(|_| session.flush()).ok()?;
        let units = session.take_usage().units.max(1);
        Some(started.elapsed().as_secs_f64() / units as f64)
    };
    once()?; // warms the caches
    once()
}
