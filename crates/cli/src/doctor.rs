//! `shoal doctor`: checks what a run will need.

use std::fmt::Write;

use super::args::doctor::DoctorArgs;
use super::commands::print_json;
use super::hint::flag;
use super::options::{BackendOptions, merge};
use super::print;
use super::table::printable;
use shoal::{Check, Diagnosis, Finding, Result};

pub(super) fn doctor(args: DoctorArgs) -> Result<()> {
    let options = merge(&args.options, args.config.as_deref())?;
    let diagnosis = match options.settings(args.inputs.clone()) {
        Ok(settings) => shoal::doctor(&settings),
        Err(error) => {
            // The other checks do not depend on it.
            let mut others = options.clone();
            others.backend = BackendOptions {
                backend: options.backend.backend,
                ..BackendOptions::default()
            };
            let mut diagnosis = shoal::doctor(&others.settings(args.inputs)?);
            let fix = "change the options as the message says";
            diagnosis.checks[0] = Check::error("settings", "options", &error, fix);
            diagnosis
        }
    };
    if options.logging.json() {
        print_json(&diagnosis)?;
    } else {
        print(text(&diagnosis, options.logging.quiet()).as_bytes())?;
    }
    diagnosis.verdict()
}

/// The checks as text: a line each, and a second one where there is something to do.
fn text(diagnosis: &Diagnosis, quiet: bool) -> String {
    let shown = |check: &&Check| !quiet || check.finding == Finding::Failed;
    let name = |check: &Check| match check.about {
        about if check.name.starts_with(about) => check.name.clone(),
        about => format!("{about}: {}", check.name),
    };
    let mut text = String::new();
    for check in diagnosis.checks.iter().filter(shown) {
        let finding = match check.finding {
            Finding::Ok => "ok",
            Finding::Warning => "warning",
            Finding::Failed => "FAILED",
        };
        let _ = writeln!(
            text,
            "{finding:<8} {}: {}",
            printable(&name(check)),
            printable(&check.found)
        );
        if let Some(fix) = &check.fix {
            let flag = check.setting.map(|setting| format!(" ({})", flag(setting)));
            let fix = printable(fix);
            let _ = writeln!(text, "         → {fix}{}", flag.unwrap_or_default());
        }
    }
    if !quiet {
        let _ = writeln!(
            text,
            "{} ok, {} warnings, {} failed",
            diagnosis.count(Finding::Ok),
            diagnosis.count(Finding::Warning),
            diagnosis.count(Finding::Failed)
        );
    }
    text
}
