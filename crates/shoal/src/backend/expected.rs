//! What the batches of a job are expected to take.

use std::time::Instant;

use shoal_function::{RecordRef, Runner};
use shoal_job::{Batch, Cell, Job};

/// Expected time of batches on one vCPU, in seconds; NaN where the runner cannot be timed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) longest_batch: f64,
    pub(crate) all: f64,
}

/// Time measured on this machine, scaled by the size of the batches. It is doubled: a vCPU of a platform is half a core.
pub(crate) fn expected(job: &Job, batches: &[Batch], runner: &dyn Runner) -> Expected {
    /// A lower bound, so that the expected time is an upper one.
    const BYTES_PER_TOKEN: f64 = 4.0;
    let limit = job.function.number("max_tokens").unwrap_or(512) as u64;
    let Some(seconds_per_token) = seconds_per_unit(runner) else {
        return Expected {
            longest_batch: f64::NAN,
            all: f64::NAN,
        };
    };
    let tokens_of = |batch: &Batch| {
        let most = (batch.records * limit) as f64;
        let slices = batch.slices.iter();
        let is_text = |format: shoal_job::format::Format| !format.is_columnar();
        if slices
            .clone()
            .all(|slice| is_text(job.sources[slice.source as usize].format))
        {
            let bytes: u64 = slices.map(|slice| slice.end - slice.start).sum();
            (bytes as f64 / BYTES_PER_TOKEN).min(most)
        } else {
            most
        }
    };
    let longest = batches.iter().map(tokens_of).fold(0.0, f64::max);
    let all: f64 = batches.iter().map(tokens_of).sum();
    Expected {
        longest_batch: 2.0 * longest * seconds_per_token,
        all: 2.0 * all * seconds_per_token,
    }
}

/// Seconds per unit of work; `None` where `runner` cannot process a text.
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
