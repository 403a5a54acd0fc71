//! Checks, before a run, of everything that it will need, and how to fix what fails.

#[cfg(feature = "aws")]
mod aws;
mod machine;
mod store;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use shoal_function::Runner;
use shoal_job::FunctionSpec;
use shoal_job::collect::Destination;
use shoal_job::input::{locate, look};
use shoal_runners::EncoderRunner;

use crate::error::ExitCode;

use crate::run::{absolute, check_reach};
use crate::{BackendConfig, Error, Result, Setting, Settings, runs};

/// A larger difference between clocks gets a warning: times in reports come from several machines.
const CLOCK_WARNING_SECONDS: f64 = 30.0;
/// S3 rejects requests that were signed by a clock that is off by more seconds than this: *RequestTimeTooSkewed*
/// (`AmazonS3/latest/API/ErrorResponses.html`).
const CLOCK_LIMIT_SECONDS: f64 = 900.0;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// A run will find what it needs.
    Ok,
    /// A run works, but slower or otherwise than expected.
    Warning,
    /// A run would fail.
    Failed,
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The subject: `settings`, `machine`, `model`, `input`, `output`, `run directory`, `store`, `aws` or `workers`.
    pub about: &'static str,
    /// What was checked.
    pub name: String,
    /// The result.
    pub finding: Finding,
    /// What was found.
    pub found: String,
    /// What to do about a warning or failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The setting that would change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<Setting>,
    /// The exit code of a run that fails for it.
    #[serde(skip)]
    pub exit_code: ExitCode,
}

impl Check {
    fn ok(about: &'static str, name: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            about,
            name: name.into(),
            finding: Finding::Ok,
            found: found.into(),
            fix: None,
            setting: None,
            exit_code: ExitCode::Success,
        }
    }

    fn warning(self, fix: impl Into<String>) -> Self {
        Self {
            finding: Finding::Warning,
            fix: Some(fix.into()),
            ..self
        }
    }

    fn failed(self, exit_code: ExitCode, fix: impl Into<String>) -> Self {
        Self {
            finding: Finding::Failed,
            fix: Some(fix.into()),
            exit_code,
            ..self
        }
    }

    /// A failure that a run would end with, too.
    pub fn error(about: &'static str, name: impl Into<String>, error: &Error, fix: &str) -> Self {
        Self {
            setting: match error {
                Error::Setting { setting, .. } => Some(*setting),
                _ => None,
            },
            ..Self::ok(about, name, error.to_string()).failed(error.exit_code(), fix)
        }
    }

    /// Names the setting that would change the finding.
    fn by(self, setting: Setting) -> Self {
        Self {
            setting: Some(setting),
            ..self
        }
    }
}

/// All checks, causes before their consequences.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// This version of shoal.
    pub version: &'static str,
    /// The checks.
    pub checks: Vec<Check>,
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

/// Checks everything that a run with these settings will need, and changes nothing: what a check writes it removes again.
/// Inputs and output may be missing. No batch is processed, and no function is called.
///
/// The call blocks, and must not be made from within an asynchronous task.
pub fn doctor(settings: &Settings) -> Diagnosis {
    let mut checks = vec![about_settings(settings)];
    machine::look(settings, &mut checks);
    let runner = settings.model.open();
    let function = runner.as_ref().ok().map(|runner| runner.spec().clone());
    checks.push(model(settings, runner));
    checks.extend(input(settings, function.as_ref()));
    checks.extend(output(settings));
    let is_sound = checks[0].finding == Finding::Ok;
    match store_of(settings) {
        Some(url) => store::look(&url, &mut checks),
        None => machine::look_at_run_folder(settings, &mut checks),
    }
    match &settings.backend {
        BackendConfig::Http(http) if is_sound => workers::look(http, &mut checks),
        #[cfg(feature = "aws")]
        backend @ (BackendConfig::Lambda(_) | BackendConfig::StepFunctions(_)) => {
            aws::look(backend, &mut checks);
        }
        _ => {}
    }
    Diagnosis {
        version: crate::VERSION,
        checks,
    }
}

fn about_settings(settings: &Settings) -> Check {
    let backend = &settings.backend;
    let checked = backend
        .check()
        .and_then(|()| settings.limits.check(backend))
        .and_then(|()| check_reach(settings));
    let backend = backend.name();
    match checked {
        Ok(()) => Check::ok("settings", "options", format!("fit the backend {backend}")),
        Err(error) => Check::error(
            "settings",
            "options",
            &error,
            "change the options as the message says",
        ),
    }
}

