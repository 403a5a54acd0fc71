//! `shoal doctor`: checks what a run will need.

use std::fmt::Write;

use clap::Args;

use super::hint::flag;
use super::options::{BackendOptions, RunOptions, heading};
use super::output::{header, show, table};
use shoal::job::input::{Compression, Preview, PreviewRow};
use shoal::{Check, Diagnosis, Finding, Result};

/// Number of columns of an input that are listed.
const COLUMNS: usize = 20;

const EXAMPLES: &str = "\
Examples:
  shoal doctor reviews.csv
  shoal doctor reviews.csv --backend lambda --store s3://bucket/shoal
  SHOAL_TOKEN=… shoal doctor --backend http --url https://worker-1:8080
  shoal doctor --json

It takes the options of `run`, also from variables and shoal.toml, and checks what a run with them would need. It \
processes nothing and calls no function; it shows the first rows of the inputs as a run reads them; what a check writes \
it removes again. The exit code is that of a run that fails for the first check that failed, and 0 if there are only \
warnings.";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Inputs to check, as for `run` [default: none]
    #[arg(value_name = "INPUT", help_heading = heading::INPUT)]
    inputs: Vec<String>,

    #[command(flatten)]
    options: RunOptions,
}

pub(crate) fn doctor(args: DoctorArgs) -> Result<()> {
    let options = args.options;
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
    let quiet = options.logging.quiet == Some(true);
    show(&diagnosis, options.logging.json == Some(true), |found| {
        text(found, quiet)
    })?;
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
        let _ = writeln!(text, "{finding:<8} {}: {}", name(check), check.found);
        if let Some(fix) = &check.fix {
            let flag = check.setting.map(|setting| format!(" ({})", flag(setting)));
            let _ = writeln!(text, "         → {fix}{}", flag.unwrap_or_default());
        }
    }
    if !quiet {
        for input in &diagnosis.inputs {
            text.push_str(&preview(input));
        }
        let counts = [Finding::Ok, Finding::Warning, Finding::Failed];
        let [ok, warnings, failed] = counts.map(|finding| diagnosis.count(finding));
        let _ = writeln!(text, "{ok} ok, {warnings} warnings, {failed} failed");
    }
    text
}

/// How an input is read: a line of facts, a line per column, and its first rows as a table.
fn preview(input: &Preview) -> String {
    let mut facts = vec![input.format.name().to_owned()];
    if input.compression != Compression::None {
        facts.push(format!("{:?}", input.compression).to_lowercase());
    }
    facts.extend(input.encoding.map(|name| format!("encoding {name}")));
    if let Some(dialect) = &input.dialect {
        facts.push(format!("delimiter {}", dialect.delimiter));
        facts.push(format!("quote {}", dialect.quote));
        facts.push(format!("escape {}", dialect.escape));
    }
    if input.header_row == Some(false) {
        facts.push("no header row".into());
    }
    let mut text = format!("\n{}: {}\n", input.source, facts.join(", "));
    let mut rows = vec![header("column,type,use")];
    for column in input.columns.iter().take(COLUMNS) {
        rows.push(vec![
            column.name.clone(),
            column.data_type.clone(),
            column.uses.join(", "),
        ]);
    }
    text.push_str(&table(&rows));
    if let Some(more) = input.columns.len().checked_sub(COLUMNS + 1) {
        let _ = writeln!(text, "and {} more columns", more + 1);
    }
    text.push('\n');
    let mut rows = vec![input.shown.clone()];
    let mut bad = Vec::new();
    for (row, values) in (1..).zip(&input.rows) {
        match values {
            PreviewRow::Values(values) => rows.push(values.clone()),
            PreviewRow::Bad { reason } => bad.push((row, reason)),
        }
    }
    text.push_str(&table(&rows));
    for (row, reason) in bad {
        let _ = writeln!(text, "row {row} would fail: {}", reason);
    }
    text.push('\n');
    text
}
