//! Code shared by the Rust peers. The command line of a peer is
//!
//! ```text
//! PEER MODEL --sequences FILE.json [--limit N] [--logits]
//! ```
//!
//! and prints the same output as `shoal bench` and `peers.py`: a JSON line with the rates, or with
//! `--logits` one JSON array per line.

use std::error::Error;
use std::time::Instant;

use cpu_time::ProcessTime;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The command line of a peer.
pub struct Request {
    /// File or folder of the model.
    pub model: String,
    sequences: Vec<Vec<u32>>,
    logits: bool,
}

impl Request {
    pub fn from_arguments() -> Result<Self> {
        let (mut model, mut file, mut limit, mut logits) = (None, None, usize::MAX, false);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--sequences" => file = Some(value()?),
                "--limit" => limit = value()?.parse()?,
                "--logits" => logits = true,
                _ if model.is_none() => model = Some(argument),
                _ => return Err(format!("unexpected {argument}").into()),
            }
        }
        let (Some(model), Some(file)) = (model, file) else {
            return Err("usage: MODEL --sequences FILE.json [--limit N] [--logits]".into());
        };
        let mut sequences: Vec<Vec<u32>> = serde_json::from_slice(&std::fs::read(file)?)?;
        sequences.truncate(limit);
        if sequences.is_empty() {
            return Err("the file contains no sequences".into());
        }
        Ok(Self {
            model,
            sequences,
            logits,
        })
    }

    /// Runs `peer`, which returns the logits of a sequence of token ids, and prints the requested
    /// output.
    pub fn answer(&self, mut peer: impl FnMut(&[u32]) -> Result<Vec<f32>>) -> Result<()> {
        if self.logits {
            for sequence in &self.sequences {
                println!("{}", serde_json::to_string(&peer(sequence)?)?);
            }
            return Ok(());
        }
        peer(&self.sequences[0])?;
        let (wall, cpu) = (Instant::now(), ProcessTime::now());
        for sequence in &self.sequences {
            peer(sequence)?;
        }
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
        let count = self.sequences.len();
        let result = serde_json::json!({
            "threads": 1,
            "sequences": count,
            "tokens": self.sequences.iter().map(Vec::len).sum::<usize>(),
            "records_per_s_cpu": count as f64 / cpu,
            "records_per_s_wall": count as f64 / wall,
        });
        println!("{result}");
        Ok(())
    }
}
