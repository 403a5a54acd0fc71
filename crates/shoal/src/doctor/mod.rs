//! Looking, before a run, at everything that it will need: what was found, and how to mend what is wrong.

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
use crate::{BackendKind, Error, Result, Settings, runs};

/// Clocks that differ by so many seconds are worth a word: times in reports come from several machines.
const CLOCK_WARNING_SECONDS: f64 = 30.0;
/// S3 takes no request that was signed at another time than this, in seconds. *RequestTimeTooSkewed*
/// (`AmazonS3/latest/API/ErrorResponses.html`).
const CLOCK_LIMIT_SECONDS: f64 = 900.0;

/// How it is with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// As a run needs it.
    Ok,
    /// A run goes on all the same, but slower, or otherwise than may be thought.
    Warning,
    /// A run would end badly.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What it is about: `machine`, `model`, `input`, `output`, `run directory`, `store`, `aws` or `workers`.
    pub about: &'static str,
    /// The thing.
    pub name: String,
    /// How it is.
    pub finding: Finding,
    /// What was found.
    pub found: String,
    /// What to do, unless all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The exit code with which a run would end for it, where it failed.
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

    /// An error of the run's own, which says what to do.
    fn error(about: &'static str, name: impl Into<String>, error: &Error, fix: &str) -> Self {
        Self::ok(about, name, error.to_string()).failed(error.exit_code(), fix)
    }
}

/// All that was looked at, causes before what they cause.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// This version of shoal.
    pub version: &'static str,
    /// One by one.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// How many came to `finding`.
    pub fn count(&self, finding: Finding) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.finding == finding).count()
    }

    /// Whether a run would go through, as far as can be told before it.
    ///
    /// # Errors
    /// [`Error::ChecksFailed`], with the exit code of the first check that failed: what follows it may have failed for it.
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

/// Looks at everything that a run with these settings will need, and changes nothing: what is written for a trial is taken
/// away again. Inputs and output need not be named. No batch is worked on, and no function is called.
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
    match settings.place.backend {
        BackendKind::Http if is_sound => workers::look(settings, &mut checks),
        #[cfg(feature = "aws")]
        BackendKind::Lambda | BackendKind::StepFunctions => aws::look(settings, &mut checks),
        _ => {}
    }
    Diagnosis {
        version: crate::VERSION,
        checks,
    }
}

fn about_settings(settings: &Settings) -> Check {
    let checked = settings
        .place
        .check()
        .and_then(|()| settings.limits.check(&settings.place))
        .and_then(|()| check_reach(settings));
    let backend = settings.place.backend.name();
    match checked {
        Ok(()) => Check::ok("settings", "options", format!("for --backend {backend}")),
        Err(error) => Check::error(
            "settings",
            "options",
            &error,
            "change the options as it says",
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
            "name a model folder, a packed model or its URL, or a model of the Hugging Face hub (--model)",
        ),
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
        let found = "standard input is not looked at: it can be read only once";
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
            "change the input or the options as it says",
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
        Err(error) => Check::error("output", name, &error, "name another output (-o)"),
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

/// What is to be said of a clock that is so many seconds ahead of this machine's. `refuses` tells that requests are refused
/// beyond a limit.
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
    fn clocks_fail_beyond_what_is_taken_and_are_told_before() {
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
        let unwell = diagnosis(vec![
            ok(),
            ok().failed(ExitCode::Storage, "mend"),
            ok().failed(ExitCode::Platform, "mend"),
        ]);
        let error = unwell.verdict().unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Storage);
        assert!(error.to_string().contains("2 of 3"), "{error}");
    }
}
