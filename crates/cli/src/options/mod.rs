//! Groups of options. Each option is declared here once: its field gives the flag, the variable `SHOAL_*`, the key of
//! `shoal.toml` and the words in the command that repeats a run. Commands share options by sharing groups.

mod file;
mod repeat;
pub(crate) mod time;

use std::any::TypeId;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Args};
use serde::Serialize;
use serde_json::Value;

use shoal::dispatch::Speculation;
use shoal::job::dialect::{DialectOptions, Encoding, Symbol};
use shoal::job::format::{Format, OutputFormat};
use shoal::job::spec::{DEFAULT_BATCH_SIZE, Parameters};
use shoal::tasks::{classify, embed};
use shoal::{
    BackendConfig, BackendKind, Children, EngineSettings, Error, Limits, Machine, ModelSettings,
    OnError, Precision, Result, Settings, Target, TaskKind,
};

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
    /// Format of input files without a known extension
    #[arg(long, value_name = "FORMAT", value_parser = named(&Format::FILES, Format::name))]
    pub(crate) input_format: Option<Format>,

    /// Delimiter of CSV and TSV: a character or one of comma, semicolon, tab, pipe; `none` if each line is one value
    /// [default: comma for CSV, tab for TSV, unless the first rows show another]
    #[arg(long, value_name = "CHAR")]
    pub(crate) delimiter: Option<Symbol>,

    /// Quote around values with delimiters or line breaks; `none` for ordinary quotes [default: " for CSV, none for TSV]
    #[arg(long, value_name = "CHAR")]
    pub(crate) quote: Option<Symbol>,

    /// Character that makes the next one ordinary in CSV and TSV, such as \ [default: none]
    #[arg(long, value_name = "CHAR")]
    pub(crate) escape: Option<Symbol>,

    /// The first row of CSV and TSV does not name the columns: they are called column_1, column_2, …
    #[arg(long)]
    pub(crate) no_header: Option<bool>,

    /// Encoding of text without a byte-order mark, such as windows-1252, utf-16le or shift_jis [default: utf-8]
    #[arg(long, value_name = "ENCODING")]
    pub(crate) encoding: Option<Encoding>,

    /// Column with the text, or the path of a nested one, such as `messages.0.content` [default: the only string column,
    /// else `text`]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text_column: Option<String>,

    /// Column with the id [default: `id` if there is one, else the row number, from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,

    /// Column with the correct label, to compute the accuracy
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label_column: Option<String>,

    /// Columns to copy to the output, separated by commas; a name with a comma is quoted as in CSV
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) keep_columns: Vec<String>,
}

/// Which model is used.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct ModelOptions {
    /// Model folder, packed model or its URL, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Arithmetic of the model; `int8` is about three times as fast as `f32` [default: `int8` if its results agree with
    /// those of `f32` on a sample of the records]
    #[arg(long, value_name = "PRECISION", value_parser = named(&Precision::ALL, Precision::name))]
    pub(crate) precision: Option<Precision>,
}

/// How the engine runs a model on this machine.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct EngineOptions {
    /// Instruction set: avx512-vnni, avx512, avx2 or portable [default: the best that this CPU supports]
    #[arg(long, value_name = "ISA", value_parser = named(&Target::ALL, Target::name))]
    pub(crate) isa: Option<Target>,

    /// Where packed models are kept between runs [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// What the model computes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct TaskOptions {
    /// Task: classify or embed, or a Hugging Face name of one [default: the task that the model was made for]
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskKind>,

    /// Truncate texts to this many tokens [default: the model's limit]
    #[arg(long, value_name = "N")]
    pub(crate) max_tokens: Option<usize>,

    /// classify: also write the probability of each label
    #[arg(long)]
    pub(crate) scores: Option<bool>,

    /// classify: lowest probability of a label that is written, for multi-label models [default: 0.5]
    #[arg(long, value_name = "P")]
    pub(crate) threshold: Option<f64>,

    /// embed: put this text before each text; empty for none [default: the model's default prompt]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,

    /// embed: put the model's prompt of this name before each text
    #[arg(long, value_name = "NAME", conflicts_with = "prompt")]
    pub(crate) prompt_name: Option<String>,

    /// embed: cut embeddings after this many dimensions
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,

    /// embed: scale embeddings to length 1
    #[arg(long)]
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

