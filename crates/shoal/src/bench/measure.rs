//! Measurements: threads that start together, times of stages, peak rates of the machine, memory.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::{Serialize, Serializer};
use shoal_encoder::peak::{Sequence, rates};
use shoal_encoder::{Isa, Model, Precision, Session, Stage, StageTimes, Tokens};
use shoal_function::memory;

/// Peak rates of the machine, measured right before the engine is timed, in billions of operations per second of one thread;
/// a multiply-add counts as two. `None` if there are no such instructions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Peak {
    /// Multiply-adds in `f32` at the instruction set's width.
    pub f32_gflops: Option<f64>,
    /// Products of bytes, with the instructions of the kernel.
    pub int8_gops: Option<f64>,
    /// The names of these instructions.
    pub int8_instructions: Option<&'static str>,
    /// Multiply-adds of all threads together, as a multiple of one thread; `None` for one thread.
    pub threads_gain: Option<f64>,
}

impl Peak {
    pub(super) fn measure(isa: Isa, threads: usize) -> Self {
        let of = |precision| Sequence::of(isa, precision);
        let rate = |sequence: Sequence| rates(&[sequence], 1)[0];
        let f32 = of(Precision::F32);
        let f32_gflops = f32.map(rate);
        let together = |(sequence, one)| rates(&[sequence], threads)[0] / one;
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

    /// The rate of `operations` operations in `seconds` seconds on one thread, relative to the peak.
    pub(super) fn share(&self, precision: Precision, operations: u64, seconds: f64) -> Option<f64> {
        let peak = match precision {
            Precision::F32 => self.f32_gflops,
            Precision::Int8 => self.int8_gops,
        };
        Some(operations as f64 / seconds / 1e9 / peak?)
    }
}

/// Time of each stage in seconds, summed over the threads, in descending order for most models: matrix products of the
/// linear layers, attention, quantization of the linear layers' inputs, activations, residuals with layer norms (and
/// pooling, with its normalization), and embedding lookup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageSeconds([(&'static str, f64); 6]);

impl From<StageTimes> for StageSeconds {
    fn from(times: StageTimes) -> Self {
        let stages = [
            ("products", times[Stage::Products]),
            ("attention", times[Stage::Attention]),
            ("quantizing", times[Stage::Quantizing]),
            ("activation", times[Stage::Activation]),
            ("norms", times[Stage::Norms] + times[Stage::Pooling]),
            ("embedding", times[Stage::Embedding]),
        ];
        Self(stages.map(|(name, time)| (name, time.as_secs_f64())))
    }
}

impl Serialize for StageSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0)
    }
}

impl StageSeconds {
    /// All stages by name.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        self.0
    }

    /// The sum of all stages.
    pub fn total(&self) -> f64 {
        self.0.iter().map(|(_, seconds)| seconds).sum()
    }

    pub(super) fn products(&self) -> f64 {
        self.0[0].1
    }

    /// The share of all stages except products and attention.
    pub fn rest(&self) -> f64 {
        let total = self.total();
        (total - self.0[0].1 - self.0[1].1) / total
    }
}

/// The results of threads between their common start and the end of the last one.
pub(super) struct Pass<T> {
    /// One per thread.
    pub(super) results: Vec<T>,
    pub(super) wall: Duration,
    /// CPU time of the process.
    pub(super) cpu: Duration,
    pub(super) stages: StageTimes,
}

/// Runs `warm_up`, which is not timed, and then `work` on `threads` threads, which start together.
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
            let (result, times) = worker.join().expect("the sequences are valid");
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

/// Peak resident memory of this process in MB, if the system reports it.
pub(super) fn peak_rss_mb() -> Option<f64> {
    memory::peak_bytes().map(|bytes| bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_use_the_peak_of_one_thread_and_the_precision() {
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
    fn the_rest_excludes_products_and_attention() {
        let stages = StageSeconds([
            ("products", 10.0),
            ("attention", 5.0),
            ("quantizing", 2.0),
            ("activation", 0.0),
            ("norms", 3.0),
            ("embedding", 0.0),
        ]);
        assert_eq!((stages.total(), stages.rest()), (20.0, 0.25));
    }
}
