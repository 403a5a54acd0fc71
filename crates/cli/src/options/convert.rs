//! The options of each group as settings of the library.

use serde::Serialize;
use serde_json::Value;

use super::{
    BackendOptions, EngineOptions, InputOptions, JobOptions, LimitOptions, PriceOptions,
    RunOptions, TaskOptions,
};
use shoal::dispatch::Speculation;
use shoal::job::dialect::DialectOptions;
use shoal::job::spec::{DEFAULT_BATCH_SIZE, Parameters};
use shoal::tasks::{classify, embed};
use shoal::{
    BackendConfig, EngineSettings, Error, Limits, ModelSettings, Precision, Result, Settings,
};

impl RunOptions {
    /// The settings of a run of `inputs`.
    pub(crate) fn settings(&self, inputs: Vec<String>) -> Result<Settings> {
        let batch_size = self.batches.batch_size.unwrap_or(DEFAULT_BATCH_SIZE);
        Ok(Settings {
            inputs,
            output: self.output.output.clone().unwrap_or_default(),
            format: self.output.format,
            model: self.job.model_settings(),
            parameters: Parameters {
                batch_size,
                ..self.job.input.parameters()
            },
            backend: self.backend.config(BackendConfig::default())?,
            store: self.store.store.clone(),
            run_dir: self.run_dir.run_dir.clone(),
            on_error: self.limits.on_error,
            fresh: self.run_dir.fresh.unwrap_or(false),
            batches_at_once: self.batches.batches_at_once,
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

#[cfg(test)]
mod tests {
    use super::super::percent;
    use super::*;
    use shoal::BackendKind;

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
