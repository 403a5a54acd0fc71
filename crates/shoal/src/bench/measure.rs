//! Clocks: workers that start together, stages, rates of the machine, memory.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::Serialize;
use shoal_encoder::peak::{Sequence, combined_rates, rates};
use shoal_encoder::{Isa, Model, Precision, Session, StageTimes, Tokens};

/// What the machine can do, measured right before the engine is timed, in billions of operations a second on one
/// thread; a multiplication with its addition counts as two. `None` where there are no such instructions to time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peak {
    /// Multiply-adds in `f32` of the instruction set's width.
    pub f32_gflops: Option<f64>,
    /// Products of bytes, by the instructions that the instruction set's kernel is made of.
    pub int8_gops: Option<f64>,
    /// Which instructions those are.
    pub int8_instructions: Option<&'static str>,
    /// What as many threads reach together of the multiply-adds, as a multiple of one; `None` for one thread.
    pub threads_gain: Option<f64>,
}

impl Peak {
    pub(super) fn measure(isa: Isa, threads: usize) -> Self {
        let of = |precision| Sequence::of(isa, precision);
        let rate = |sequence: Sequence| rates(&[sequence])[0];
        let f32 = of(Precision::F32);
        let f32_gflops = f32.map(rate);
        let together = |(sequence, one)| combined_rates(&[sequence], threads)[0] / one;
        Self {
            f32_gflops,
            int8_gops: of(Precision::Int8).map(rate),
            int8_instructions: of(Precision::Int8).map(|sequence| match sequence.name() {
                "vpdpbusd_gops" => "vpdpbusd",
                name if name.starts_with("maddubs_pair") => "vpmaddubsw in pairs",
                _ => "pmaddwd",
            }),
            threads_gain: f32.zip(f32_gflops).filter(|_| threads > 1).map(together),
        }
    }

    /// The share of the peak that so many operations in so many seconds of one thread are.
    pub(super) fn share(&self, precision: Precision, operations: u64, seconds: f64) -> Option<f64> {
        let peak = match precision {
            Precision::F32 => self.f32_gflops,
            Precision::Int8 => self.int8_gops,
        };
        Some(operations as f64 / seconds / 1e9 / peak?)
    }
}

/// Time of each stage of the passes, in seconds, summed over the threads.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageSeconds {
    /// Looking up and adding embeddings.
    pub embedding: f64,
    /// Matrix products of the linear layers, biases included.
    pub products: f64,
    /// Turning the inputs of linear layers into bytes.
    pub quantizing: f64,
    /// Attention: scores, softmax and weighted values.
    pub attention: f64,
    /// The activation between the two layers of the feed-forward part.
    pub activation: f64,
    /// Residuals and layer norms.
    pub norms: f64,
}

impl From<StageTimes> for StageSeconds {
    fn from(times: StageTimes) -> Self {
        Self {
            embedding: times.embedding.as_secs_f64(),
            products: times.products.as_secs_f64(),
            quantizing: times.quantizing.as_secs_f64(),
            attention: times.attention.as_secs_f64(),
            activation: times.activation.as_secs_f64(),
            norms: times.norms.as_secs_f64(),
        }
    }
}

impl StageSeconds {
    /// All stages with their names, the largest of most models first.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("products", self.products),
            ("attention", self.attention),
            ("quantizing", self.quantizing),
            ("activation", self.activation),
            ("norms", self.norms),
            ("embedding", self.embedding),
        ]
    }

    /// All stages together.
    pub fn total(&self) -> f64 {
        self.named().iter().map(|(_, seconds)| seconds).sum()
    }

    /// The share of everything but products and attention.
    pub fn rest(&self) -> f64 {
        let total = self.total();
        (total - self.products - self.attention) / total
    }
}

/// What workers did between a common start and the last one's end.
pub(super) struct Pass<T> {
    /// One a worker.
    pub(super) results: Vec<T>,
    pub(super) wall: Duration,
    /// Of the process.
    pub(super) cpu: Duration,
    pub(super) stages: StageTimes,
}

/// Has `threads` workers go through `warm_up`, which is not timed, and then all at once do `work`.
pub(super) fn pass<T: Send>(
    model: &Arc<Model>,
    threads: usize,
    warm_up: &[Tokens],
    work: impl Fn(&mut Session) -> T + Sync,
) -> Pass<T> {
    let (warm, start) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let worker = || {
        let mut session = Session::new(model.clone());
        session.run(warm_up);
        session.take_times();
        warm.wait();
        start.wait();
        let result = work(&mut session);
        (result, session.take_times())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        warm.wait();
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        start.wait();
        let mut results = Vec::with_capacity(threads);
        let mut stages = StageTimes::default();
        for worker in workers {
            let (result, times) = worker.join().expect("the sequences were checked");
            results.push(result);
            stages += times;
        }
        Pass {
            results,
            wall: wall.elapsed(),
            cpu: cpu.elapsed(),
            stages,
        }
    })
}

/// The most memory that this process has had resident, in MB, where the system says it.
pub(super) fn peak_rss_mb() -> Option<f64> {
    // Only Linux has the file.
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_thread_and_its_precision() {
        let peak = Peak {
            f32_gflops: Some(100.0),
            int8_gops: None,
            int8_instructions: None,
            threads_gain: None,
        };
        assert_eq!(peak.share(Precision::F32, 50_000_000_000, 1.0), Some(0.5));
        assert_eq!(peak.share(Precision::Int8, 50_000_000_000, 1.0), None);
    }

    #[test]
    fn the_rest_is_neither_products_nor_attention() {
        let stages = StageSeconds {
            embedding: 1.0,
            products: 10.0,
            quantizing: 2.0,
            attention: 5.0,
            activation: 1.0,
            norms: 1.0,
        };
        assert_eq!((stages.total(), stages.rest()), (20.0, 0.25));
    }
}
