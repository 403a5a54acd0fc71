//! `shoal run`, and what it shares with the commands that resume a run.

use clap::{ArgMatches, Args};

use super::hint::message;
use super::options::{LoggingOptions, RunOptions, arguments, heading};
use super::output::{can_ask, confirm, print_json, say};
use super::progress::Progress;
use super::signals::cancel_on_signal;
#[cfg(not(feature = "otel"))]
use super::traces::Traces;
use shoal::reports::numbers::{count, duration, plural, usd};
use shoal::reports::plan::describe as candidate;
#[cfg(feature = "otel")]
use shoal::traces::Traces;
use shoal::{
    Auto, BackendConfig, BackendKind, Cancel, Error, Event, Given, LeftOut, Result, Settings,
    Summary,
};

const EXAMPLES: &str = "\
Examples:
  shoal run reviews.csv -o labels.csv
  shoal run 'data/*.jsonl.zst' -o out/ --format parquet --model ./my-distilbert
  cat reviews.jsonl | shoal run - -o - --text-column body

Every option may also be given as a variable (--batch-size is SHOAL_BATCH_SIZE) or in shoal.toml \
(batch-size = 50). Flags override variables, and variables override the file.";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Files, folders, patterns, URLs, or - for stdin
    ///
    /// Folders contain text files; URLs are those of s3, gs, az and https; - is standard input.
    ///
    /// CSV, TSV and JSON Lines (also .gz and .zst), Parquet and Arrow. A folder is read in the layout of aclImdb: its .txt
    /// files are the records, and pos/ and neg/ become the column `label`.
    #[arg(required = true, value_name = "INPUT", help_heading = heading::INPUT)]
    inputs: Vec<String>,

    #[command(flatten)]
    options: RunOptions,
}

/// Runs a job; `given` has the options as they were given.
pub(crate) fn run(args: RunArgs, given: &ArgMatches) -> Result<()> {
    let options = args.options;
    let Some(output) = &options.output.output else {
        return Err(Error::Settings(
            "failed to start: name the output, for example -o labels.csv, or -o - for standard output".into(),
        ));
    };
    check_json(&options.logging, Some(output))?;
    let mut settings = options.settings(args.inputs)?;
    let cancel = cancel_on_signal();
    let mut chosen = Vec::new();
    if options.batches.auto == Some(true) {
        choose(&options, &mut settings, &cancel)?;
        chosen = choice_as_options(&settings);
    }
    settings.command = Some(arguments(&settings.inputs, given, &chosen));
    perform(&options.logging, |is_agreed, emit| {
        if is_agreed {
            settings.limits.yes = true;
            // The first call planned the run; this one resumes it.
            settings.fresh = false;
        }
        shoal::run(&settings, &cancel, emit)
    })
}

/// Applies the choice of a plan, after asking. A choice that costs nothing needs no consent where nobody can be asked.
fn choose(options: &RunOptions, settings: &mut Settings, cancel: &Cancel) -> Result<()> {
    let mut progress = Progress::new(options.logging.quiet == Some(true));
    let given = Given {
        batch_size: options.batches.batch_size,
        backend: options.backend.backend.is_some(),
    };
    let auto = shoal::auto(settings, given, cancel, &mut |event| {
        // The run plans too, and says what was detected.
        if !matches!(event, Event::Planned { .. }) {
            progress.apply(event);
        }
    });
    progress.clear();
    let auto = auto?;
    let backend = settings.backend.kind();
    let choice = describe(&auto, backend);
    if matches!(auto, Auto::AsBefore { .. }) || settings.limits.yes {
        if !progress.is_quiet() {
            say(&choice);
        }
        return Ok(());
    }
    if can_ask() {
        say(&choice);
        return match confirm("Run it?") {
            true => Ok(()),
            false => Err(Error::NeedsConsent { backend }),
        };
    }
    if !progress.is_quiet() {
        say(&choice);
    }
    match given.backend || backend == BackendKind::Local {
        true => Ok(()),
        false => Err(Error::NeedsConsent { backend }),
    }
}

