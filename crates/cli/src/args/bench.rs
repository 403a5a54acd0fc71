//! Arguments of `bench`.

use std::path::PathBuf;

use clap::Args;

use crate::options::{EngineOptions, ModelOptions};
use shoal::encoder::MICRO_BATCH_TOKENS;

const EXAMPLES: &str = "\
Examples:
  shoal bench
  shoal bench --model ./my-distilbert --precision f32 --lengths 32,256 --micro-batches 0,512 --json
  shoal bench --sequences ids.json --threads 2 --json
  shoal bench --sequences ids.json --limit 4 --logits";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) model: ModelOptions,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    /// Workers, each on its own thread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) threads: u64,

    /// Lengths of the generated records in tokens, separated by commas [default: 16,64,128,256,512, up to the model's limit]
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        conflicts_with = "sequences"
    )]
    pub(crate) lengths: Option<Vec<usize>>,

    /// Tokens in a micro-batch, separated by commas; 0: one record at a time. Values that give the same micro-batches for a
    /// length are timed once
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "0,256,512,1024",
        conflicts_with = "sequences"
    )]
    pub(crate) micro_batches: Vec<usize>,

    /// How long each length is timed with each micro-batch
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = seconds, conflicts_with = "sequences")]
    pub(crate) seconds: f64,

    /// Time these token ids instead: a JSON array of arrays of integers
    #[arg(long, value_name = "FILE")]
    pub(crate) sequences: Option<PathBuf>,

    /// Time this many of the sequences, spread evenly over the file; with --logits, the first ones
    #[arg(long, value_name = "N", requires = "sequences", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,

    /// Tokens in a micro-batch of the sequences; 0: one sequence at a time
    #[arg(long, value_name = "TOKENS", default_value_t = MICRO_BATCH_TOKENS, requires = "sequences")]
    pub(crate) micro_batch_tokens: usize,

    /// Print the logits of each sequence as a line with a JSON array, in order, and time nothing
    #[arg(long, requires = "sequences", conflicts_with = "json")]
    pub(crate) logits: bool,

    /// Print the measurements as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A time that is worth waiting for.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("it is not a number between 0.001 and 3600".into()),
    }
}
