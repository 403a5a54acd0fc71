//! Times random sequences by length and size of the micro-batch.

use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_encoder::{Model, Tokens, operations};

use super::measure::{Peak, StageSeconds, pass, peak_rss_mb};
use super::{Bench, Setup};
use crate::{Error, Result, Setting};

/// Default lengths in tokens, up to the model's limit.
pub const DEFAULT_LENGTHS: [usize; 5] = [16, 64, 128, 256, 512];

/// What to time.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Lengths of the records in tokens; [`DEFAULT_LENGTHS`] up to the model's limit, or that limit, if `None`.
    pub lengths: Option<Vec<usize>>,
    /// Highest numbers of tokens per micro-batch; 0 is one record at a time. If several result in the same micro-batches of a
    /// length, only the first is timed.
    pub micro_batches: Vec<usize>,
    /// Approximate time per cell; threads finish their current micro-batch.
    pub seconds: f64,
}

impl Default for Grid {
    fn default() -> Self {
        Self {
            lengths: None,
            micro_batches: vec![0, 256, 512, 1024],
            seconds: 0.5,
        }
    }
}

/// The speed of random records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GridReport {
    /// Precision, instruction set, threads, model.
    #[serde(flatten)]
    pub setup: Setup,
    /// Approximate time per cell.
    pub seconds: f64,
    /// The machine's peak.
    pub peak: Peak,
    /// By length, then by micro-batch.
    pub cells: Vec<Cell>,
    /// Peak resident memory of the process.
    pub peak_rss_mb: Option<f64>,
}

/// One length with one size of the micro-batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Tokens of a record.
    pub length: usize,
    /// Highest number of tokens per micro-batch; 0 is one record at a time.
    pub micro_batch_tokens: usize,
    /// Records in a micro-batch.
    pub micro_batch_records: usize,
    /// Records timed.
    pub records: usize,
    /// Records per second of wall time, all threads together.
    pub records_per_s_wall: f64,
    /// Records per second of CPU time.
    pub records_per_s_cpu: f64,
    /// CPU time relative to the wall time of all threads. If it is well below 1, other processes used the cores, so rates by
    /// wall time and shares of the peak are not meaningful.
    pub cpu_share: f64,
    /// Tokens per second of wall time, all threads together.
    pub tokens_per_s_wall: f64,
    /// Milliseconds per record of one thread.
    pub ms_per_record: f64,
    /// The rate of the products' operations, relative to the peak of the precision.
    pub share_of_peak: Option<f64>,
    /// The share of time of all stages except products and attention.
    pub share_of_rest: f64,
    /// Time of the stages.
    pub stages: StageSeconds,
    /// Records per second, as a multiple of one thread alone; `None` for one thread.
    pub threads_gain: Option<f64>,
}

impl Bench {
    /// Times every length with every micro-batch of `grid`. `progress` gets the number of finished cells and of all cells.
    ///
    /// # Errors
    /// The model does not support a length.
    pub fn grid(&self, grid: &Grid, progress: &mut dyn FnMut(usize, usize)) -> Result<GridReport> {
        let lengths = self.lengths(grid.lengths.as_deref())?;
        let mut plan = Vec::new();
        for &length in &lengths {
            for &tokens in &grid.micro_batches {
                let records = (tokens / length).max(1);
                if !plan.iter().any(|&(l, _, r)| (l, r) == (length, records)) {
                    plan.push((length, tokens, records));
                }
            }
        }
        progress(0, plan.len());
        let peak = Peak::measure(self.model.isa(), self.setup.threads);
        let mut cells = Vec::new();
        for &(length, micro_batch_tokens, records) in &plan {
            let micro_batch = random_records(&self.model, length, records);
            let seconds = Duration::from_secs_f64(grid.seconds);
            let mut cell = self.cell(&micro_batch, self.setup.threads, seconds, &peak);
            cell.micro_batch_tokens = micro_batch_tokens;
            if self.setup.threads > 1 {
                let alone = self.cell(&micro_batch, 1, seconds, &peak);
                cell.threads_gain = Some(cell.records_per_s_wall / alone.records_per_s_wall);
            }
            cells.push(cell);
            progress(cells.len(), plan.len());
        }
        Ok(GridReport {
            setup: self.setup.clone(),
            seconds: grid.seconds,
            peak,
            cells,
            peak_rss_mb: peak_rss_mb(),
        })
    }