fn model(settings: &Settings, runner: Result<Arc<EncoderRunner>>) -> Check {
    let name = settings
        .model
        .reference
        .as_deref()
        .unwrap_or(crate::bundled::NAME);
    match runner {
        Ok(runner) => Check::ok(
            "model",
            name,
            format!(
                "opens: {} on {}, up to {} tokens, for the task {}",
                runner.model().precision(),
                runner.model().isa().name(),
                runner.max_tokens(),
                runner.task().kind()
            ),
        ),
        Err(error) => Check::error(
            "model",
            name,
            &error,
            "name a model folder, a packed model or its URL, or a model of the Hugging Face hub",
        )
        .by(Setting::Model),
    }
}

fn input(settings: &Settings, function: Option<&FunctionSpec>) -> Option<Check> {
    /// Standard input can be read only once, by the run.
    const STDIN: &str = "-";
    if settings.inputs.is_empty() {
        return None;
    }
    let name = settings.inputs.join(", ");
    if settings.inputs.iter().any(|input| input == STDIN) {
        let found = "standard input is not checked: it can be read only once";
        return Some(Check::ok("input", name, found));
    }
    let looked = absolute(&settings.inputs).and_then(|inputs| {
        let found = locate(&inputs, settings.parameters.input_format, None)?;
        let columns = function.map(|function| look(&found, function, &settings.parameters));
        Ok((found, columns.transpose()?))
    });
    Some(match looked {
        Ok((found, columns)) => {
            let bytes: u64 = found
                .iter()
                .filter_map(|found| found.location.meta().ok())
                .map(|meta| meta.bytes)
                .sum();
            let files = match found.len() {
                1 => "1 file".to_owned(),
                count => format!("{count} files"),
            };
            let mut text = format!("{files}, {} MB", bytes.div_ceil(1_000_000));
            for input in columns.iter().flat_map(|columns| &columns.inputs) {
                if let Some(column) = &input.source {
                    text += &format!("; the {} is in column {column:?}", input.role.name);
                }
            }
            Check::ok("input", name, text)
        }
        Err(error) => Check::error(
            "input",
            name,
            &error,
            "change the input or the options as the message says",
        ),
    })
}

fn output(settings: &Settings) -> Option<Check> {
    if settings.output.is_empty() {
        return None;
    }
    let checked = Destination::parse(&settings.output, settings.format)
        .and_then(|(destination, _)| destination.check("doctor"))
        .map_err(Error::from);
    let name = settings.output.as_str();
    Some(match checked {
        Ok(()) => Check::ok("output", name, "can be written"),
        Err(error) => {
            Check::error("output", name, &error, "name another output").by(Setting::Output)
        }
    })
}

/// The prefix in a store under which the run would lie.
fn store_of(settings: &Settings) -> Option<String> {
    let url = match (&settings.store, &settings.run_dir) {
        (Some(store), _) => format!("{}/runs", store.trim_end_matches('/')),
        (None, Some(folder)) => folder.to_str()?.trim_end_matches('/').to_owned(),
        (None, None) => return None,
    };
    shoal_job::store::is_url(&url).then_some(url)
}

/// The folder in which the run would lie.
fn folder_of(settings: &Settings) -> Result<PathBuf> {
    match &settings.run_dir {
        Some(folder) => Ok(folder.clone()),
        None => Ok(runs::data_dir()?.join("runs")),
    }
}

/// The check of a clock that is `ahead` seconds ahead of this machine's. `refuses`: requests are rejected beyond a limit.
fn clock(about: &'static str, name: &str, ahead: f64, refuses: bool) -> Check {
    let found = match ahead {
        0.0 => "agrees with this machine's to the second".to_owned(),
        ahead if ahead > 0.0 => format!("{ahead:.0} s ahead of this machine's"),
        ahead => format!("{:.0} s behind this machine's", -ahead),
    };
    let check = Check::ok(about, name, found);
    let fix = "set this machine's clock, for example by turning on NTP (timedatectl set-ntp true)";
    if refuses && ahead.abs() > CLOCK_LIMIT_SECONDS {
        check.failed(ExitCode::Storage, fix)
    } else if ahead.abs() > CLOCK_WARNING_SECONDS {
        check.warning(fix)
    } else {
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off_gets_a_warning_and_then_fails() {
        use Finding::{Failed, Ok, Warning};
        for (ahead, refuses, expected) in [
            (0.0, true, Ok),
            (-29.0, true, Ok),
            (31.0, true, Warning),
            (901.0, true, Failed),
            (-901.0, true, Failed),
            (901.0, false, Warning),
        ] {
            let check = clock("store", "clock", ahead, refuses);
            assert_eq!(check.finding, expected, "{ahead}");
            assert_eq!(check.fix.is_some(), expected != Ok, "{ahead}");
        }
    }

    #[test]
    fn the_first_failure_gives_the_exit_code() {
        let ok = || Check::ok("machine", "cores", "2");
        let diagnosis = |checks| Diagnosis {
            version: crate::VERSION,
            checks,
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
