//! Times given token ids.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;
use serde_json::value::RawValue;
use shoal_encoder::ModelPlan;
use shoal_encoder::{Tokens, operations};

use super::measure::{Pass, Peak, StageSeconds, pass, peak_rss_mb};
use super::{Bench, Setup, cut};
use crate::Result;

/// The speed of given sequences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SequencesReport {
    /// Precision, instruction set, threads, model.
    #[serde(flatten)]
    pub setup: Setup,
    /// Number of timed sequences.
    pub sequences: usize,
    /// Number of their tokens.
    pub tokens: usize,
    /// Wall time from the start of all threads to the end of the last one.
    pub seconds_wall: f64,
    /// CPU time of the process in that time.
    pub seconds_cpu: f64,
    /// CPU time relative to the wall time of all threads. If it is well below 1, other processes used the cores, so rates by
    /// wall time and shares of the peak are not meaningful.
    pub cpu_share: f64,
    /// `sequences / seconds_wall`
    pub records_per_s_wall: f64,
    /// `sequences / seconds_cpu`
    pub records_per_s_cpu: f64,
    /// `tokens / seconds_wall`
    pub tokens_per_s_wall: f64,
    /// The rate for sequences with the mean work of the whole file, if only a sample was timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s_wall_normalised: Option<f64>,
    /// The rate for sequences with the mean work of the whole file, if only a sample was timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records_per_s_cpu_normalised: Option<f64>,
    /// Operations per sequence without skipping any; see [`operations::in_full`].
    pub gflop_per_record: f64,
    /// Time of the stages.
    pub stages: StageSeconds,
    /// The rate of the products' operations, relative to the peak of the precision.
    pub share_of_peak: Option<f64>,
    /// The share of time of all stages except products and attention.
    pub share_of_rest: f64,
    /// The machine's peak.
    pub peak: Peak,
    /// Peak resident memory of the process.
    pub peak_rss_mb: Option<f64>,
}

impl Bench {
    /// Times `sequences`, or an evenly spread sample of `limit` of them. They are split in order into micro-batches of at most
    /// `micro_batch_tokens` tokens (0 is one at a time), which the threads share. `progress` gets the number of finished
    /// sequences.
    ///
    /// # Panics
    /// If there are no sequences, or the model cannot process one; those of [`read_sequences`](Self::read_sequences) are
    /// valid.
    pub fn sequences(
        &self,
        sequences: &[Tokens],
        limit: Option<usize>,
        micro_batch_tokens: usize,
        progress: &(dyn Fn(usize) + Sync),
    ) -> SequencesReport {
        let plan = self.model.plan();
        let mean = |sequences: &[Tokens]| {
            let of = |s: &Tokens| operations::in_full(plan, s.ids.len()) as f64;
            sequences.iter().map(of).sum::<f64>() / sequences.len() as f64
        };
        let chosen = limit.filter(|&limit| limit < sequences.len());
        let chosen = chosen.map(|limit| spread(sequences, limit));
        // The mean work of the sample relative to that of the file.
        let weight = chosen.as_ref().map(|c| mean(c) / mean(sequences));
        let timed = chosen.as_deref().unwrap_or(sequences);

        let threads = self.setup.threads;
        let peak = Peak::measure(self.model.isa(), threads);
        let done = AtomicUsize::new(0);
        let Pass {
            wall, cpu, stages, ..
        } = self.distribute(timed, micro_batch_tokens, &timed[..1], |_, logits| {
            let records = logits.len() / self.model.output_width();
            progress(done.fetch_add(records, Ordering::Relaxed) + records);
        });
        let (wall, cpu) = (wall.as_secs_f64(), cpu.as_secs_f64());
        let stages = StageSeconds::from(stages);
        let tokens: usize = timed.iter().map(|s| s.ids.len()).sum();
        let computed = timed
            .iter()
            .map(|s| operations::products(plan, s.ids.len()));
        let records = timed.len() as f64;
        SequencesReport {
            setup: self.setup.clone(),
            sequences: timed.len(),
            tokens,
            seconds_wall: wall,
            seconds_cpu: cpu,
            cpu_share: cpu / wall / threads as f64,
            records_per_s_wall: records / wall,
            records_per_s_cpu: records / cpu,
            tokens_per_s_wall: tokens as f64 / wall,
            records_per_s_wall_normalised: weight.map(|weight| weight * records / wall),
            records_per_s_cpu_normalised: weight.map(|weight| weight * records / cpu),
            gflop_per_record: mean(timed) / 1e9,
            stages,
            share_of_peak: peak.share(self.model.precision(), computed.sum(), stages.products()),
            share_of_rest: stages.rest(),
            peak,
            peak_rss_mb: peak_rss_mb(),
        }
    }