/// Where a run is written, and how its input is divided into batches.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct StartOptions {
    /// Where results are written: a file, a folder (ends in /), or - for standard output
    #[arg(short, long, value_name = "OUTPUT", help_heading = heading::OUTPUT)]
    pub(crate) output: Option<String>,

    /// Format of the output if its name has no known extension [default for -: jsonl]
    #[arg(long, value_name = "FORMAT", value_parser = named(&OutputFormat::ALL, OutputFormat::extension), help_heading = heading::OUTPUT)]
    pub(crate) format: Option<OutputFormat>,

    /// Records in a batch [default: 50]
    #[arg(short, long, value_name = "N")]
    pub(crate) batch_size: Option<u64>,

    /// Let a plan choose backend, batch size and concurrency, within --max-cost and --max-time; asks before it starts
    #[arg(long)]
    pub(crate) auto: Option<bool>,

    /// Batches that are kept in memory at a time, at least. A longer run is processed in windows, and only `shoal report`
    /// writes its page [default: 16384]
    #[arg(long, value_name = "N")]
    pub(crate) batches_at_once: Option<NonZeroUsize>,

    /// Where the run is kept: a folder, or a prefix of an object store [default: a folder for this input and output in the
    /// platform's data folder, or below --store]
    #[arg(long, value_name = "DIR", help_heading = heading::RUN_DIR)]
    pub(crate) run_dir: Option<PathBuf>,

    /// Start over instead of resuming an earlier run of the same command
    #[arg(long, help_heading = heading::RUN_DIR)]
    pub(crate) fresh: Option<bool>,
}

/// The backend. Each option but the first belongs to the settings of some backends; the others refuse it.
#[derive(Debug, Clone, Default, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct BackendOptions {
    /// Where functions run [default: local; for a run that is resumed, where it ran last]
    #[arg(long, value_name = "BACKEND", value_parser = named(BackendKind::ALL, BackendKind::name))]
    #[serde(skip)]
    pub(crate) backend: Option<BackendKind>,

    /// Batches in flight [default: all cores; for HTTP workers, as many as they accept; for lambda and step-functions, 1000]
    #[arg(short, long, value_name = "N")]
    pub(crate) concurrency: Option<usize>,

    /// URLs of HTTP workers, separated by commas; SHOAL_TOKEN holds their bearer token
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    pub(crate) url: Option<Vec<String>>,

    /// Name or ARN of the Lambda function [default: shoal]
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) function: Option<String>,

    /// ARN of the state machine [default: the one that was deployed with the function]
    #[arg(long, value_name = "ARN")]
    pub(crate) state_machine: Option<String>,

    /// How a Distributed Map runs its children [default: by the expected time of a batch]
    #[arg(long, value_name = "KIND", value_parser = named(&Children::ALL, Children::name))]
    pub(crate) children: Option<Children>,

    /// Share of batches that may fail before a Distributed Map gives up; batches that crashed their function are then
    /// searched for the record that causes it [default: 5, or 3 batches]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) tolerated_failures: Option<f64>,

    /// Time limit of one call [default: the platform's limit]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,

    /// Do not wait for step-functions or array; `shoal status` shows the progress, `shoal resume` collects
    #[arg(long)]
    pub(crate) detach: Option<bool>,

    /// What this machine costs: a name, USD per hour, vCPUs
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS")]
    pub(crate) machine: Option<Machine>,
}

/// What a run may cost, and what it does with failures.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::LIMITS)]
pub(crate) struct LimitOptions {
    /// Cost limit for all starts of the run together. The highest cost of a call is reserved before it is made, so the limit
    /// is never exceeded
    #[arg(long, value_name = "USD")]
    pub(crate) max_cost: Option<f64>,

