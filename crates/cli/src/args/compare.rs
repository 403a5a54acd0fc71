//! Arguments of `compare`.

use std::path::PathBuf;

use clap::Args;

use super::report::ReportFormat;
use super::{BackendArg, InputFormatArg, PrecisionArg};
use shoal::Machine;
use shoal::planning::Architecture;

const EXAMPLES: &str = "\
Examples:
  shoal compare reviews.csv                             # on this machine, every run made
  shoal compare reviews.csv --simulate                  # on Lambda, played from a calibration of this machine
  shoal compare reviews.csv --batch-sizes 50,250,1000 --format html -o comparison.html
  shoal compare s3://bucket/reviews.csv --backend lambda --store s3://bucket/shoal --yes";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Files, folders of text files, patterns or URLs, as for `run`
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    /// Batch sizes, with commas between them [default: the paper's, 50,100,125,200,250,333,500,625,1000]
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub(crate) batch_sizes: Vec<u64>,

    /// Play the runs on Lambda from a calibration of this machine, and make none
    #[arg(long)]
    pub(crate) simulate: bool,

    /// Where functions run: local, process, http, lambda or step-functions [default: local]
    #[arg(long, value_name = "BACKEND")]
    pub(crate) backend: Option<BackendArg>,

    /// Functions at a time of the parallel way [default: as for `run`; 1000 where runs are played]
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<usize>,

    /// Memory in MB by which functions are billed where no platform tells [default: 1769]
    #[arg(long, value_name = "MB")]
    pub(crate) memory: Option<u32>,

    /// Architecture of the functions that are played [default: x86_64]
    #[arg(long, value_name = "ARCH", requires = "simulate")]
    pub(crate) architecture: Option<Architecture>,

    /// Region whose prices count where no platform tells [default: us-east-1]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

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

    /// Prefix of an object store, for lambda and step-functions
    #[arg(long, value_name = "URL", env = "SHOAL_STORE")]
    pub(crate) store: Option<String>,

    /// Name or ARN of the Lambda function
    #[arg(long, value_name = "FUNCTION", env = "SHOAL_FUNCTION")]
    pub(crate) function: Option<String>,

    /// URLs of HTTP workers, with commas between them
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    pub(crate) url: Vec<String>,

    /// What this machine costs, instead of Lambda's prices: a name, USD an hour, vCPUs
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS")]
    pub(crate) machine: Option<Machine>,

    /// Spend more than $1 a run on a platform without a question
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Prices to use instead of those of shoal
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(crate) prices: Option<PathBuf>,

    /// A calibration that was saved before (shoal plan --save-calibration)
    #[arg(long, value_name = "FILE", requires = "simulate")]
    pub(crate) calibration: Vec<PathBuf>,

    /// What tools/paper_baseline.py measured of the paper's own way: padded batches through PyTorch
    #[arg(long, value_name = "FILE")]
    pub(crate) paper_baseline: Option<PathBuf>,

    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "markdown")]
    pub(crate) format: ReportFormat,

    /// Where to: a file, or - for standard output
    #[arg(short, long, value_name = "OUTPUT", default_value = "-")]
    pub(crate) output: PathBuf,

    /// Say nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}
