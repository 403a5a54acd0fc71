//! Arguments of `plan`.

use std::path::PathBuf;

use clap::Args;

use super::{BackendArg, InputFormatArg, PrecisionArg};
use shoal::Machine;
use shoal::planning::Architecture;

const EXAMPLES: &str = "\
Examples:
  shoal plan reviews.csv                                        # everywhere that can be planned for
  shoal plan reviews.csv --backend lambda --deadline 5m
  shoal plan reviews.csv --max-cost 2.00 --machine spot=0.085:4 --machine desk=0:8
  shoal plan reviews.csv --save-calibration here.json           # and later: --calibration here.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// Files, folders of text files, patterns, URLs, or - for standard input, as for `run`
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// Model folder, packed model or its URL, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(crate) model: Option<String>,

    /// How the model's products are computed
    #[arg(long, value_name = "int8|f32", env = "SHOAL_PRECISION")]
    pub(crate) precision: Option<PrecisionArg>,

    /// Instruction set that the engine uses
    #[arg(long, value_name = "ISA", env = "SHOAL_ISA")]
    pub(crate) isa: Option<String>,

    /// Where packed models are kept
    #[arg(long, value_name = "DIR", env = "SHOAL_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Format of the inputs, where their names do not tell it
    #[arg(long, value_name = "FORMAT", env = "SHOAL_INPUT_FORMAT")]
    pub(crate) input_format: Option<InputFormatArg>,

    /// Column with the text
    #[arg(long, value_name = "COLUMN", env = "SHOAL_TEXT_COLUMN")]
    pub(crate) text_column: Option<String>,

    /// Cut texts at this many tokens [default: the model's limit]
    #[arg(long, value_name = "N", env = "SHOAL_MAX_TOKENS")]
    pub(crate) max_tokens: Option<usize>,

    /// Where functions may run [default: everywhere that can be planned for: local, lambda, step-functions, machines]
    #[arg(long, value_name = "BACKEND")]
    pub(crate) backend: Option<BackendArg>,

    /// A machine at a price, worked off by the local or array backend; may be given several times
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS")]
    pub(crate) machine: Vec<Machine>,

    /// The time that the run may take, such as 90s, 5m or 2h: the cheapest way within it is chosen
    #[arg(long, value_name = "TIME", value_parser = super::time::seconds)]
    pub(crate) deadline: Option<f64>,

    /// What the run may cost: the fastest way within it is chosen
    #[arg(long, value_name = "USD")]
    pub(crate) max_cost: Option<f64>,

    /// Batch sizes to try, with commas between them
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) batch_sizes: Vec<u64>,

    /// Functions at a time to try, with commas between them
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) concurrency: Vec<u64>,

    /// Memory of functions to try, in MB, with commas between them [default: 512,1024,1769]
    #[arg(long, value_name = "MB,…", value_delimiter = ',')]
    pub(crate) memory: Vec<u32>,

    /// Architectures of functions to try: x86_64, arm64 [default: both]
    #[arg(long, value_name = "ARCH,…", value_delimiter = ',')]
    pub(crate) architecture: Vec<Architecture>,

    /// Environments that the account has at a time [default: 1000, assumed]
    #[arg(long, value_name = "N")]
    pub(crate) quota: Option<u64>,

    /// Region whose prices count [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// Prices to use instead of those of shoal: a JSON file in the form of crates/estimate/prices
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(crate) prices: Option<PathBuf>,

    /// A calibration that was saved before, perhaps on another machine; one an architecture
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Vec<PathBuf>,

    /// Learn from a run of --backend lambda what the platform takes, instead of assuming it
    #[arg(long, value_name = "RUN")]
    pub(crate) from_run: Option<String>,

    /// Save this machine's calibration
    #[arg(long, value_name = "FILE")]
    pub(crate) save_calibration: Option<PathBuf>,

    /// Show every way that was looked at, not only those that nothing beats
    #[arg(long)]
    pub(crate) all: bool,

    /// Print the plan as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