/// The options that stand for the choice of a plan; those without a value are left out of the command that repeats the run.
fn choice_as_options(settings: &Settings) -> Vec<(&'static str, Option<String>)> {
    let concurrency = settings.backend.concurrency();
    let mut chosen = vec![
        ("backend", Some(settings.backend.kind().to_string())),
        (
            "batch-size",
            Some(settings.parameters.batch_size.to_string()),
        ),
        ("concurrency", concurrency.map(|number| number.to_string())),
    ];
    match &settings.backend {
        BackendConfig::Local(_) | BackendConfig::Process(_) => {}
        BackendConfig::StepFunctions(steps) => {
            let children = steps.children.map(|children| children.name().to_owned());
            chosen.extend([("children", children), ("machine", None)]);
        }
        _ => chosen.push(("machine", None)),
    }
    if settings.limits.max_usd.is_none() {
        chosen.push(("max-cost", None));
    }
    chosen
}

/// Calls `run`, shows its progress and prints its summary. Where it needs consent to its cost and the user gives it, it is
/// called again with `true`.
pub(crate) fn perform(
    logging: &LoggingOptions,
    mut run: impl FnMut(bool, &mut dyn FnMut(&Event)) -> Result<Summary>,
) -> Result<()> {
    let mut traces = logging.otlp.as_deref().map(Traces::start).transpose()?;
    let mut progress = Progress::new(logging.quiet == Some(true));
    let mut is_agreed = false;
    let end = loop {
        let end = run(is_agreed, &mut |event| {
            progress.apply(event);
            if let Some(traces) = &mut traces {
                traces.apply(event);
            }
        });
        progress.clear();
        match end {
            Err(Error::NeedsYes { usd, batches }) if !is_agreed && agrees(usd, batches) => {
                is_agreed = true;
            }
            end => break end,
        }
    };
    if let Some(traces) = traces {
        let error = end.as_ref().err();
        let error = error.filter(|error| !matches!(error, Error::Detached { .. }));
        // A run does not fail for its trace.
        if let Err(reason) = traces.end(error) {
            say(&format!(
                "warning: the trace was not sent, or not all of it (--otlp): {reason}"
            ));
        }
    }
    let summary = match end {
        // The user asked for it.
        Err(error @ Error::Detached { .. }) => {
            say(&message(&error));
            return Ok(());
        }
        end => end?,
    };
    if logging.json == Some(true) {
        print_json(&summary)?;
    } else if !progress.is_quiet() {
        say(&summary.to_string());
    }
    match summary.no_results {
        Some(no_results) => Err(no_results.into()),
        None => Ok(()),
    }
}

/// The choice of a plan.
fn describe(auto: &Auto, backend: BackendKind) -> String {
    match auto {
        Auto::AsBefore { batch_size } => {
            format!("resuming in batches of {} on {backend}", count(*batch_size))
        }
        Auto::Chosen {
            estimate,
            why,
            left_out,
        } => {
            let mut text = format!(
                "{}: {why}; expected to take {} for {}",
                candidate(estimate),
                duration(estimate.seconds),
                usd(estimate.usd())
            );
            match left_out {
                None => {}
                Some(LeftOut::NoStore) => {
                    text += "\nfunctions in the cloud were no candidates: they need an object store (--store)";
                }
                Some(LeftOut::NoFunction(reason)) => {
                    text += &format!("\nfunctions in the cloud were no candidates: {reason}");
                }
            }
            text
        }
    }
}

/// Whether the user at the terminal accepts the cost; without a terminal, no.
fn agrees(cost: f64, batches: u64) -> bool {
    confirm(&format!(
        "The remaining {} expected to cost {}. Continue?",
        plural(batches, "batch is", "batches are"),
        usd(cost)
    ))
}

/// The summary and the results cannot both go to standard output.
pub(crate) fn check_json(logging: &LoggingOptions, output: Option<&str>) -> Result<()> {
    if logging.json == Some(true) && output == Some("-") {
        return Err(Error::Settings(
            "--json prints the summary on standard output, where -o - writes the results; choose one"
                .into(),
        ));
    }
    Ok(())
}