    /// Time limit of this start, such as 90s, 5m or 2h; the same command continues the run
    #[arg(long, value_name = "TIME", value_parser = time::seconds)]
    pub(crate) max_time: Option<f64>,

    /// Without asking, take the choice of --auto and spend more than $1 on a platform
    #[arg(short, long)]
    pub(crate) yes: Option<bool>,

    /// Time of second attempts at slow calls, in percent of the time of all calls; 0 disables them [default: 5]
    #[arg(long, value_name = "PERCENT")]
    pub(crate) speculation_budget: Option<f64>,

    /// What a bad record does: `skip` writes it to failed.jsonl, `keep` also to the output with the reason in a column
    /// `error`, `fail` stops the run [default: skip, but the run stops if none of its first 1000 records has a result]
    #[arg(long, value_name = "ACTION", value_parser = named(&OnError::ALL, OnError::name))]
    pub(crate) on_error: Option<OnError>,
}

/// What resources cost.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::LIMITS)]
pub(crate) struct PriceOptions {
    /// JSON file with prices to use instead of the built-in ones, in the form of crates/estimate/prices
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,
}

/// The object store of runs.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = heading::RUN_DIR)]
pub(crate) struct StoreOptions {
    /// Prefix of an object store for runs and copies of local inputs, such as s3://bucket/shoal; lambda and step-functions
    /// need one [default: runs are kept on this machine]
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
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
}

/// All options of `run`.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) job: JobOptions,
    #[command(flatten)]
    pub(crate) start: StartOptions,
    #[command(flatten)]
    pub(crate) backend: BackendOptions,
    #[command(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    pub(crate) prices: PriceOptions,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    pub(crate) logging: LoggingOptions,
}

impl RunOptions {
    /// The settings of a run of `inputs`.
    pub(crate) fn settings(&self, inputs: Vec<String>) -> Result<Settings> {
        let batch_size = self.start.batch_size.unwrap_or(DEFAULT_BATCH_SIZE);
        Ok(Settings {
            inputs,
            output: self.start.output.clone().unwrap_or_default(),
            format: self.start.format,
            model: self.job.model_settings(),
            parameters: Parameters {
                batch_size,
                ..self.job.input.parameters()
            },
            backend: self.backend.config(BackendConfig::default())?,
            store: self.store.store.clone(),
            run_dir: self.start.run_dir.clone(),
            on_error: self.limits.on_error,
            fresh: self.start.fresh.unwrap_or(false),
            batches_at_once: self.start.batches_at_once,
            limits: self.limits.limits(&self.prices),
            command: None,
        })
    }
}

impl InputOptions {
    /// Format and columns.
    pub(crate) fn parameters(&self) -> Parameters {
        let roles = [("text", &self.text_column), ("label", &self.label_column)];
        let named = roles
            .into_iter()
            .filter_map(|(role, column)| Some((role.to_owned(), column.clone()?)));
        Parameters {
            input_format: self.input_format,
            dialect: DialectOptions {
                delimiter: self.delimiter,
                quote: self.quote,
                escape: self.escape,
                header_row: self.no_header != Some(true),
            },
            encoding: self.encoding,
            columns: named.collect(),
            id_column: self.id_column.clone(),
            keep_columns: self
                .keep_columns
                .iter()
                .flat_map(|list| items(list))
                .collect(),
            ..Parameters::default()
        }
    }
}

/// The items of a list, as the fields of a line of CSV.
fn items(list: &str) -> Vec<String> {
    let mut line = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(list.as_bytes());
    let items = line.deserialize().next();
    items.and_then(|line| line.ok()).unwrap_or_default()
}

impl JobOptions {
    /// The model, its task and its engine.
    pub(crate) fn model_settings(&self) -> ModelSettings {
        ModelSettings {
            reference: self.model.model.clone(),
            task: self.task.task(),
            max_tokens: self.task.max_tokens,
            engine: self.engine.settings(self.model.precision),
        }
    }
}

