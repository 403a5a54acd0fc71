//! Arguments as they are typed. Every option of `run` is also a `SHOAL_*` variable and a key of `shoal.toml`.

pub(super) mod compare;
pub(super) mod doctor;
pub(super) mod export;
pub(super) mod log;
pub(super) mod plan;
pub(super) mod report;
pub(super) mod time;
pub(super) mod watch;
pub(super) mod worker;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use shoal::encoder::MICRO_BATCH_TOKENS;
use shoal::job::format::{Format, OutputFormat};
use shoal::settings::OnError;
use shoal::{BackendKind, Children, Machine, Precision, TaskKind};

const EXIT_CODES: &str = "\
Exit codes:
  0    all went well; bad records may have gone to failed.jsonl
  1    a fault of shoal itself
  2    wrong flags or settings
  3    the input is missing, damaged, or lacks a column
  4    the model is missing, damaged or not supported
  5    the system refused to read or write: disk full, permission, network
  6    the run directory holds another job, is in use, damaged, not there, or somebody else's
  7    a bad record, and --on-error fail
  8    the platform that runs functions is not set up, refuses, or throttles without end
  9    the money or the time that was allowed is used up; what is done is kept
  130  stopped by Ctrl-C or a signal; the same command goes on";

/// Label a data set with a transformer: split into batches, worked off in parallel.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,

    #[command(flatten)]
    pub(super) log: log::LogArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Label every record of the inputs, or go on where the same command was stopped
    Run(Box<RunArgs>),
    /// Tell what a job will take and cost, before it starts
    Plan(Box<plan::PlanArgs>),
    /// Compare one function for all batches with a function a batch, over batch sizes: the paper's experiment
    Compare(Box<compare::CompareArgs>),
    /// Look, before a run, at what it will need, and say how to mend what is wrong
    Doctor(doctor::DoctorArgs),
    /// List the runs of this machine, or remove some
    Runs(RunsArgs),
    /// Tell what a run took and cost, as a page or as data
    Report(report::ReportArgs),
    /// Tell how far a run is
    Status(StatusArgs),
    /// Watch a run as it goes on, in the terminal
    Watch(watch::WatchArgs),
    /// Go on with a run by its name
    Resume(ResumeArgs),
    /// Try the records of a run again that killed their function
    Retry(ResumeArgs),
    /// Write the output of a run whose batches are all done
    Collect(CollectArgs),
    /// Work off batches for runs that are dispatched elsewhere
    Worker(Box<worker::WorkerArgs>),
    /// Print the job file that has Kubernetes, Slurm or AWS Batch start workers for a planned run
    Export(export::ExportArgs),
    /// Pack a model into one file that opens at once
    Pack(PackArgs),
    /// Make what runs a job in the cloud
    #[cfg(feature = "aws")]
    Deploy(super::deploy_args::DeployArgs),
    /// Delete what `deploy` made
    #[cfg(feature = "aws")]
    Destroy(super::deploy_args::DestroyArgs),
    /// Time the engine, by length and micro-batch or on given token ids, beside what the machine can do
    Bench(BenchArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write one for each command into a folder
    Man(ManArgs),
}

const RUN_EXAMPLES: &str = "\
Examples:
  shoal run reviews.csv -o labels.csv
  shoal run 'data/*.jsonl.zst' -o out/ --format parquet --model ./my-distilbert --concurrency 4
  cat reviews.jsonl | shoal run - -o - --text-column body

Every option may also be given as a variable (--batch-size is SHOAL_BATCH_SIZE) or in shoal.toml
(batch-size = 50); flags win over variables, variables over the file.";

#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(super) struct RunArgs {
    /// Files, folders of text files, patterns, URLs (s3, gs, az, https), or - for standard input
    ///
    /// CSV, TSV, JSON Lines (also .gz and .zst) and Parquet. A folder is read in the layout of aclImdb: its .txt files
    /// are the records, and pos/ and neg/ become the column `label`.
    #[arg(required = true, value_name = "INPUT")]
    pub(super) inputs: Vec<String>,

    #[command(flatten)]
    pub(super) options: RunOptions,

    /// Read options from this file instead of ./shoal.toml
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG")]
    pub(super) config: Option<PathBuf>,
}

