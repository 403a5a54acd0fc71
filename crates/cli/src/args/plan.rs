//! Arguments of `plan`.

use std::path::PathBuf;

use clap::Args;

use crate::options::{
    EngineOptions, InputOptions, ModelOptions, TaskOptions, heading, parser, time,
};
use shoal::planning::Architecture;
use shoal::{BackendKind, Machine};

const EXAMPLES: &str = "\
Examples:
  shoal plan reviews.csv                                        # every backend that can be planned for
  shoal plan reviews.csv --backend lambda --deadline 5m
  shoal plan reviews.csv --max-cost 2.00 --machine spot=0.085:4 --machine desk=0:8
  shoal plan reviews.csv --save-calibration here.json           # and later: --calibration here.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// Files, folders of text files, patterns, URLs, or - for standard input, as for `run`
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    #[command(flatten)]
    pub(crate) input: InputOptions,

    #[command(flatten)]
    pub(crate) model: ModelOptions,

    #[command(flatten)]
    pub(crate) task: TaskOptions,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    #[command(flatten)]
    pub(crate) candidates: CandidateArgs,

    /// Show all candidates, not only those that no other one beats
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) all: bool,

    /// Print the plan as JSON
    #[arg(long, help_heading = heading::OUTPUT)]
    pub(crate) json: bool,

    /// Save this machine's calibration
    #[arg(long, value_name = "FILE", help_heading = heading::OUTPUT)]
    pub(crate) save_calibration: Option<PathBuf>,
}

/// Which candidates are simulated, and on what assumptions.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct CandidateArgs {
    /// Where functions may run [default: every backend that can be planned for]
    #[arg(long, value_name = "BACKEND", value_parser = parser::<BackendKind>())]
    pub(crate) backend: Option<BackendKind>,

    /// A machine with a price, used by the local or array backend; may be given several times
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS")]
    pub(crate) machine: Vec<Machine>,

    /// Batch sizes to try, separated by commas
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) batch_sizes: Vec<u64>,

    /// Numbers of concurrent functions to try, separated by commas
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) concurrency: Vec<u64>,

    /// Memory sizes of functions to try in MB, separated by commas [default: 512,1024,1769]
    #[arg(long, value_name = "MB,…", value_delimiter = ',')]
    pub(crate) memory: Vec<u32>,

    /// Architectures of functions to try: x86_64, arm64 [default: both]
    #[arg(long, value_name = "ARCH,…", value_delimiter = ',')]
    pub(crate) architecture: Vec<Architecture>,

    /// Concurrent environments of the account [default: 1000, assumed]
    #[arg(long, value_name = "N")]
    pub(crate) quota: Option<u64>,

    /// Region whose prices apply [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// Time limit of the run, such as 90s, 5m or 2h: the cheapest candidate within it is chosen
    #[arg(long, value_name = "TIME", value_parser = time::seconds, help_heading = heading::LIMITS)]
    pub(crate) deadline: Option<f64>,

    /// Cost limit of the run: the fastest candidate within it is chosen
    #[arg(long, value_name = "USD", help_heading = heading::LIMITS)]
    pub(crate) max_cost: Option<f64>,

    /// JSON file with prices to use instead of the built-in ones, in the form of crates/estimate/prices
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES", help_heading = heading::LIMITS)]
    pub(crate) prices: Option<PathBuf>,

    /// A saved calibration, possibly of another machine; one per architecture
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Vec<PathBuf>,

    /// Learn the platform's times from this run of the backend lambda, instead of assuming them
    #[arg(long, value_name = "RUN")]
    pub(crate) from_run: Option<String>,
}