impl EngineOptions {
    /// The engine. Worker processes run this program.
    pub(crate) fn settings(&self, precision: Option<Precision>) -> EngineSettings {
        EngineSettings {
            precision,
            isa: self.isa,
            cache_dir: self.cache_dir.clone(),
            worker_program: std::env::current_exe().ok(),
        }
    }
}

impl TaskOptions {
    pub(crate) fn task(&self) -> shoal::TaskOptions {
        shoal::TaskOptions {
            kind: self.task,
            classify: classify::Options {
                scores: self.scores.unwrap_or(false),
                threshold: self.threshold.map(|threshold| threshold as f32),
            },
            embed: embed::Options {
                prompt: self.prompt.clone(),
                prompt_name: self.prompt_name.clone(),
                dimensions: self.dimensions,
                normalize: self.normalize.unwrap_or(false),
            },
        }
    }
}

impl BackendOptions {
    /// `last` with these options over it; they may choose another backend. An option that the backend does not have is an
    /// error.
    pub(crate) fn config(&self, last: BackendConfig) -> Result<BackendConfig> {
        let kind = self.backend.unwrap_or(last.kind());
        let mut settings = json(&last);
        if kind != last.kind() {
            let function = settings.remove("function");
            settings = json(&BackendConfig::from(kind));
            if let (Some(new), Some(function)) = (settings.get_mut("function"), function) {
                *new = function;
            }
        }
        for (key, value) in json(self) {
            if value.is_null() {
                continue;
            }
            if !settings.contains_key(&key) {
                return Err(Error::Settings(format!(
                    "failed to start: --{key} has no effect with --backend {kind}"
                )));
            }
            settings.insert(key, value);
        }
        serde_json::from_value(settings.into())
            .map_err(|e| Error::Settings(format!("failed to use the backend {kind}: {e}")))
    }
}

impl LimitOptions {
    pub(crate) fn limits(&self, prices: &PriceOptions) -> Limits {
        let budget = self.speculation_budget.map(|percent| percent / 100.0);
        Limits {
            max_usd: self.max_cost,
            max_seconds: self.max_time,
            yes: self.yes.unwrap_or(false),
            prices: prices.prices.clone(),
            speculation: budget.map_or_else(Speculation::default, |budget| Speculation { budget }),
        }
    }
}

/// All settings or options, those without a value as null.
fn json(settings: &impl Serialize) -> serde_json::Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(settings)) => settings,
        _ => unreachable!("settings are always a JSON object"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_refuses_the_options_of_others() {
        for (options, says) in [
            (
                BackendOptions {
                    url: Some(vec!["http://x".into()]),
                    ..BackendOptions::default()
                },
                "--url has no effect with --backend local",
            ),
            (
                BackendOptions {
                    backend: Some(BackendKind::Lambda),
                    detach: Some(true),
                    ..BackendOptions::default()
                },
                "--detach has no effect with --backend lambda",
            ),
        ] {
            let error = options.config(BackendConfig::default()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        assert!(percent("NaN").is_err());
    }

    #[test]
    fn a_resumed_run_keeps_its_backend_but_for_what_is_given() {
        let first = BackendOptions {
            backend: Some(BackendKind::StepFunctions),
            function: Some("mine".into()),
            timeout: Some(60),
            ..BackendOptions::default()
        };
        let first = first.config(BackendConfig::default()).unwrap();
        let more = BackendOptions {
            concurrency: Some(7),
            ..BackendOptions::default()
        };
        let second = json(&more.config(first.clone()).unwrap());
        assert_eq!(second["function"], "mine");
        assert_eq!(
            (&second["timeout"], &second["concurrency"]),
            (&60.into(), &7.into())
        );
        let other = BackendOptions {
            backend: Some(BackendKind::Lambda),
            ..BackendOptions::default()
        };
        let other = json(&other.config(first).unwrap());
        assert_eq!(
            (&other["function"], &other["timeout"]),
            (&"mine".into(), &Value::Null)
        );
    }
}
