//! Timing made-up sequences by length and size of the micro-batch.

use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_encoder::{Model, Tokens, operations};

use super::measure::{Peak, StageSeconds, pass, peak_rss_mb};
use super::{Bench, Setup};
use crate::{Error, Result};

/// Lengths in tokens that are timed where none are asked for and the model reads so many.
pub const DEFAULT_LENGTHS: [usize; 5] = [16, 64, 128, 256, 512];

/// What is to be timed.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Lengths of the records in tokens; [`DEFAULT_LENGTHS`] up to the model's limit, or that limit, where `None`.
    pub lengths: Option<Vec<usize>>,
    /// Tokens in a micro-batch, at most; 0: one record at a time. Where several give the same micro-batches of a length,
    /// the first one is timed.
    pub micro_batches: Vec<usize>,
    /// How long each cell is timed, about: every thread ends the micro-batch that it is at.
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

/// How fast made-up records went through the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GridReport {
    /// Precision, instruction set, threads, model.
    #[serde(flatten)]
    pub setup: Setup,
    /// How long each cell was timed, about.
    pub seconds: f64,
    /// What the machine can do.
    pub peak: Peak,
    /// By length, then by micro-batch.
    pub cells: Vec<Cell>,
    /// The most memory that the process has had resident.
    pub peak_rss_mb: Option<f64>,
}

/// One length with one size of the micro-batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Tokens of a record.
    pub length: usize,
    /// Tokens in a micro-batch, at most; 0: one record at a time.
    pub micro_batch_tokens: usize,
    /// Records in a micro-batch.
    pub micro_batch_records: usize,
    /// Records timed.
    pub records: usize,
    /// Records a second by wall time, all threads together.
    pub records_per_s_wall: f64,
    /// Records a second of CPU time.
    pub records_per_s_cpu: f64,
    /// CPU time by the wall time of all threads. Well below 1, other work had the cores: then the rates by wall time and
    /// the shares of the peak say little.
    pub cpu_share: f64,
    /// Tokens a second by wall time, all threads together.
    pub tokens_per_s_wall: f64,
    /// Milliseconds that a thread needs for a record.
    pub ms_per_record: f64,
    /// Operations of the products that were computed, by the time of the products and the peak of the precision.
    pub share_of_peak: Option<f64>,
    /// The share of the time of everything but products and attention.
    pub share_of_rest: f64,
    /// Where the workers' time went.
    pub stages: StageSeconds,
    /// Records a second as a multiple of what one thread does alone; `None` for one thread.
    pub threads_gain: Option<f64>,
}

impl Bench {
    /// Times every length with every micro-batch of `grid`. `progress` is told how many cells are done, of how many.
    ///
    /// # Errors
    /// A length is not one that the model reads.
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
            let micro_batch = made_up_records(&self.model, length, records);
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

    fn lengths(&self, asked: Option<&[usize]>) -> Result<Vec<usize>> {
        let limit = self.model.max_tokens();
        let Some(lengths) = asked else {
            let mut lengths = DEFAULT_LENGTHS.to_vec();
            lengths.retain(|&length| length <= limit);
            if lengths.is_empty() {
                lengths.push(limit);
            }
            return Ok(lengths);
        };
        match lengths.iter().find(|length| !(1..=limit).contains(*length)) {
            None => Ok(lengths.to_vec()),
            Some(length) => Err(Error::Settings(format!(
                "--lengths {length} is out of range: this model takes 1 to {limit} tokens"
            ))),
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
        // Threads do not end together; each has a rate of its own time.
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
            share_of_peak: peak.share(self.precision(), operations, stages.products),
            share_of_rest: stages.rest(),
            stages,
            threads_gain: None,
        }
    }
}

/// So many records of `length` tokens for `model`, the same ones each time.
pub(crate) fn made_up_records(model: &Model, length: usize, records: usize) -> Vec<Tokens> {
    // Every model that was opened encodes the empty text.
    let frame = model.encode("", model.max_tokens());
    let frame = frame.map(|tokens| tokens.ids).unwrap_or_default();
    let mut random = Random(length as u64);
    (0..records)
        .map(|_| made_up(length, &frame, model.plan().vocabulary(), &mut random))
        .collect()
}

/// A record of `length` random ids in the frame that the tokenizer puts around a text, as far as there is room.
fn made_up(length: usize, frame: &[u32], vocabulary: usize, random: &mut Random) -> Tokens {
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
    fn made_up_records_are_framed_and_within_the_vocabulary() {
        let make = |length| made_up(length, &[101, 102], 200, &mut Random(1)).ids;
        let ids = make(50);
        assert_eq!((ids.len(), ids[0], ids[49]), (50, 101, 102));
        assert!(ids.iter().all(|&id| id < 200));
        assert_eq!(make(50), ids);
        assert_eq!(make(2), [101, 102]);
        assert_eq!(make(1).len(), 1);
        assert_eq!(made_up(3, &[], 5, &mut Random(1)).ids.len(), 3);
    }
}
