//! `shoal.toml`, and how it meets flags and variables.

use std::collections::BTreeMap;
use std::path::Path;

use super::args::doctor::DoctorArgs;
use super::args::{RunArgs, RunOptions};
use shoal::dispatch::Speculation;
use shoal::job::spec::{DEFAULT_BATCH_SIZE, Parameters};
use shoal::job::windows::BATCHES_AT_ONCE;
use shoal::{
    BackendConfig, BackendKind, EngineSettings, Error, Limits, ModelSettings, OnError, Result,
    Settings, TaskOptions,
};

const FILE: &str = "shoal.toml";

/// What a run is to do, and how it is to talk.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: Settings,
    pub(super) quiet: bool,
    pub(super) json: bool,
    /// Where it is traced to.
    pub(super) otlp: Option<String>,
    /// Whether a plan chooses what is not given, and the batch size if it is.
    pub(super) auto: Option<Option<u64>>,
}

/// Flags first, then variables (clap has put them into `args` already), then the file, then the defaults.
pub(super) fn settings(args: RunArgs) -> Result<Plan> {
    let file = read(args.config.as_deref())?;
    let options = merge(args.options, file);
    let Some(output) = &options.output else {
        return Err(Error::Settings(
            "failed to start: name the output, for example -o labels.csv, or -o - for standard output".into(),
        ));
    };
    if options.json == Some(true) && output == "-" {
        return Err(Error::Settings(
            "--json prints the summary on standard output, where -o - puts the labels; choose one"
                .into(),
        ));
    }
    Ok(plan(args.inputs, options))
}

/// The same for who only looks: neither inputs nor output need be named.
pub(super) fn doctor(args: DoctorArgs) -> Result<Plan> {
    let file = read(args.config.as_deref())?;
    Ok(plan(args.inputs, merge(*args.options, file)))
}

fn plan(inputs: Vec<String>, options: RunOptions) -> Plan {
    let settings = Settings {
        inputs,
        output: options.output.unwrap_or_default(),
        format: options.format.map(Into::into),
        model: ModelSettings {
            reference: options.model,
            task: TaskOptions {
                kind: options.task,
                scores: options.scores.unwrap_or(false),
                threshold: options.threshold,
                prompt: options.prompt,
                prompt_name: options.prompt_name,
                dimensions: options.dimensions,
                normalize: options.normalize.unwrap_or(false),
            },
            max_tokens: options.max_tokens,
            engine: EngineSettings {
                precision: options.precision.map(Into::into),
                isa: options.isa,
                cache_dir: options.cache_dir,
            },
        },
        parameters: Parameters {
            batch_size: options.batch_size.unwrap_or(DEFAULT_BATCH_SIZE),
            input_format: options.input_format.map(Into::into),
            columns: columns(options.text_column, options.label_column),
            id_column: options.id_column,
            keep_columns: options.keep_columns.unwrap_or_default(),
            ..Parameters::default()
        },
        place: BackendConfig {
            backend: options.backend.map_or(BackendKind::Local, Into::into),
            concurrency: options.concurrency,
            timeout_seconds: options.timeout,
            function: options.function,
            state_machine: options.state_machine,
            children: options.children.map(Into::into),
            tolerated_failures: options.tolerated_failures,
            urls: options.url.unwrap_or_default(),
            detach: options.detach.unwrap_or(false),
            machine: options.machine,
        },
        store: options.store,
        run_dir: options.run_dir,
        on_error: options.on_error.map_or(OnError::Skip, Into::into),
        fresh: options.fresh.unwrap_or(false),
        batches_at_once: options.batches_at_once.unwrap_or(BATCHES_AT_ONCE),
        limits: Limits {
            max_usd: options.max_cost,
            max_seconds: options.max_time.map(|time| time.0),
            yes: options.yes.unwrap_or(false),
            prices: options.prices,
            speculation: speculation(options.speculation_budget),
        },
    };
    Plan {
        auto: options.auto.unwrap_or(false).then_some(options.batch_size),
        settings,
        quiet: options.quiet.unwrap_or(false),
        json: options.json.unwrap_or(false),
        otlp: options.otlp,
    }
}

/// The columns that the user named, by role.
pub(super) fn columns(text: Option<String>, label: Option<String>) -> BTreeMap<String, String> {
    let named = [("text", text), ("label", label)];
    let named = named.into_iter();
    named
        .filter_map(|(role, column)| Some((role.to_owned(), column?)))
        .collect()
}

/// From a share in percent.
pub(super) fn speculation(percent: Option<f64>) -> Speculation {
    percent.map_or_else(Speculation::default, |percent| Speculation {
        budget: percent / 100.0,
    })
}

fn read(path: Option<&Path>) -> Result<RunOptions> {
    let named = path.is_some();
    let path = path.unwrap_or(Path::new(FILE));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => {
            return Ok(RunOptions::default());
        }
        Err(e) => {
            return Err(Error::Settings(format!(
                "failed to read settings from {}: {e}",
                path.display()
            )));
        }
    };
    toml::from_str(&text).map_err(|e| {
        Error::Settings(format!(
            "failed to read settings from {}: {e}",
            path.display()
        ))
    })
}

macro_rules! first_of {
    ($first:ident, $second:ident: $($field:ident),* $(,)?) => {
        // Named in full, so that an option that is added and forgotten here does not compile.
        RunOptions { $($field: $first.$field.or($second.$field)),* }
    };
}

fn merge(args: RunOptions, file: RunOptions) -> RunOptions {
    first_of!(args, file:
        output, format, input_format, model, precision, isa, cache_dir, text_column, id_column, label_column, keep_columns, scores,
        threshold, task, prompt, prompt_name, dimensions, normalize, max_tokens, batch_size, auto, backend, function, state_machine, children, tolerated_failures,
        url, timeout, detach, concurrency, store, run_dir, on_error, fresh, max_cost, max_time, yes, machine, prices,
        speculation_budget, batches_at_once, otlp, quiet, json,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let args = RunOptions {
            batch_size: Some(7),
            ..RunOptions::default()
        };
        let file = RunOptions {
            batch_size: Some(9),
            scores: Some(true),
            ..RunOptions::default()
        };
        let merged = merge(args, file);
        assert_eq!(
            (merged.batch_size, merged.scores, merged.quiet),
            (Some(7), Some(true), None)
        );
    }
}