/// The options of `run`. All are optional here: what is missing comes from `shoal.toml`, then from the defaults.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct RunOptions {
    /// Where the labels go: a file, a folder (ends in /), or - for standard output
    #[arg(short, long, value_name = "OUTPUT", env = "SHOAL_OUTPUT")]
    pub(super) output: Option<String>,

    /// Format of the output, where its name does not tell it [default for -: jsonl]
    #[arg(long, value_name = "FORMAT", env = "SHOAL_FORMAT")]
    pub(super) format: Option<OutputFormatArg>,

    /// Format of the inputs, where their names do not tell it
    #[arg(long, value_name = "FORMAT", env = "SHOAL_INPUT_FORMAT")]
    pub(super) input_format: Option<InputFormatArg>,

    /// Model folder (DistilBERT or BERT for sequence classification), packed model or its URL, or name on the Hugging Face hub
    /// [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(super) model: Option<String>,

    /// How the model's products are computed: `int8` is about three times as fast as `f32` [default: int8, if it labels
    /// the bundled sample as f32 does]
    #[arg(long, value_name = "int8|f32", env = "SHOAL_PRECISION")]
    pub(super) precision: Option<PrecisionArg>,

    /// Instruction set that the engine uses: avx512-vnni, avx512, avx2 or portable [default: the best that this CPU has]
    #[arg(long, value_name = "ISA", env = "SHOAL_ISA")]
    pub(super) isa: Option<String>,

    /// Where packed models are kept from run to run [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR", env = "SHOAL_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Column with the text [default: the only string column, else `text`]
    #[arg(long, value_name = "COLUMN", env = "SHOAL_TEXT_COLUMN")]
    pub(super) text_column: Option<String>,

    /// Column with the id [default: `id` if there is one, else the row number, from 0]
    #[arg(long, value_name = "COLUMN", env = "SHOAL_ID_COLUMN")]
    pub(super) id_column: Option<String>,

    /// Column with the right label, to tell the accuracy
    #[arg(long, value_name = "COLUMN", env = "SHOAL_LABEL_COLUMN")]
    pub(super) label_column: Option<String>,

    /// Columns to carry along, with commas between them
    #[arg(
        long,
        value_name = "COLUMNS",
        env = "SHOAL_KEEP_COLUMNS",
        value_delimiter = ','
    )]
    pub(super) keep_columns: Option<Vec<String>>,

    /// Write each label's probability too
    #[arg(long, value_name = "BOOL", env = "SHOAL_SCORES", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) scores: Option<bool>,

    /// Least probability of a label, for multi-label models [default: 0.5]
    #[arg(long, value_name = "P", env = "SHOAL_THRESHOLD")]
    pub(super) threshold: Option<f32>,

    /// What to do with the model: classify or embed; Hugging Face's names of tasks are taken too [default: what the
    /// model was made for]
    #[arg(long, value_name = "TASK", env = "SHOAL_TASK")]
    pub(super) task: Option<TaskKind>,

    /// Put this text before each text to embed; empty for none [default: the model's default prompt]
    #[arg(long, value_name = "TEXT", env = "SHOAL_PROMPT")]
    pub(super) prompt: Option<String>,

    /// Put the model's prompt of this name before each text to embed
    #[arg(
        long,
        value_name = "NAME",
        env = "SHOAL_PROMPT_NAME",
        conflicts_with = "prompt"
    )]
    pub(super) prompt_name: Option<String>,

    /// Cut embeddings after this many dimensions
    #[arg(long, value_name = "N", env = "SHOAL_DIMENSIONS")]
    pub(super) dimensions: Option<usize>,

    /// Scale embeddings to length 1
    #[arg(long, value_name = "BOOL", env = "SHOAL_NORMALIZE", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) normalize: Option<bool>,

    /// Cut texts at this many tokens [default: the model's limit]
    #[arg(long, value_name = "N", env = "SHOAL_MAX_TOKENS")]
    pub(super) max_tokens: Option<usize>,

    /// Records in a batch [default: 50]
    #[arg(short, long, value_name = "N", env = "SHOAL_BATCH_SIZE")]
    pub(super) batch_size: Option<u64>,

    /// Have a plan choose the batch size and the functions at a time, within --max-cost and --max-time
    #[arg(long, value_name = "BOOL", env = "SHOAL_AUTO", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) auto: Option<bool>,

    /// Where functions run: local, process, http, array, lambda or step-functions [default: local]
    #[arg(long, value_name = "BACKEND", env = "SHOAL_BACKEND")]
    pub(super) backend: Option<BackendArg>,

    /// Name or ARN of the Lambda function [default: shoal]
    #[arg(long, value_name = "FUNCTION", env = "SHOAL_FUNCTION")]
    pub(super) function: Option<String>,

    /// ARN of the state machine [default: the one that was deployed beside the function]
    #[arg(long, value_name = "ARN", env = "SHOAL_STATE_MACHINE")]
    pub(super) state_machine: Option<String>,

    /// How a Distributed Map runs its children [default: by the expected time of a batch]
    #[arg(long, value_name = "standard|express", env = "SHOAL_CHILDREN")]
    pub(super) children: Option<ChildrenArg>,

    /// Batches that may fail before a Distributed Map gives up, in percent; those whose function was killed are then searched
    /// for the record that does it [default: 5, or 3 batches]
    #[arg(long, value_name = "PERCENT", env = "SHOAL_TOLERATED_FAILURES")]
    pub(super) tolerated_failures: Option<f64>,

    /// URLs of HTTP workers, with commas between them; a bearer token for them comes from SHOAL_TOKEN
    #[arg(long, value_name = "URLS", env = "SHOAL_URL", value_delimiter = ',')]
    pub(super) url: Option<Vec<String>>,

    /// Seconds that one call of a function may take [default: what the platform allows]
    #[arg(long, value_name = "SECONDS", env = "SHOAL_TIMEOUT")]
    pub(super) timeout: Option<u64>,

    /// Do not wait for step-functions or array: `shoal status` tells how far they are, `shoal resume` collects
    #[arg(long, value_name = "BOOL", env = "SHOAL_DETACH", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) detach: Option<bool>,

    /// Batches in flight [default: all cores; as many as HTTP workers say that they take; 1000 where a platform has
    /// environments of its own]
    #[arg(short, long, value_name = "N", env = "SHOAL_CONCURRENCY")]
    pub(super) concurrency: Option<usize>,

    /// Prefix of an object store for runs and copies of local inputs, such as s3://bucket/shoal; lambda and
    /// step-functions need one [default: none, runs are kept on this machine]
    #[arg(long, value_name = "URL", env = "SHOAL_STORE")]
    pub(super) store: Option<String>,

    /// Where the run is kept: a folder, or a prefix of an object store [default: a folder for this input and output in
    /// the platform's data folder, or below --store]
    #[arg(long, value_name = "DIR", env = "SHOAL_RUN_DIR")]
    pub(super) run_dir: Option<PathBuf>,

    /// What a bad record does: `skip` writes it to failed.jsonl, `fail` stops the run [default: skip]
    #[arg(long, value_name = "skip|fail", env = "SHOAL_ON_ERROR")]
    pub(super) on_error: Option<OnErrorArg>,

    /// Start over, where the same command was started before
    #[arg(long, value_name = "BOOL", env = "SHOAL_FRESH", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) fresh: Option<bool>,

    /// Time of second attempts at calls that take far too long, at most, in percent of the time of all calls; 0 makes none
    /// [default: 5]
    #[arg(long, value_name = "PERCENT", env = "SHOAL_SPECULATION_BUDGET")]
    pub(super) speculation_budget: Option<f64>,

    /// Batches that are in memory at a time, at least: a longer run is worked off in chapters, and its page is made by `shoal
    /// report` alone [default: 16384]
    #[arg(long, value_name = "N", env = "SHOAL_BATCHES_AT_ONCE")]
    pub(super) batches_at_once: Option<NonZeroUsize>,

    /// USD that the run may cost, all its starts together: the most that a call can cost is set aside before it is made, so
    /// that this is never passed
    #[arg(long, value_name = "USD", env = "SHOAL_MAX_COST")]
    pub(super) max_cost: Option<f64>,

    /// Time that this start may work, such as 90s, 5m or 2h; the same command goes on
    #[arg(long, value_name = "TIME", env = "SHOAL_MAX_TIME")]
    pub(super) max_time: Option<time::Time>,

    /// Spend more than $1 on a platform without a question
    #[arg(short, long, value_name = "BOOL", env = "SHOAL_YES", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) yes: Option<bool>,

    /// What this machine costs: a name, USD an hour, vCPUs
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS", env = "SHOAL_MACHINE")]
    pub(super) machine: Option<Machine>,

    /// Prices to use instead of those of shoal: a JSON file in the form of crates/estimate/prices
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(super) prices: Option<PathBuf>,

    /// Trace the run to this OpenTelemetry collector, which takes OTLP over HTTP, such as http://localhost:4318; env: the one
    /// of OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "URL|env", env = "SHOAL_OTLP")]
    pub(super) otlp: Option<String>,

    /// Say nothing but errors
    #[arg(short, long, value_name = "BOOL", env = "SHOAL_QUIET", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) quiet: Option<bool>,

    /// Print the summary as JSON on standard output
    #[arg(long, value_name = "BOOL", env = "SHOAL_JSON", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(super) json: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutputFormatArg {
    Csv,
    Jsonl,
    Parquet,
}

