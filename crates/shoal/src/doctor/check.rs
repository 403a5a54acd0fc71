//! One check and its finding.

use serde::Serialize;

use crate::error::ExitCode;
use crate::{Error, Setting};

/// A larger clock difference gets a warning: times in reports come from several machines.
const CLOCK_WARNING_SECONDS: f64 = 30.0;
/// S3 rejects requests whose time differs by more: *RequestTimeTooSkewed*
/// (`AmazonS3/latest/API/ErrorResponses.html`).
const CLOCK_LIMIT_SECONDS: f64 = 900.0;
/// How to fix the clock.
pub(super) const SET_CLOCK: &str =
    "set this machine's clock, for example by turning on NTP (timedatectl set-ntp true)";

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// A run has what it needs.
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
    /// The setting that would change the finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting: Option<Setting>,
    /// The exit code of a run that fails for this reason.
    #[serde(skip)]
    pub exit_code: ExitCode,
}

impl Check {
    pub(crate) fn ok(
        about: &'static str,
        name: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
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

    pub(crate) fn warning(self, fix: impl Into<String>) -> Self {
        Self {
            finding: Finding::Warning,
            fix: Some(fix.into()),
            ..self
        }
    }

    pub(crate) fn failed(self, exit_code: ExitCode, fix: impl Into<String>) -> Self {
        Self {
            finding: Finding::Failed,
            fix: Some(fix.into()),
            exit_code,
            ..self
        }
    }

    /// A check that failed with the error of a run.
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
    pub(crate) fn by(self, setting: Setting) -> Self {
        Self {
            setting: Some(setting),
            ..self
        }
    }

    /// The check of a remote version of shoal.
    pub(crate) fn version(about: &'static str, version: &str, fix: &str) -> Self {
        let check = Self::ok(about, "version", format!("shoal {version}"));
        if version == crate::VERSION {
            return check;
        }
        check.warning(format!(
            "this is shoal {}, and results are bit-identical within one version only; {fix}",
            crate::VERSION
        ))
    }

    /// The check of a remote clock that is `ahead` seconds ahead of this machine's. `has_limit`: requests are rejected
    /// beyond a limit.
    pub(crate) fn clock(about: &'static str, ahead: f64, has_limit: bool) -> Self {
        let found = match ahead {
            0.0 => "agrees with this machine's to the second".to_owned(),
            ahead if ahead > 0.0 => format!("{ahead:.0} s ahead of this machine's"),
            ahead => format!("{:.0} s behind this machine's", -ahead),
        };
        let check = Self::ok(about, "clock", found);
        if has_limit && ahead.abs() > CLOCK_LIMIT_SECONDS {
            check.failed(ExitCode::Storage, SET_CLOCK)
        } else if ahead.abs() > CLOCK_WARNING_SECONDS {
            check.warning(SET_CLOCK)
        } else {
            check
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_gets_a_warning_and_then_fails() {
        use Finding::{Failed, Ok, Warning};
        for (ahead, has_limit, expected) in [
            (0.0, true, Ok),
            (-29.0, true, Ok),
            (31.0, true, Warning),
            (901.0, true, Failed),
            (-901.0, true, Failed),
            (901.0, false, Warning),
        ] {
            let check = Check::clock("store", ahead, has_limit);
            assert_eq!(check.finding, expected, "{ahead}");
            assert_eq!(check.fix.is_some(), expected != Ok, "{ahead}");
        }
    }
}
