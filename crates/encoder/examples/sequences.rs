//! Times the engine on given token ids, one thread, and prints a JSON line a repetition.
//!
//! ```text
//! sequences MODEL IDS LENGTHS [--nseq N] [--reps R] [--tokens T] [--logits]
//! ```
//!
//! `IDS` holds the token ids of all sequences end to end and `LENGTHS` their lengths, both as
//! little-endian 32-bit integers. `--nseq` chooses so many sequences spread evenly over the file,
//! `--tokens` is the budget of a micro-batch (0: one sequence at a time), and `--logits` prints
//! the logits of the first four sequences instead.
//!
//! `rps_cpu` and `rps_wall` are sequences a second by CPU and by wall-clock time, normalised to the
//! mean floating-point work of the whole file, so that runs on different selections compare. The
//! work of a sequence is counted in full, skipped rows of the last layer included.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use cpu_time::ProcessTime;
use shoal_encoder::config::Config;
use shoal_encoder::{Checkpoint, Isa, MICRO_BATCH_TOKENS, Model, Precision, Session, Tokens};

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    let (mut count, mut repetitions, mut budget) = (usize::MAX, 1, MICRO_BATCH_TOKENS);
    let mut print_logits = false;
    let mut precision = "f32".to_owned();
    let mut isa = Isa::best();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--nseq" => count = value()?.parse()?,
            "--reps" => repetitions = value()?.parse()?,
            "--tokens" => budget = value()?.parse()?,
            "--precision" => precision = value()?,
            "--isa" => isa = Isa::named(&value()?).ok_or("no such instruction set here")?,
            "--logits" => print_logits = true,
            _ => paths.push(argument),
        }
    }
    let [model, ids, lengths] = paths.as_slice() else {
        return Err("usage: sequences MODEL IDS LENGTHS [--nseq N] [--reps R] [--tokens T]".into());
    };
    let precision_kind = if precision == "int8" {
        Precision::Int8
    } else {
        Precision::F32
    };
    let model = Arc::new(Model::pack(
        &Checkpoint::open(Path::new(model))?,
        String::new(),
        precision_kind,
        isa,
    )?);
    let sequences = read_sequences(ids, lengths)?;
    let mut session = Session::new(Arc::clone(&model));

    if print_logits {
        let labels = model.labels().len();
        let first = &sequences[..sequences.len().min(4)];
        for logits in session.logits(first).chunks(labels) {
            println!("{}", serde_json::to_string(logits)?);
        }
        return Ok(());
    }

    let config = model.config();
    let mean = sequences.iter().map(|s| work(config, s)).sum::<f64>() / sequences.len() as f64;
    let count = count.min(sequences.len());
    let chosen: Vec<Tokens> = (0..count)
        .map(|k| {
            sequences[((k as f64 + 0.5) * sequences.len() as f64 / count as f64) as usize].clone()
        })
        .collect();
    let micro_batches = cut(&chosen, budget);
    let tokens: usize = chosen.iter().map(|s| s.ids.len()).sum();
    let operations: f64 = chosen.iter().map(|s| work(config, s)).sum();

    session.logits(&chosen[..count.min(1)]);
    for repetition in 0..repetitions {
        session.take_times();
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        for micro_batch in &micro_batches {
            session.logits(micro_batch);
        }
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        println!(
            "{}",
            serde_json::json!({
                "peer": "shoal",
                "isa": isa.name(), "precision": precision,
                "bs": 1,
                "order": if budget == 0 { "arrival".to_owned() } else { format!("t{budget}") },
                "rep": repetition,
                "n": count,
                "tok": tokens,
                "wall": wall,
                "cpu": cpu,
                "gflops_wall": operations / wall / 1e9,
                "gflops_cpu": operations / cpu / 1e9,
                "rps_wall": operations / wall / mean,
                "rps_cpu": operations / cpu / mean,
            })
        );
        let times = session.take_times();
        let total = times.total().as_secs_f64();
        let share = |d: std::time::Duration| format!("{:.1}%", 100.0 * d.as_secs_f64() / total);
        eprintln!(
            "embed {} products {} attention {} norms {} activation {} quantizing {}",
            share(times.embedding),
            share(times.products),
            share(times.attention),
            share(times.norms),
            share(times.activation),
            share(times.quantizing)
        );
    }
    Ok(())
}

/// Floating-point operations of a sequence in a general runtime.
fn work(config: &Config, sequence: &Tokens) -> f64 {
    let (n, hidden) = (sequence.ids.len() as f64, config.hidden() as f64);
    let linear = 2.0 * n * (4.0 * hidden * hidden + 2.0 * hidden * config.intermediate as f64);
    config.layers as f64 * (linear + 4.0 * n * n * hidden)
}

/// Consecutive sequences as long as they fit the budget, at least one at a time.
fn cut(mut sequences: &[Tokens], budget: usize) -> Vec<&[Tokens]> {
    let mut micro_batches = Vec::new();
    while !sequences.is_empty() {
        let mut tokens = sequences[0].ids.len();
        let mut end = 1;
        while end < sequences.len() && tokens + sequences[end].ids.len() <= budget {
            tokens += sequences[end].ids.len();
            end += 1;
        }
        micro_batches.push(&sequences[..end]);
        sequences = &sequences[end..];
    }
    micro_batches
}

fn read_sequences(ids: &str, lengths: &str) -> Result<Vec<Tokens>, Box<dyn Error>> {
    let integers = |path: &str| -> Result<Vec<u32>, std::io::Error> {
        let bytes = std::fs::read(path)?;
        Ok(bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| u32::from_le_bytes(*b))
            .collect())
    };
    let ids = integers(ids)?;
    let mut rest = ids.as_slice();
    let mut sequences = Vec::new();
    for length in integers(lengths)? {
        let (sequence, after) = rest
            .split_at_checked(length as usize)
            .ok_or("the lengths add up to more than there are ids")?;
        rest = after;
        sequences.push(Tokens {
            ids: sequence.to_vec(),
            truncated: false,
        });
    }
    if sequences.is_empty() {
        return Err("there are no sequences".into());
    }
    Ok(sequences)
}
