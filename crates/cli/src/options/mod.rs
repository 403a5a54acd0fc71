//! Groups of options. Each option is declared here once: its field gives the flag, the variable `SHOAL_*`, the key of
//! `shoal.toml` and the word in the command that repeats a run.

mod file;
mod named;
mod repeat;
pub(crate) mod time;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use shoal::dispatch::Speculation;
use shoal::job::format::{Format, OutputFormat};
use shoal::job::spec::{DEFAULT_BATCH_SIZE, Parameters};
use shoal::tasks::{classify, embed};
use shoal::{
    BackendConfig, BackendKind, Children, EngineSettings, Error, Limits, Machine, ModelSettings,
    OnError, Precision, Result, Settings, Target, TaskKind,
};

pub(crate) use file::merge;
pub(crate) use named::parser;
pub(crate) use repeat::arguments;
use time::Time;

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
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::INPUT)]
pub(crate) struct InputOptions {
    /// Format of the input files whose names do not say it
    #[arg(long, value_name = "FORMAT", value_parser = parser::<Format>())]
    #[serde(with = "named")]
    pub(crate) input_format: Option<Format>,

    /// Column with the text [default: the only string column, else `text`]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) text_column: Option<String>,

    /// Column with the id [default: `id` if there is one, else the row number, from 0]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) id_column: Option<String>,

    /// Column with the correct label, to compute the accuracy
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label_column: Option<String>,

    /// Columns to copy to the output, separated by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) keep_columns: Option<Vec<String>>,
}

/// Where results are written.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::OUTPUT)]
pub(crate) struct OutputOptions {
    /// Where results are written: a file, a folder (ends in /), or - for standard output
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Option<String>,

    /// Format of the output if its name does not say it [default for -: jsonl]
    #[arg(long, value_name = "FORMAT", value_parser = parser::<OutputFormat>())]
    #[serde(with = "named")]
    pub(crate) format: Option<OutputFormat>,
}

/// Which model is used.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct ModelOptions {
    /// Model folder, packed model or its URL, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL")]
    pub(crate) model: Option<String>,

    /// Arithmetic of the model; `int8` is about three times as fast as `f32` [default: `int8` if its results agree with
    /// those of `f32` on a sample of the records]
    #[arg(long, value_name = "PRECISION", value_parser = parser::<Precision>())]
    #[serde(with = "named")]
    pub(crate) precision: Option<Precision>,
}

/// How the engine runs a model on this machine.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct EngineOptions {
    /// Instruction set: avx512-vnni, avx512, avx2 or portable [default: the best that this CPU supports]
    #[arg(long, value_name = "ISA", value_parser = parser::<Target>())]
    #[serde(with = "named")]
    pub(crate) isa: Option<Target>,

    /// Where packed models are kept between runs [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// What is done with the model.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
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

/// How the input is divided into batches.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct BatchOptions {
    /// Records in a batch [default: 50]
    #[arg(short, long, value_name = "N")]
    pub(crate) batch_size: Option<u64>,

    /// Let a plan choose batch size and concurrency, within --max-cost and --max-time
    #[arg(long)]
    pub(crate) auto: Option<bool>,

    /// Batches that are kept in memory at a time, at least. A longer run is processed in windows, and only `shoal report`
    /// writes its page [default: 16384]
    #[arg(long, value_name = "N")]
    pub(crate) batches_at_once: Option<NonZeroUsize>,
}

/// The backend. Each option but the first belongs to the settings of some backends; the others refuse it.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct BackendOptions {
    /// Where functions run [default: local; for a run that is resumed, where it ran last]
    #[arg(long, value_name = "BACKEND", value_parser = parser::<BackendKind>())]
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
    #[arg(long, value_name = "KIND", value_parser = parser::<Children>())]
    pub(crate) children: Option<Children>,

    /// Share of batches that may fail before a Distributed Map gives up; batches that crashed their function are then
    /// searched for the record that causes it [default: 5, or 3 batches]
    #[arg(long, value_name = "PERCENT")]
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
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::LIMITS)]
pub(crate) struct LimitOptions {
    /// Cost limit for all starts of the run together. The highest cost of a call is reserved before it is made, so the limit
    /// is never exceeded
    #[arg(long, value_name = "USD")]
    pub(crate) max_cost: Option<f64>,

    /// Time limit of this start, such as 90s, 5m or 2h; the same command continues the run
    #[arg(long, value_name = "TIME")]
    pub(crate) max_time: Option<Time>,

    /// Spend more than $1 on a platform without asking
    #[arg(short, long)]
    pub(crate) yes: Option<bool>,

    /// JSON file with prices to use instead of the built-in ones, in the form of crates/estimate/prices
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<PathBuf>,

    /// Time of second attempts at slow calls, in percent of the time of all calls; 0 disables them [default: 5]
    #[arg(long, value_name = "PERCENT")]
    pub(crate) speculation_budget: Option<f64>,

    /// What a bad record does: `skip` writes it to failed.jsonl, `fail` stops the run [default: skip]
    #[arg(long, value_name = "ACTION", value_parser = parser::<OnError>())]
    pub(crate) on_error: Option<OnError>,
}