    fn lengths(&self, given: Option<&[usize]>) -> Result<Vec<usize>> {
        let limit = self.model.max_tokens();
        let Some(lengths) = given else {
            let mut lengths = DEFAULT_LENGTHS.to_vec();
            lengths.retain(|&length| length <= limit);
            if lengths.is_empty() {
                lengths.push(limit);
            }
            return Ok(lengths);
        };
        match lengths.iter().find(|length| !(1..=limit).contains(*length)) {
            None => Ok(lengths.to_vec()),
            Some(length) => Err(Error::setting(
                Setting::Lengths,
                format!("{length} is out of range: this model takes 1 to {limit} tokens"),
            )),
        }
    }

    fn cell(&self, micro_batch: &[Tokens], threads: usize, seconds: Duration, peak: &Peak) -> Cell {
        let pass = pass(&self.model, threads, micro_batch, |session| {
            let start = Instant::now();
            let mut records = 0;
            loop {
                session.run(micro_batch);
                records += micro_batch.len();
                let time = start.elapsed();
                if time >= seconds {
                    return (records, time.as_secs_f64());
                }
            }
        });
        let length = micro_batch[0].ids.len();
        let records: usize = pass.results.iter().map(|(records, _)| records).sum();
        // Threads end at different times, so each has its own rate.
        let rates = pass
            .results
            .iter()
            .map(|&(records, time)| records as f64 / time);
        let records_per_s: f64 = rates.sum();
        let stages = StageSeconds::from(pass.stages);
        let operations = records as u64 * operations::products(self.model.plan(), length);
        Cell {
            length,
            micro_batch_tokens: 0,
            micro_batch_records: micro_batch.len(),
            records,
            records_per_s_wall: records_per_s,
            records_per_s_cpu: records as f64 / pass.cpu.as_secs_f64(),
            cpu_share: pass.cpu.as_secs_f64() / pass.wall.as_secs_f64() / threads as f64,
            tokens_per_s_wall: records_per_s * length as f64,
            ms_per_record: 1e3 * threads as f64 / records_per_s,
            share_of_peak: peak.share(self.model.precision(), operations, stages.products()),
            share_of_rest: stages.rest(),
            stages,
            threads_gain: None,
        }
    }
}

/// `records` random records of `length` tokens, the same in every call.
pub(crate) fn random_records(model: &Model, length: usize, records: usize) -> Vec<Tokens> {
    // Every open model can encode the empty text.
    let frame = model.encode("", model.max_tokens());
    let frame = frame.map(|tokens| tokens.ids).unwrap_or_default();
    let mut random = Random(length as u64);
    (0..records)
        .map(|_| random_record(length, &frame, model.plan().vocabulary(), &mut random))
        .collect()
}

/// A record of `length` random ids, between the tokens that the tokenizer adds to a text if there is space for them.
fn random_record(length: usize, frame: &[u32], vocabulary: usize, random: &mut Random) -> Tokens {
    let mut ids: Vec<_> = (0..length).map(|_| random.below(vocabulary)).collect();
    if let [first, after @ ..] = frame
        && frame.len() <= length
    {
        ids[0] = *first;
        ids[length - after.len()..].copy_from_slice(after);
    }
    Tokens::from_ids(ids)
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_records_have_special_tokens_and_known_ids() {
        let make = |length| random_record(length, &[101, 102], 200, &mut Random(1)).ids;
        let ids = make(50);
        assert_eq!((ids.len(), ids[0], ids[49]), (50, 101, 102));
        assert!(ids.iter().all(|&id| id < 200));
        assert_eq!(make(50), ids);
        assert_eq!(make(2), [101, 102]);
        assert_eq!(make(1).len(), 1);
        assert_eq!(random_record(3, &[], 5, &mut Random(1)).ids.len(), 3);
    }
}
