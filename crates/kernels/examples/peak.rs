//! The core's rates of pure instruction sequences, one thread, in billions of operations a second:
//! the ceilings for products. Prints a JSON line.
//!
//! `--threads N` then runs every sequence on N threads at once, too, and prints what they reach
//! together under the same name with `_sum`.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use shoal_kernels::Isa;

mod common;

use common::Sequence;

/// Each sequence takes its turn so often; the best time counts. All turns together take a second
/// or two, so that all rates are of the same clock.
const ROUNDS: usize = 30;

fn main() {
    let threads = match threads() {
        Ok(threads) => threads,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(2);
        }
    };
    let sequences = Sequence::available();
    let mut best = vec![0.0f64; sequences.len()];
    for _ in 0..ROUNDS {
        for (best, sequence) in best.iter_mut().zip(&sequences) {
            *best = best.max(sequence.rate());
        }
    }
    let mut fields = vec![format!("\"isa\": \"{}\"", Isa::best().name())];
    for (sequence, rate) in sequences.iter().zip(best) {
        fields.push(format!("\"{}\": {rate:.1}", sequence.name));
    }
    if let Some(threads) = threads {
        fields.push(format!("\"threads\": {threads}"));
        for (sequence, rate) in sequences.iter().zip(together(&sequences, threads)) {
            fields.push(format!("\"{}_sum\": {rate:.1}", sequence.name));
        }
    }
    println!("{{{}}}", fields.join(", "));
}

/// The number after `--threads`, the only option.
fn threads() -> Result<Option<usize>, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => Ok(None),
        [option, count] if option == "--threads" => match count.parse() {
            Ok(count) if count > 0 => Ok(Some(count)),
            _ => Err(format!("`{count}` is no number of threads")),
        },
        _ => Err("usage: peak [--threads N]".to_owned()),
    }
}

/// What `threads` threads reach together of each sequence: all that they did, from the start of
/// the first to the end of the last.
fn together(sequences: &[Sequence], threads: usize) -> Vec<f64> {
    /// A turn must be long beside the time in which threads wake up.
    const REPEATS: usize = 3;
    let barrier = Barrier::new(threads);
    let work = || -> Vec<(Instant, Instant, f64)> {
        let mut turns = Vec::new();
        for _ in 0..ROUNDS {
            for sequence in sequences {
                barrier.wait();
                let start = Instant::now();
                let operations = (0..REPEATS).map(|_| sequence.measure().0).sum();
                turns.push((start, Instant::now(), operations));
            }
        }
        turns
    };
    let turns: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| {
                worker
                    .join()
                    .expect("a thread that measures does not panic")
            })
            .collect()
    });
    let mut best = vec![0.0f64; sequences.len()];
    for turn in 0..turns[0].len() {
        let of = || turns.iter().map(|turns| turns[turn]);
        let start = of().map(|turn| turn.0).min().expect("one thread at least");
        let end = of().map(|turn| turn.1).max().expect("one thread at least");
        let operations: f64 = of().map(|turn| turn.2).sum();
        let best = &mut best[turn % sequences.len()];
        *best = best.max(operations / (end - start).as_secs_f64() / 1e9);
    }
    best
}
