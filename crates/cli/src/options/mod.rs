//! Groups of options. Each option is declared here once: its field gives the flag, the variable `SHOAL_*`, the key of
//! `shoal.toml` and the words in the command that repeats a run. Commands share options by sharing groups.

mod convert;
mod file;
mod repeat;
pub(crate) mod time;

use std::any::TypeId;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args};
use serde::Serialize;

use shoal::job::dialect::{Encoding, Symbol};
use shoal::job::format::{Format, OutputFormat};
use shoal::{BackendKind, Children, Machine, OnError, Precision, Target, TaskKind};

pub(crate) use file::{FileOptions, read};
pub(crate) use repeat::arguments;

/// The headings of the help.
pub(crate) mod heading {
    pub(crate) const INPUT: &str = "Input";
    pub(crate) const OUTPUT: &str = "Output";
    pub(crate) const MODEL: &str = "Model";
    pub(crate) const BACKEND: &str = "Where it runs";
    pub(crate) const LIMITS: &str = "Limits";
    pub(crate) const RUN_DIR: &str = "Run directory";
    pub(crate) const LOGGING: &str = "Logging";
}

/// How the input is read.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::INPUT)]
pub(crate) struct InputOptions {
    /// Column with the text
    ///
    /// May be the path of a nested one, such as `messages.0.content` [default: the only string column, else `text`]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text_column: Option<String>,

    /// Column with the id
    ///
    /// [default: `id` if there is one, else the row number, from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,

    /// Column with the correct label, for the accuracy
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label_column: Option<String>,

    /// Columns to copy, separated by commas
    ///
    /// They are copied to the output; a name with a comma is quoted as in CSV
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) keep_columns: Vec<String>,

    /// Format of files without a known ending
    #[arg(long, value_name = "FORMAT", value_parser = named(&Format::FILES, Format::name))]
    pub(crate) input_format: Option<Format>,

    /// Delimiter of CSV and TSV: a character or one of comma, semicolon, tab, pipe; `none` if each line is one value
    /// [default: comma for CSV, tab for TSV, unless the first rows show another]
    #[arg(long, value_name = "CHAR", hide_short_help = true)]
    pub(crate) delimiter: Option<Symbol>,

    /// Quote around values with delimiters or line breaks; `none` for ordinary quotes [default: " for CSV, none for TSV]
    #[arg(long, value_name = "CHAR", hide_short_help = true)]
    pub(crate) quote: Option<Symbol>,

    /// Character that makes the next one ordinary in CSV and TSV, such as \ [default: none]
    #[arg(long, value_name = "CHAR", hide_short_help = true)]
    pub(crate) escape: Option<Symbol>,

    /// The first row of CSV and TSV does not name the columns: they are called column_1, column_2, …
    #[arg(long, hide_short_help = true)]
    pub(crate) no_header: Option<bool>,

    /// Encoding of text without a byte-order mark, such as windows-1252, utf-16le or shift_jis [default: utf-8]
    #[arg(long, value_name = "ENCODING", hide_short_help = true)]
    pub(crate) encoding: Option<Encoding>,
}

/// Which model is used.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct ModelOptions {
    /// Folder, packed model, its URL, or hub name
    ///
    /// A folder in the layout of Hugging Face, a file that `shoal pack` wrote, its URL, or a name on the Hugging Face hub
    /// [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Arithmetic: int8 or f32
    ///
    /// `int8` is about three times as fast as `f32` [default: `int8` if its results agree with those of `f32` on a sample
    /// of the records]
    #[arg(long, value_name = "PRECISION", value_parser = named(&Precision::ALL, Precision::name))]
    pub(crate) precision: Option<Precision>,
}

