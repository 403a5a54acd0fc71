//! Checks before a run: what it needs, and how to fix what fails.

mod check;
mod machine;
mod store;

use std::sync::Arc;

use serde::Serialize;
use shoal_function::Runner;
use shoal_job::FunctionSpec;
use shoal_job::collect::Destination;
use shoal_job::input::{Preview, locate, look, preview};
use shoal_job::store::is_url;
use shoal_report::numbers;
use shoal_runners::EncoderRunner;

use crate::inputs::{STDIN, absolute, bytes};
use crate::{Error, Result, Setting, Settings};
pub use check::{Check, Finding};
use shoal_report::numbers::plural;

/// Number of inputs that are shown, and of their rows.
const PREVIEWS: usize = 3;
const PREVIEW_ROWS: usize = 3;

/// All checks; causes come before their consequences.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// This version of shoal.
    pub version: &'static str,
    /// The checks.
    pub checks: Vec<Check>,
    /// How the first inputs are read.
    pub inputs: Vec<Preview>,
}

impl Diagnosis {
    /// How many checks ended with `finding`.
    pub fn count(&self, finding: Finding) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.finding == finding).count()
    }

    /// Whether a run is expected to succeed.
    ///
    /// # Errors
    /// [`Error::ChecksFailed`], with the exit code of the first check that failed, as it may have caused the others.
    pub fn verdict(&self) -> Result<()> {
        let mut checks = self.checks.iter();
        match checks.find(|check| check.finding == Finding::Failed) {
            None => Ok(()),
            Some(first) => Err(Error::ChecksFailed {
                failed: self.count(Finding::Failed),
                of: self.checks.len(),
                exit_code: first.exit_code,
            }),
        }
    }
}

/// Checks everything that a run with these settings needs, and changes nothing: files of a check are removed again. Inputs
/// and output may be missing. No batch is processed, and no function is called.
///
/// The call blocks, and must not be made from an asynchronous task.
pub fn doctor(settings: &Settings) -> Diagnosis {
    let mut checks = vec![check_settings(settings)];
    machine::diagnose(settings, &mut checks);
    let runner = settings.model.open();
    let function = runner.as_ref().ok().map(|runner| runner.spec().clone());
    checks.push(check_model(settings, runner));
    let mut inputs = Vec::new();
    if !settings.inputs.is_empty() {
        checks.push(check_input(settings, function.as_ref(), &mut inputs));
    }
    if !settings.output.is_empty() {
        checks.push(check_output(settings));
    }
    match store_of(settings) {
        Some(url) => store::diagnose(&url, &mut checks),
        None => machine::diagnose_run_folder(settings, &mut checks),
    }
    if settings.backend.check().is_ok() {
        settings.backend.settings().diagnose(&mut checks);
    }
    Diagnosis {
        version: crate::VERSION,
        checks,
        inputs,
    }
}

fn check_settings(settings: &Settings) -> Check {
    let backend = settings.backend.name();
    match settings.check() {
        Ok(()) => Check::ok("settings", "options", format!("fit the backend {backend}")),
        Err(error) => {
            let fix = "change the options as the message says";
            Check::error("settings", "options", &error, fix)
        }
    }
}

fn check_model(settings: &Settings, runner: Result<Arc<EncoderRunner>>) -> Check {
    let name = settings.model.reference.as_deref();
    let name = name.unwrap_or(crate::bundled::NAME);
    match runner {
        Ok(runner) => {
            let found = format!(
                "opens: {} on {}, up to {} tokens, for the task {}",
                runner.model().precision(),
                runner.model().isa().name(),
                runner.max_tokens(),
                runner.task().kind()
            );
            Check::ok("model", name, found)
        }
        Err(error) => {
            let fix = "name a model folder, a packed model or its URL, or a model of the Hugging Face hub";
            Check::error("model", name, &error, fix).by(Setting::Model)
        }
    }
}

/// `previews` gets how the first inputs are read.
fn check_input(
    settings: &Settings,
    function: Option<&FunctionSpec>,
    previews: &mut Vec<Preview>,
) -> Check {
    let name = settings.inputs.join(", ");
    if settings.inputs.iter().any(|input| input == STDIN) {
        let found = "standard input is not checked: it can be read only once";
        return Check::ok("input", name, found);
    }
    let mut notes = Vec::new();
    let mut found = || -> Result<String> {
        let names = absolute(&settings.inputs)?;
        let found = locate(&names, settings.parameters.input_format, None)?;
        let files = plural(found.len() as u64, "file", "files");
        let mut text = format!("{files}, {}", numbers::bytes(bytes(&found)));
        if let Some(function) = function {
            for found in found.iter().take(PREVIEWS) {
                // What cannot be shown fails below.
                if let Ok(preview) = preview(found, function, &settings.parameters, PREVIEW_ROWS) {
                    notes.extend(preview.notes.clone());
                    previews.push(preview);
                }
            }
            for input in look(&found, function, &settings.parameters)?.inputs {
                if let Some(column) = &input.source {
                    text += &format!("; the {} is in column {column:?}", input.role.name);
                }
            }
        }
        Ok(text)
    };
    match found() {
        Ok(found) if !notes.is_empty() => Check::ok("input", name, found).warning(format!(
            "check whether its rows below are what you expect: {}",
            notes.join("; ")
        )),
        Ok(found) => Check::ok("input", name, found),
        Err(error) => {
            let fix = "change the input or the options as the message says";
            Check::error("input", name, &error, fix)
        }
    }
}

fn check_output(settings: &Settings) -> Check {
    let checked = Destination::parse(&settings.output, settings.format)
        .and_then(|(destination, _)| destination.check("doctor"));
    let name = settings.output.as_str();
    match checked.map_err(Error::from) {
        Ok(()) => Check::ok("output", name, "can be written"),
        Err(error) => {
            Check::error("output", name, &error, "name another output").by(Setting::Output)
        }
    }
}

/// The prefix in a store under which the run would be.
fn store_of(settings: &Settings) -> Option<String> {
    let url = match (&settings.store, &settings.run_dir) {
        (Some(store), _) => format!("{}/runs", store.trim_end_matches('/')),
        (None, Some(folder)) => folder.to_str()?.trim_end_matches('/').to_owned(),
        (None, None) => return None,
    };
    is_url(&url).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExitCode;

    #[test]
    fn the_first_failure_gives_the_exit_code() {
        let ok = || Check::ok("machine", "cores", "2");
        let diagnosis = |checks| Diagnosis {
            version: crate::VERSION,
            checks,
            inputs: Vec::new(),
        };
        let well = diagnosis(vec![ok(), ok().warning("more")]);
        assert!(well.verdict().is_ok());
        let failing = diagnosis(vec![
            ok(),
            ok().failed(ExitCode::Storage, "fix"),
            ok().failed(ExitCode::Platform, "fix"),
        ]);
        let error = failing.verdict().unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Storage);
        assert!(error.to_string().contains("2 of 3"), "{error}");
    }
}
