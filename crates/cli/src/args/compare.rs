//! Arguments of `compare`.

use std::path::PathBuf;

use clap::Args;

use super::report::ReportFormat;
use crate::options::{
    BackendOptions, EngineOptions, InputOptions, LimitOptions, ModelOptions, StoreOptions,
    TaskOptions, heading,
};
use shoal::planning::Architecture;

const EXAMPLES: &str = "\
Examples:
  shoal compare reviews.csv                             # on this machine, with real runs
  shoal compare reviews.csv --simulate                  # on Lambda, simulated from a calibration of this machine
  shoal compare reviews.csv --batch-sizes 50,250,1000 --format html -o comparison.html
  shoal compare s3://bucket/reviews.csv --backend lambda --store s3://bucket/shoal --yes";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Files, folders of text files, patterns or URLs, as for `run`
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// Batch sizes, separated by commas [default: the paper's, 50,100,125,200,250,333,500,625,1000]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) batch_sizes: Vec<u64>,

    /// Simulate the runs on Lambda from a calibration of this machine, and run nothing
    #[arg(long)]
    pub(crate) simulate: bool,

    /// Memory in MB by which functions are billed where no platform says [default: 1769]
    #[arg(long, value_name = "MB")]
    pub(crate) memory: Option<u32>,

    /// Architecture of the simulated functions [default: x86_64]
    #[arg(long, value_name = "ARCH", requires = "simulate")]
    pub(crate) architecture: Option<Architecture>,

    /// Region whose prices apply where no platform says [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// A calibration that `shoal plan --save-calibration` wrote
    #[arg(long, value_name = "FILE", requires = "simulate")]
    pub(crate) calibration: Vec<PathBuf>,

    /// Measurements of tools/paper_baseline.py of the paper's own method: padded batches through PyTorch
    #[arg(long, value_name = "FILE")]
    pub(crate) paper_baseline: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) input: InputOptions,

    #[command(flatten)]
    pub(crate) model: ModelOptions,

    #[command(flatten)]
    pub(crate) task: TaskOptions,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    #[command(flatten)]
    pub(crate) backend: BackendOptions,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    #[command(flatten)]
    pub(crate) store: StoreOptions,

    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "markdown", help_heading = heading::OUTPUT)]
    pub(crate) format: ReportFormat,

    /// Where to write: a file, or - for standard output
    #[arg(short, long, value_name = "OUTPUT", default_value = "-", help_heading = heading::OUTPUT)]
    pub(crate) output: PathBuf,

    /// Print nothing but errors
    #[arg(short, long, help_heading = heading::LOGGING)]
    pub(crate) quiet: bool,
}
