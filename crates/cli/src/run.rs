//! `shoal run`, and what it shares with the commands that resume a run.

use clap::{ArgMatches, Args};

use super::hint::message;
use super::options::{LoggingOptions, RunOptions, arguments, heading};
use super::output::{confirm, print_json, say};
use super::progress::Progress;
use super::signals::cancel_on_signal;
#[cfg(not(feature = "otel"))]
use super::traces::Traces;
use shoal::reports::numbers::{count, duration, plural, usd};
#[cfg(feature = "otel")]
use shoal::traces::Traces;
use shoal::{Auto, Error, Event, Result, Summary};

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
        let mut progress = Progress::new(options.logging.quiet == Some(true));
        let batch_size = options.batches.batch_size;
        let choice = shoal::auto(&mut settings, batch_size, &cancel, &mut |event| {
            progress.apply(event);
        });
        progress.clear();
        let choice = describe(&choice?);
        if !progress.is_quiet() {
            say(&choice);
        }
        let concurrency = settings.backend.concurrency();
        chosen = vec![
            (
                "batch-size",
                Some(settings.parameters.batch_size.to_string()),
            ),
            ("concurrency", concurrency.map(|number| number.to_string())),
        ];
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
fn describe(auto: &Auto) -> String {
    match auto {
        Auto::AsBefore { batch_size } => {
            format!("resuming in batches of {}", count(*batch_size))
        }
        Auto::Chosen { estimate, why } => {
            let cost = estimate
                .usd()
                .map_or_else(String::new, |cost| format!(" for {}", usd(cost)));
            format!(
                "batches of {}, {} at a time: {why}; expected to take {}{cost}",
                count(estimate.batch_size),
                count(estimate.concurrency),
                duration(estimate.seconds)
            )
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