/// The object store of runs.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::RUN_DIR)]
pub(crate) struct StoreOptions {
    /// Prefix of an object store for runs and copies of local inputs, such as s3://bucket/shoal; lambda and step-functions
    /// need one [default: runs are kept on this machine]
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
}

/// The run directory.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[command(next_help_heading = heading::RUN_DIR)]
pub(crate) struct RunDirOptions {
    /// Where the run is kept: a folder, or a prefix of an object store [default: a folder for this input and output in the
    /// platform's data folder, or below --store]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,

    /// Start over instead of resuming an earlier run of the same command
    #[arg(long)]
    pub(crate) fresh: Option<bool>,
}

/// What a run prints and sends.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
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

/// All options of `run`. What is missing comes from `shoal.toml`, then from the defaults.
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) input: InputOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) task: TaskOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) engine: EngineOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) backend: BackendOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) batches: BatchOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) limits: LimitOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) store: StoreOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) run_dir: RunDirOptions,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) logging: LoggingOptions,
}

impl RunOptions {
    /// The settings of a run of `inputs`.
    pub(crate) fn settings(&self, inputs: Vec<String>) -> Result<Settings> {
        let batch_size = self.batches.batch_size.unwrap_or(DEFAULT_BATCH_SIZE);
        Ok(Settings {
            inputs,
            output: self.output.output.clone().unwrap_or_default(),
            format: self.output.format,
            model: model_settings(&self.model, &self.engine, &self.task),
            parameters: Parameters {
                batch_size,
                ..self.input.parameters()
            },
            backend: self.backend.config(BackendConfig::default())?,
            store: self.store.store.clone(),
            run_dir: self.run_dir.run_dir.clone(),
            on_error: self.limits.on_error.unwrap_or_default(),
            fresh: self.run_dir.fresh.unwrap_or(false),
            batches_at_once: self.batches.batches_at_once,
            limits: self.limits.limits(),
            command: None,
        })
    }
}

impl InputOptions {
    /// Format and columns.
    pub(crate) fn parameters(&self) -> Parameters {
        let roles = [("text", &self.text_column), ("label", &self.label_column)];
        let named = roles.into_iter();
        let columns: BTreeMap<_, _> = named
            .filter_map(|(role, column)| Some((role.to_owned(), column.clone()?)))
            .collect();
        Parameters {
            input_format: self.input_format,
            columns,
            id_column: self.id_column.clone(),
            keep_columns: self.keep_columns.clone().unwrap_or_default(),
            ..Parameters::default()
        }
    }
}

/// The model, its task and its engine.
pub(crate) fn model_settings(
    model: &ModelOptions,
    engine: &EngineOptions,
    task: &TaskOptions,
) -> ModelSettings {
    ModelSettings {
        reference: model.model.clone(),
        task: task.task(),
        max_tokens: task.max_tokens,
        engine: EngineSettings {
            precision: model.precision,
            ..engine.settings()
        },
    }
}

impl EngineOptions {
    /// The engine with the default precision. Worker processes run this program.
    pub(crate) fn settings(&self) -> EngineSettings {
        EngineSettings {
            precision: None,
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
        for (key, value) in given(self) {
            let value = serde_json::to_value(value).expect("an option is always JSON");
            if value.is_null() {
                return Err(Error::Settings(format!(
                    "failed to use --{key}: it is not a number"
                )));
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
    pub(crate) fn limits(&self) -> Limits {
        let budget = self.speculation_budget.map(|percent| percent / 100.0);
        Limits {
            max_usd: self.max_cost,
            max_seconds: self.max_time.map(|time| time.0),
            yes: self.yes.unwrap_or(false),
            prices: self.prices.clone(),
            speculation: budget.map_or_else(Speculation::default, |budget| Speculation { budget }),
        }
    }
}

impl LoggingOptions {
    pub(crate) fn quiet(&self) -> bool {
        self.quiet.unwrap_or(false)
    }

    pub(crate) fn json(&self) -> bool {
        self.json.unwrap_or(false)
    }
}

/// The options of a group that were given, by name.
pub(crate) fn given(options: &impl Serialize) -> toml::Table {
    toml::Table::try_from(options).expect("options are always a table")
}

/// Fails if an option of a group was given, which has no effect for the reason `why`.
pub(crate) fn refuse(options: &impl Serialize, why: &str) -> Result<()> {
    match given(options).keys().next() {
        Some(key) => Err(Error::Settings(format!(
            "failed to start: --{key} has no effect {why}"
        ))),
        None => Ok(()),
    }
}

/// All settings of a backend, those without a value as null.
fn json(config: &BackendConfig) -> serde_json::Map<String, Value> {
    match serde_json::to_value(config) {
        Ok(Value::Object(settings)) => settings,
        _ => unreachable!("settings are always a JSON object"),
    }
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
            (
                BackendOptions {
                    backend: Some(BackendKind::StepFunctions),
                    tolerated_failures: Some(f64::NAN),
                    ..BackendOptions::default()
                },
                "--tolerated-failures: it is not a number",
            ),
        ] {
            let error = options.config(BackendConfig::default()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
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