impl From<OutputFormatArg> for OutputFormat {
    fn from(format: OutputFormatArg) -> Self {
        match format {
            OutputFormatArg::Csv => Self::Csv,
            OutputFormatArg::Jsonl => Self::Jsonl,
            OutputFormatArg::Parquet => Self::Parquet,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum InputFormatArg {
    Csv,
    Tsv,
    Jsonl,
    Parquet,
}

impl From<InputFormatArg> for Format {
    fn from(format: InputFormatArg) -> Self {
        match format {
            InputFormatArg::Csv => Self::Csv,
            InputFormatArg::Tsv => Self::Tsv,
            InputFormatArg::Jsonl => Self::Jsonl,
            InputFormatArg::Parquet => Self::Parquet,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PrecisionArg {
    Int8,
    F32,
}

impl From<PrecisionArg> for Precision {
    fn from(precision: PrecisionArg) -> Self {
        match precision {
            PrecisionArg::Int8 => Self::Int8,
            PrecisionArg::F32 => Self::F32,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BackendArg {
    Local,
    Process,
    Http,
    Array,
    Lambda,
    StepFunctions,
}

impl From<BackendArg> for BackendKind {
    fn from(backend: BackendArg) -> Self {
        match backend {
            BackendArg::Local => Self::Local,
            BackendArg::Process => Self::Process,
            BackendArg::Http => Self::Http,
            BackendArg::Array => Self::Array,
            BackendArg::Lambda => Self::Lambda,
            BackendArg::StepFunctions => Self::StepFunctions,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ChildrenArg {
    Standard,
    Express,
}

impl From<ChildrenArg> for Children {
    fn from(children: ChildrenArg) -> Self {
        match children {
            ChildrenArg::Standard => Self::Standard,
            ChildrenArg::Express => Self::Express,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnErrorArg {
    Skip,
    Fail,
}

impl From<OnErrorArg> for OnError {
    fn from(on_error: OnErrorArg) -> Self {
        match on_error {
            OnErrorArg::Skip => Self::Skip,
            OnErrorArg::Fail => Self::Fail,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct RunsArgs {
    /// Remove these runs with all their parts; outputs stay
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub(super) remove: Vec<String>,

    /// Print as JSON Lines
    #[arg(long, conflicts_with = "remove")]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    /// Where the labels go, if not where they were to go at first
    #[arg(short, long, value_name = "OUTPUT")]
    pub(super) output: Option<String>,

    /// Where functions run: local, process, http, array, lambda or step-functions [default: where they ran last]
    #[arg(long, value_name = "BACKEND", env = "SHOAL_BACKEND")]
    pub(super) backend: Option<BackendArg>,

    /// URLs of HTTP workers, with commas between them [default: those of the last start]
    #[arg(long, value_name = "URLS", env = "SHOAL_URL", value_delimiter = ',')]
    pub(super) url: Vec<String>,

    /// Do not wait for step-functions or array
    #[arg(long)]
    pub(super) detach: bool,

    /// Take output, inputs, model and place from a run directory that somebody else made
    #[arg(long)]
    pub(super) trust: bool,

    /// Batches in flight [default: as at the last start]
    #[arg(short, long, value_name = "N", env = "SHOAL_CONCURRENCY")]
    pub(super) concurrency: Option<usize>,

    /// Instruction set that the engine uses [default: the best that this CPU has]
    #[arg(long, value_name = "ISA", env = "SHOAL_ISA")]
    pub(super) isa: Option<String>,

    /// Where packed models are kept from run to run [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR", env = "SHOAL_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// What a bad record does: `skip` writes it to failed.jsonl, `fail` stops the run [default: skip]
    #[arg(long, value_name = "skip|fail", env = "SHOAL_ON_ERROR")]
    pub(super) on_error: Option<OnErrorArg>,

    /// Time of second attempts at calls that take far too long, at most, in percent of the time of all calls [default: 5]
    #[arg(long, value_name = "PERCENT", env = "SHOAL_SPECULATION_BUDGET")]
    pub(super) speculation_budget: Option<f64>,

    /// USD that the run may cost, all its starts together
    #[arg(long, value_name = "USD", env = "SHOAL_MAX_COST")]
    pub(super) max_cost: Option<f64>,

    /// Time that this start may work, such as 90s, 5m or 2h
    #[arg(long, value_name = "TIME", env = "SHOAL_MAX_TIME")]
    pub(super) max_time: Option<time::Time>,

    /// Spend more than $1 on a platform without a question
    #[arg(short, long)]
    pub(super) yes: bool,

    /// What this machine costs: a name, USD an hour, vCPUs [default: as at the last start]
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS", env = "SHOAL_MACHINE")]
    pub(super) machine: Option<Machine>,

    /// Prices to use instead of those of shoal
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(super) prices: Option<PathBuf>,

    /// Trace this start of the run to this OpenTelemetry collector, as for `run`
    #[arg(long, value_name = "URL|env", env = "SHOAL_OTLP")]
    pub(super) otlp: Option<String>,

    /// Say nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// Print the summary as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CollectArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(super) run: String,

    /// Where the labels go, if not where they were to go at first
    #[arg(short, long, value_name = "OUTPUT")]
    pub(super) output: Option<String>,

    /// Take the output from a run directory that somebody else made
    #[arg(long)]
    pub(super) trust: bool,

    /// Say nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// Print the summary as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
}

const PACK_EXAMPLES: &str = "\
Examples:
  shoal pack ./my-distilbert -o my.shoal
  shoal pack bundled -o sentiment.shoal --precision f32 --isa avx2,avx512-vnni
  shoal pack ./my-distilbert -o my.shoal --check reviews.csv --label-column label";

#[derive(Debug, Args)]
#[command(after_help = PACK_EXAMPLES)]
pub(super) struct PackArgs {
    /// Model folder, name on the Hugging Face hub, or `bundled`
    #[arg(value_name = "MODEL")]
    pub(super) model: String,

    /// The packed file
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,

    /// How the model's products are to be computed
    #[arg(
        long,
        value_name = "int8|f32",
        default_value = "int8",
        env = "SHOAL_PRECISION"
    )]
    pub(super) precision: PrecisionArg,

    /// Instruction sets to pack for, whether or not this CPU has them, with commas between them: avx512-vnni, avx512, avx2,
    /// portable [default: the best that this CPU has]
    #[arg(long, value_name = "ISAS", value_delimiter = ',', env = "SHOAL_ISA")]
    pub(super) isa: Vec<String>,

    /// Compare the packed model with f32 on these inputs: agreement, accuracy, largest difference of a logit
    #[arg(long, value_name = "DATA", num_args = 1..)]
    pub(super) check: Vec<String>,

    /// Column with the text of the data [default: the only string column, else `text`]
    #[arg(long, value_name = "COLUMN", requires = "check")]
    pub(super) text_column: Option<String>,

    /// Column with the right label, to compare accuracies
    #[arg(long, value_name = "COLUMN", requires = "check")]
    pub(super) label_column: Option<String>,

    /// Format of the data, where its name does not tell it
    #[arg(long, value_name = "FORMAT", requires = "check")]
    pub(super) input_format: Option<InputFormatArg>,

    /// Print what came of it as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  shoal bench
  shoal bench --model ./my-distilbert --precision f32 --lengths 32,256 --micro-batches 0,512 --json
  shoal bench --sequences ids.json --threads 2 --json
  shoal bench --sequences ids.json --limit 4 --logits";

#[derive(Debug, Args)]
#[command(after_help = BENCH_EXAMPLES)]
pub(super) struct BenchArgs {
    /// Model folder, packed model or its URL, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(super) model: Option<String>,

    /// How the model's products are computed [default: as `run` chooses]
    #[arg(long, value_name = "int8|f32", env = "SHOAL_PRECISION")]
    pub(super) precision: Option<PrecisionArg>,

    /// Instruction set that the engine uses: avx512-vnni, avx512, avx2 or portable [default: the best that this CPU has]
    #[arg(long, value_name = "ISA", env = "SHOAL_ISA")]
    pub(super) isa: Option<String>,

    /// Where packed models are kept from run to run [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR", env = "SHOAL_CACHE_DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Workers at a time, each on a thread of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(super) threads: u64,

    /// Lengths of the made-up records in tokens, with commas between them [default: 16,64,128,256,512, as far as the
    /// model reads]
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        conflicts_with = "sequences"
    )]
    pub(super) lengths: Option<Vec<usize>>,

    /// Tokens in a micro-batch, with commas between them; 0: one record at a time. Those that give the same
    /// micro-batches of a length are timed once
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "0,256,512,1024",
        conflicts_with = "sequences"
    )]
    pub(super) micro_batches: Vec<usize>,

    /// How long each length is timed with each micro-batch
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = seconds, conflicts_with = "sequences")]
    pub(super) seconds: f64,

    /// Time these token ids instead: a JSON array of arrays of integers
    #[arg(long, value_name = "FILE")]
    pub(super) sequences: Option<PathBuf>,

    /// Time so many of the sequences, spread evenly over the file; with --logits, take the first so many
    #[arg(long, value_name = "N", requires = "sequences", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,

    /// Tokens in a micro-batch of the sequences; 0: one sequence at a time
    #[arg(long, value_name = "TOKENS", default_value_t = MICRO_BATCH_TOKENS, requires = "sequences")]
    pub(super) micro_batch_tokens: usize,

    /// Print the logits of each sequence as a JSON array a line, in order, and time nothing
    #[arg(long, requires = "sequences", conflicts_with = "json")]
    pub(super) logits: bool,

    /// Print what was measured as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A time that can be waited for.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("it is no number between 0.001 and 3600".into()),
    }
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for one page a command
    #[arg(value_name = "FOLDER")]
    pub(super) folder: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_of_run_is_a_variable_a_key_and_explained() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let mut keys = 0;
        for argument in run.get_arguments().filter(|a| a.get_long().is_some()) {
            let name = argument.get_long().unwrap();
            if matches!(name, "help" | "config") {
                continue;
            }
            let variable = format!("SHOAL_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(
                argument.get_env().unwrap().to_str(),
                Some(variable.as_str()),
                "{name}"
            );
            assert!(argument.get_help().is_some(), "{name}");
            keys += 1;
        }
        let all = "output='o'\nformat='csv'\ninput-format='tsv'\nmodel='m'\nprecision='f32'\nisa='avx2'\ncache-dir='c'\ntext-column='t'\nid-column='i'\n\
                   label-column='l'\nkeep-columns=['a','b']\nscores=true\nthreshold=0.5\nmax-tokens=9\nbatch-size=1\n\
                   concurrency=1\nbackend='step-functions'\nfunction='f'\nstate-machine='s'\n\
                   children='express'\ntolerated-failures=1.5\nurl=['u']\ntimeout=9\ndetach=true\nstore='s3://b/p'\n\
                   run-dir='d'\non-error='fail'\nfresh=true\notlp='o'\nquiet=true\njson=true\n\
                   auto=true\nmax-cost=1.5\nmax-time='5m'\nyes=true\nmachine='m=0.1:2'\nprices='p.json'\nspeculation-budget=2.5\nbatches-at-once=9\n";
        toml::from_str::<RunOptions>(all).unwrap();
        assert_eq!(all.lines().count(), keys);
        assert!(toml::from_str::<RunOptions>("batchsize=1").is_err());
    }
}
