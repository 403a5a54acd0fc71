//! Arguments of `plan`.

use std::path::PathBuf;

use clap::Args;

use super::{BackendArg, InputFormatArg, PrecisionArg};
use crate::Machine;
use crate::planning::Architecture;

const EXAMPLES: &str = "\
Examples:
  shoal plan reviews.csv                                        # everywhere that can be planned for
  shoal plan reviews.csv --backend lambda --deadline 5m
  shoal plan reviews.csv --max-cost 2.00 --machine spot=0.085:4 --machine desk=0:8
  shoal plan reviews.csv --save-calibration here.json           # and later: --calibration here.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct PlanArgs {
    /// Files, folders of text files, patterns, URLs, or - for standard input, as for `run`
    #[arg(required = true, value_name = "INPUT")]
    pub(in crate::cli) inputs: Vec<String>,

    /// Model folder, packed model or its URL, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(in crate::cli) model: Option<String>,

    /// How the model's products are computed
    #[arg(long, value_name = "int8|f32", env = "SHOAL_PRECISION")]
    pub(in crate::cli) precision: Option<PrecisionArg>,

    /// Instruction set that the engine uses
    #[arg(long, value_name = "ISA", env = "SHOAL_ISA")]
    pub(in crate::cli) isa: Option<String>,

    /// Where packed models are kept
    #[arg(long, value_name = "DIR", env = "SHOAL_CACHE_DIR")]
    pub(in crate::cli) cache_dir: Option<PathBuf>,

    /// Format of the inputs, where their names do not tell it
    #[arg(long, value_name = "FORMAT", env = "SHOAL_INPUT_FORMAT")]
    pub(in crate::cli) input_format: Option<InputFormatArg>,

    /// Column with the text
    #[arg(long, value_name = "COLUMN", env = "SHOAL_TEXT_COLUMN")]
    pub(in crate::cli) text_column: Option<String>,

    /// Cut texts at this many tokens [default: the model's limit]
    #[arg(long, value_name = "N", env = "SHOAL_MAX_TOKENS")]
    pub(in crate::cli) max_tokens: Option<usize>,

    /// Where functions may run [default: everywhere that can be planned for: local, lambda, step-functions, machines]
    #[arg(long, value_name = "BACKEND")]
    pub(in crate::cli) backend: Option<BackendArg>,

    /// A machine at a price, worked off by the local or array backend; may be given several times
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS")]
    pub(in crate::cli) machine: Vec<Machine>,

    /// The time that the run may take, such as 90s, 5m or 2h: the cheapest way within it is chosen
    #[arg(long, value_name = "TIME", value_parser = super::time::seconds)]
    pub(in crate::cli) deadline: Option<f64>,

    /// What the run may cost: the fastest way within it is chosen
    #[arg(long, value_name = "USD")]
    pub(in crate::cli) max_cost: Option<f64>,

    /// Batch sizes to try, with commas between them
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(in crate::cli) batch_sizes: Vec<u64>,

    /// Functions at a time to try, with commas between them
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(in crate::cli) concurrency: Vec<u64>,

    /// Memory of functions to try, in MB, with commas between them [default: 512,1024,1769]
    #[arg(long, value_name = "MB,…", value_delimiter = ',')]
    pub(in crate::cli) memory: Vec<u32>,

    /// Architectures of functions to try: x86_64, arm64 [default: both]
    #[arg(long, value_name = "ARCH,…", value_delimiter = ',')]
    pub(in crate::cli) architecture: Vec<Architecture>,

    /// Environments that the account has at a time [default: 1000, assumed]
    #[arg(long, value_name = "N")]
    pub(in crate::cli) quota: Option<u64>,

    /// Region whose prices count [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(in crate::cli) region: Option<String>,

    /// Prices to use instead of those of shoal: a JSON file in the form of crates/plan/prices
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(in crate::cli) prices: Option<PathBuf>,

    /// A calibration that was saved before, perhaps on another machine; one an architecture
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) calibration: Vec<PathBuf>,

    /// Learn from a run of --backend lambda what the platform takes, instead of assuming it
    #[arg(long, value_name = "RUN")]
    pub(in crate::cli) from_run: Option<String>,

    /// Save this machine's calibration
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) save_calibration: Option<PathBuf>,

    /// Show every way that was looked at, not only those that nothing beats
    #[arg(long)]
    pub(in crate::cli) all: bool,

    /// Print the plan as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