/// How the engine runs a model on this machine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct EngineOptions {
    /// Instruction set [default: the best that this CPU supports]
    #[arg(long, value_name = "ISA", value_parser = named(&Target::ALL, Target::name), hide_short_help = true)]
    pub(crate) isa: Option<Target>,

    /// Where packed models are kept between runs [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// What the model computes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct TaskOptions {
    /// What the model computes: classify or embed
    ///
    /// A Hugging Face name of a task is accepted too [default: the task that the model was made for]
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskKind>,

    /// Truncate texts to this many tokens [default: the model's limit]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) max_tokens: Option<usize>,

    /// classify: also write the probability of each label
    #[arg(long, hide_short_help = true)]
    pub(crate) scores: Option<bool>,

    /// classify: lowest probability of a label that is written, for multi-label models [default: 0.5]
    #[arg(long, value_name = "P", hide_short_help = true)]
    pub(crate) threshold: Option<f64>,

    /// embed: put this text before each text; empty for none [default: the model's default prompt]
    #[arg(long, value_name = "TEXT", hide_short_help = true)]
    pub(crate) prompt: Option<String>,

    /// embed: put the model's prompt of this name before each text
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "prompt",
        hide_short_help = true
    )]
    pub(crate) prompt_name: Option<String>,

    /// embed: cut embeddings after this many dimensions
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) dimensions: Option<usize>,

    /// embed: scale embeddings to length 1
    #[arg(long, hide_short_help = true)]
    pub(crate) normalize: Option<bool>,
}

/// What is computed: the input, the model and its task.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JobOptions {
    #[command(flatten)]
    pub(crate) input: InputOptions,
    #[command(flatten)]
    pub(crate) model: ModelOptions,
    #[command(flatten)]
    pub(crate) task: TaskOptions,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

/// Where results are written, and in which format.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::OUTPUT)]
pub(crate) struct OutputOptions {
    /// File, folder (ends in /), or - for standard output
    ///
    /// The ending decides the format: .csv, .jsonl, .parquet or .arrow
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Option<String>,

    /// Format if the name has no known ending
    ///
    /// [default: jsonl for -, else by the ending of the name]
    #[arg(long, value_name = "FORMAT", value_parser = named(&OutputFormat::ALL, OutputFormat::extension))]
    pub(crate) format: Option<OutputFormat>,
}

/// How the input is divided into batches.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct BatchOptions {
    /// Records in a batch [default: 50]
    #[arg(short, long, value_name = "N")]
    pub(crate) batch_size: Option<u64>,

    /// Let a plan choose backend, batch size and concurrency
    ///
    /// The choice is within --max-cost and --max-time. A terminal is asked before the start
    #[arg(long)]
    pub(crate) auto: Option<bool>,

    /// Batches that are kept in memory at a time, at least. A longer run is processed in windows, and only `shoal report`
    /// writes its page [default: 16384]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) batches_at_once: Option<NonZeroUsize>,
}

/// The backend. Each option but the first belongs to the settings of some backends; the others refuse it.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct BackendOptions {
    /// Where functions run [default: local]
    ///
    /// local runs them in threads, process in processes of this machine, http on workers at --url, array on workers that
    /// Kubernetes, Slurm or AWS Batch start, lambda and step-functions on AWS [default: local; for a run that is resumed,
    /// where it ran last]
    #[arg(long, value_name = "BACKEND", value_parser = named(BackendKind::ALL, BackendKind::name))]
    #[serde(skip)]
    pub(crate) backend: Option<BackendKind>,

    /// Batches in flight [default: all cores]
    ///
    /// [default: all cores; for HTTP workers, as many as they accept; for lambda and step-functions, 1000]
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<usize>,

    /// URLs of HTTP workers, separated by commas; SHOAL_TOKEN holds their bearer token
    #[arg(
        long,
        value_name = "URLS",
        value_delimiter = ',',
        hide_short_help = true
    )]
    pub(crate) url: Option<Vec<String>>,

    /// Name or ARN of the Lambda function [default: shoal]
    #[arg(long, value_name = "FUNCTION", hide_short_help = true)]
    pub(crate) function: Option<String>,

    /// ARN of the state machine [default: the one that was deployed with the function]
    #[arg(long, value_name = "ARN", hide_short_help = true)]
    pub(crate) state_machine: Option<String>,

    /// How a Distributed Map runs its children [default: by the expected time of a batch]
    #[arg(long, value_name = "KIND", value_parser = named(&Children::ALL, Children::name), hide_short_help = true)]
    pub(crate) children: Option<Children>,

    /// Share of batches that may fail before a Distributed Map gives up; batches that crashed their function are then
    /// searched for the record that causes it [default: 5, or 3 batches]
    #[arg(long, value_name = "PERCENT", value_parser = percent, hide_short_help = true)]
    pub(crate) tolerated_failures: Option<f64>,

    /// Time limit of one call [default: the platform's limit]
    #[arg(long, value_name = "SECONDS", hide_short_help = true)]
    pub(crate) timeout: Option<u64>,

    /// Do not wait for step-functions or array; `shoal status` shows the progress, `shoal resume` collects
    #[arg(long, hide_short_help = true)]
    pub(crate) detach: Option<bool>,

    /// What this machine costs: a name, USD per hour, vCPUs
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS", hide_short_help = true)]
    pub(crate) machine: Option<Machine>,
}

