//! Measures the CPU's peak rates with loops of only the instructions that matrix products consist
//! of. These rates are upper bounds for the kernels on the same core.
//!
//! Clock rates vary, so compare a rate only with kernels that were timed at about the same time.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use pulp::{Arch, Simd, WithSimd};

use crate::{Isa, Precision};

#[cfg(target_arch = "x86_64")]
mod x86;

/// An instruction sequence that this CPU supports.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    name: &'static str,
    /// Runs the given number of steps and returns the number of operations. A multiply-add counts
    /// as two.
    run: fn(u64) -> u64,
}

/// Independent sums: enough to hide the latency of multiply-adds, few enough for 16 registers.
const CHAINS: usize = 12;

/// Steps per measurement: at most about a millisecond.
const STEPS: u64 = 150_000;

/// Measurements of each sequence, of which the best counts. Sequences alternate within a round, so
/// that all rates are measured at about the same clock rate.
const ROUNDS: usize = 30;

impl Sequence {
    /// Every sequence that this CPU supports.
    pub fn available() -> Vec<Sequence> {
        let mut found = vec![Sequence {
            name: "fma_gflops",
            run: |steps| Arch::new().dispatch(Fma(steps)),
        }];
        #[cfg(target_arch = "x86_64")]
        found.extend(x86::available());
        found
    }

    /// The sequence that the matrix products on `isa` consist of: multiply-adds of its width for
    /// `f32`, and `vpdpbusd`, pairs of `vpmaddubsw`, or `pmaddwd` for `int8`. `None` for the
    /// portable kernels on CPUs other than x86-64.
    pub fn of(isa: Isa, precision: Precision) -> Option<Sequence> {
        let name = match (isa.name(), precision) {
            ("avx512-vnni" | "avx512", Precision::F32) => "fma_gflops",
            ("avx512-vnni", Precision::Int8) => "vpdpbusd_gops",
            ("avx512", Precision::Int8) => "maddubs_pair_gops_512",
            ("avx2", Precision::F32) => "fma_gflops_256",
            ("avx2", Precision::Int8) => "maddubs_pair_gops",
            (_, Precision::F32) => "mul_add_gflops_128",
            (_, Precision::Int8) => "madd_gops_128",
        };
        Sequence::available().into_iter().find(|s| s.name == name)
    }

    /// The name used in reports, which includes the unit of the rate.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Runs the sequence for about a millisecond or less. Returns the number of operations and the
    /// elapsed time.
    pub fn measure(self) -> (f64, Duration) {
        let start = Instant::now();
        let operations = (self.run)(black_box(STEPS));
        (operations as f64, start.elapsed())
    }
}

/// Measures each sequence on `threads` threads and returns its best combined rate, in billions of
/// operations per second. The combined rate of a measurement is the number of operations of all
/// threads, divided by the time from the first start to the last end.
///
/// # Panics
/// If `threads` is 0.
pub fn rates(sequences: &[Sequence], threads: usize) -> Vec<f64> {
    assert!(threads > 0, "at least one thread is required");
    // A measurement must be long compared with the time it takes to wake up threads.
    let repeats = if threads == 1 { 1 } else { 3 };
    let barrier = Barrier::new(threads);
    let work = || -> Vec<(Instant, Instant, f64)> {
        let mut turns = Vec::new();
        for _ in 0..ROUNDS {
            for sequence in sequences {
                barrier.wait();
                let start = Instant::now();
                let operations = (0..repeats).map(|_| sequence.measure().0).sum();
                turns.push((start, Instant::now(), operations));
            }
        }
        turns
    };
    let turns: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let turns = workers.into_iter().map(|worker| worker.join());
        turns
            .map(|turns| turns.expect("the measurement does not panic"))
            .collect()
    });
    let mut best = vec![0.0f64; sequences.len()];
    for turn in 0..turns[0].len() {
        let of = || turns.iter().map(|turns| turns[turn]);
        let start = of()
            .map(|turn| turn.0)
            .min()
            .expect("there is at least one thread");
        let end = of()
            .map(|turn| turn.1)
            .max()
            .expect("there is at least one thread");
        let operations: f64 = of().map(|turn| turn.2).sum();
        let best = &mut best[turn % sequences.len()];
        *best = best.max(operations / (end - start).as_secs_f64() / 1e9);
    }
    best
}

/// Applies `step` to `CHAINS` independent sums, `steps` times. A step computes and adds `products`
/// products. Returns the number of operations.
#[inline(always)]
fn repeat<const CHAINS: usize, T: Copy>(
    steps: u64,
    products: usize,
    start: T,
    mut step: impl FnMut(T) -> T,
) -> u64 {
    let mut sums = [start; CHAINS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = step(*sum);
        }
    }
    black_box(sums);
    steps * (CHAINS * products * 2) as u64
}

/// Multiply-adds on the widest registers.
struct Fma(u64);

impl WithSimd for Fma {
    type Output = u64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u64 {
        let factor = simd.splat_f32s(black_box(1.0));
        let addend = simd.splat_f32s(black_box(0.0));
        let mut sums = [simd.splat_f32s(black_box(1.0)); CHAINS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add_e_f32s(*sum, factor, addend);
            }
        }
        black_box(sums);
        self.0 * (CHAINS * S::F32_LANES * 2) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_x86_instruction_set_has_a_sequence_per_precision() {
        if !cfg!(target_arch = "x86_64") {
            return;
        }
        for isa in Isa::available() {
            for precision in Precision::ALL {
                let sequence =
                    Sequence::of(isa, precision).expect("every x86 instruction set has a sequence");
                println!("{isa:?} in {precision}: {}", sequence.name());
                let (operations, time) = sequence.measure();
                assert!(operations > 0.0 && time > Duration::ZERO);
            }
        }
    }

    #[test]
    fn every_sequence_has_a_rate_on_one_and_on_several_threads() {
        let sequences = Sequence::available();
        for threads in [1, 2] {
            let rates = rates(&sequences, threads);
            assert_eq!(rates.len(), sequences.len());
            assert!(rates.iter().all(|&rate| rate > 0.0), "{rates:?}");
        }
        assert_eq!(rates(&[], 1), []);
    }
}