    /// The logits of each sequence, in order, bit-identical for every `micro_batch_tokens` and number of threads.
    ///
    /// # Panics
    /// If the model cannot process a sequence.
    pub fn logits(&self, sequences: &[Tokens], micro_batch_tokens: usize) -> Vec<Vec<f32>> {
        let labels = self.model.output_width();
        let (send, receive) = std::sync::mpsc::channel();
        self.distribute(sequences, micro_batch_tokens, &[], |index, logits| {
            let sent = send.send((index, logits.to_vec()));
            sent.expect("the receiver lives longer");
        });
        drop(send);
        let mut micro_batches: Vec<(usize, Vec<f32>)> = receive.into_iter().collect();
        micro_batches.sort_by_key(|(index, _)| *index);
        let logits = micro_batches.iter().map(|(_, logits)| logits);
        logits
            .flat_map(|logits| logits.chunks_exact(labels).map(<[f32]>::to_vec))
            .collect()
    }

    /// Distributes micro-batches over all threads. `see` gets the index and the logits of each.
    fn distribute(
        &self,
        sequences: &[Tokens],
        micro_batch_tokens: usize,
        warm_up: &[Tokens],
        see: impl Fn(usize, &[f32]) + Sync,
    ) -> Pass<()> {
        let micro_batches = cut(sequences, micro_batch_tokens);
        let next = AtomicUsize::new(0);
        pass(&self.model, self.setup.threads, warm_up, |session| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(micro_batch) = micro_batches.get(index) else {
                    return;
                };
                see(index, session.run(micro_batch));
            }
        })
    }
}

/// `count` of the sequences, from the middles of equal intervals.
fn spread(sequences: &[Tokens], count: usize) -> Vec<Tokens> {
    (0..count)
        .map(|k| sequences[(2 * k + 1) * sequences.len() / (2 * count)].clone())
        .collect()
}

/// Reads and checks a file of sequences.
pub(super) fn read(path: &Path, plan: &ModelPlan) -> Result<Vec<Tokens>> {
    let wrong = |reason: String| shoal_job::Error::input(path.display().to_string(), reason);
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let sequences: Vec<&RawValue> = serde_json::from_slice(&bytes).map_err(|e| {
        wrong(format!(
            "it must be a JSON array of arrays of token ids: {e}"
        ))
    })?;
    if sequences.is_empty() {
        return Err(wrong("it has no sequences".into()).into());
    }
    sequences
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            sequence(raw.get(), plan)
                .map_err(|reason| wrong(format!("sequence {index}, from 0, {reason}")).into())
        })
        .collect()
}

/// Parses a sequence; an error is the reason that it is invalid.
fn sequence(json: &str, plan: &ModelPlan) -> std::result::Result<Tokens, String> {
    let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return Err("is not an array of token ids".into());
    };
    let (length, positions) = (values.len(), plan.max_positions());
    if length == 0 {
        return Err("is empty; it must have at least one token id".into());
    }
    if length > positions {
        return Err(format!(
            "has {length} tokens, and the model reads at most {positions}"
        ));
    }
    let id = |value: &RawValue| {
        let Ok(id) = value.get().parse::<u32>() else {
            let start: String = value.get().chars().take(20).collect();
            return Err(format!("has {start}, which is not a token id"));
        };
        if id as usize >= plan.vocabulary() {
            return Err(format!(
                "has the token id {id}, and the model's vocabulary ends at {}",
                plan.vocabulary() - 1
            ));
        }
        Ok(id)
    };
    let ids = values
        .into_iter()
        .map(id)
        .collect::<std::result::Result<_, _>>()?;
    Ok(Tokens::from_ids(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly() {
        let sequences: Vec<_> = (0..10).map(|id| Tokens::from_ids(vec![id])).collect();
        let chosen =
            |count| -> Vec<u32> { spread(&sequences, count).iter().map(|s| s.ids[0]).collect() };
        assert_eq!(chosen(1), [5]);
        assert_eq!(chosen(2), [2, 7]);
        assert_eq!(chosen(3), [1, 5, 8]);
        assert_eq!(chosen(10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