/// What a run may cost, and what it does with failures.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::LIMITS)]
pub(crate) struct LimitOptions {
    /// Cost limit in USD, never exceeded
    ///
    /// For all starts of the run together. The highest cost of a call is reserved before it is made, so the limit is never
    /// exceeded
    #[arg(long, value_name = "USD")]
    pub(crate) max_cost: Option<f64>,

    /// Time limit, such as 90s, 5m or 2h
    ///
    /// For this start; the same command continues the run
    #[arg(long, value_name = "TIME", value_parser = time::seconds)]
    pub(crate) max_time: Option<f64>,

    /// What a bad record does [default: skip]
    ///
    /// `skip` writes it to failed.jsonl, `keep` also to the output with the reason in a column `error`, `fail` stops the
    /// run [default: skip, but the run stops if none of its first 1000 records has a result]
    #[arg(long, value_name = "ACTION", value_parser = named(&OnError::ALL, OnError::name))]
    pub(crate) on_error: Option<OnError>,

    /// Without asking, take the choice of --auto and spend more than $1 on a platform
    #[arg(short, long, hide_short_help = true)]
    pub(crate) yes: Option<bool>,

    /// Time of second attempts at slow calls, in percent of the time of all calls; 0 disables them [default: 5]
    #[arg(long, value_name = "PERCENT", hide_short_help = true)]
    pub(crate) speculation_budget: Option<f64>,
}

/// What resources cost.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::LIMITS)]
pub(crate) struct PriceOptions {
    /// JSON file with prices to use instead of the built-in ones, in the form of crates/estimate/prices
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) prices: Option<PathBuf>,
}

/// Where a run is kept.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::RUN_DIR)]
pub(crate) struct RunDirOptions {
    /// Where the run is kept: a folder or a URL
    ///
    /// A URL is a prefix of an object store [default: a folder for this input and output in the platform's data folder, or
    /// below --store]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,

    /// Start over instead of resuming an earlier run
    ///
    /// Without it, the same command resumes the run that it started before
    #[arg(long)]
    pub(crate) fresh: Option<bool>,
}

/// The object store of runs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::RUN_DIR)]
pub(crate) struct StoreOptions {
    /// Object store, such as s3://bucket/shoal
    ///
    /// Prefix for runs and copies of local inputs; lambda and step-functions need one [default: runs are kept on this
    /// machine]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
}

/// What a run prints and sends.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::LOGGING)]
pub(crate) struct LoggingOptions {
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: Option<bool>,

    /// Print the summary as JSON on standard output
    #[arg(long)]
    pub(crate) json: Option<bool>,

    /// Send a trace of the run to this OpenTelemetry collector, by OTLP over HTTP, such as http://localhost:4318; `env` for
    /// the one of OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(long, value_name = "URL", hide_short_help = true)]
    pub(crate) otlp: Option<String>,
}

/// All options of `run`. The order is that of the headings in the help.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    pub(crate) job: JobOptions,
    #[command(flatten)]
    pub(crate) backend: BackendOptions,
    #[command(flatten)]
    pub(crate) batches: BatchOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) prices: PriceOptions,
    #[command(flatten)]
    pub(crate) run_dir: RunDirOptions,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) logging: LoggingOptions,
}

/// Whether an option is true or false.
pub(crate) fn is_bool(option: &Arg) -> bool {
    option.get_value_parser().type_id() == TypeId::of::<bool>()
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok();
    let percent = number.filter(|number| (0.0..=100.0).contains(number));
    percent.ok_or("it is not a number from 0 to 100".into())
}

/// Parses one of `all` values by its name.
pub(crate) fn named<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(all.iter().map(move |value| name(*value))).map(move |text| {
        let mut all = all.iter().copied();
        all.find(|value| name(*value) == text)
            .expect("clap checked the name")
    })
}
