//! `shoal resume`, `shoal retry` and `shoal collect`: they continue a run by its name.

use clap::Args;

use super::options::{
    BackendOptions, EngineOptions, LimitOptions, LoggingOptions, PriceOptions, heading,
};
use super::run::{check_json, perform};
use super::signals::cancel_on_signal;
use shoal::job::RunDir;
use shoal::{BackendConfig, BackendKind, Result, ResumeOptions, find_run, is_own};

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(help_heading = heading::RUN_DIR)]
    run: String,

    /// Where results are written [default: as the run was started]
    #[arg(short, long, value_name = "OUTPUT", help_heading = heading::OUTPUT)]
    output: Option<String>,

    #[command(flatten)]
    engine: EngineOptions,

    #[command(flatten)]
    backend: BackendOptions,

    #[command(flatten)]
    limits: LimitOptions,

    #[command(flatten)]
    prices: PriceOptions,

    /// Trust a run directory that another user created
    ///
    /// Its output, inputs, model and backend are used
    #[arg(long, help_heading = heading::RUN_DIR)]
    trust: bool,

    #[command(flatten)]
    logging: LoggingOptions,
}

pub(crate) const RESUME_EXAMPLES: &str = "\
Examples:
  shoal resume reviews-ebcf50ee
  shoal resume reviews-ebcf50ee --concurrency 2 --max-cost 5
  shoal resume s3://bucket/shoal/runs/reviews-ebcf50ee -o labels.csv";

pub(crate) const RETRY_EXAMPLES: &str = "\
Examples:
  shoal retry reviews-ebcf50ee
  shoal retry reviews-ebcf50ee --on-error keep";

const COLLECT_EXAMPLES: &str = "\
Examples:
  shoal collect reviews-ebcf50ee
  shoal collect s3://bucket/shoal/runs/reviews-ebcf50ee -o labels.parquet";

#[derive(Debug, Args)]
#[command(after_long_help = COLLECT_EXAMPLES)]
pub(crate) struct CollectArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(help_heading = heading::RUN_DIR)]
    run: String,

    /// Where results are written [default: as the run was started]
    #[arg(short, long, value_name = "OUTPUT", help_heading = heading::OUTPUT)]
    output: Option<String>,

    /// Trust a run directory that another user created
    ///
    /// Its output is used
    #[arg(long, help_heading = heading::RUN_DIR)]
    trust: bool,

    #[command(flatten)]
    logging: LoggingOptions,
}

/// Resumes a run; with `retry`, the records that crashed their function are processed too.
pub(crate) fn resume(args: &ResumeArgs, retry: bool) -> Result<()> {
    let run = find_run(&args.run)?;
    check_json(&args.logging, args.output.as_deref())?;
    let cancel = cancel_on_signal();
    let mut options = ResumeOptions {
        output: args.output.clone(),
        backend: backend(args, &run)?,
        trust: args.trust,
        limits: args.limits.limits(&args.prices),
        on_error: args.limits.on_error,
        retry,
        engine: args.engine.settings(None),
    };
    perform(&args.logging, |is_agreed, emit| {
        if is_agreed {
            options.limits.yes = true;
            // The records to retry are open already.
            options.retry = false;
        }
        shoal::resume(run.clone(), &options, &cancel, emit)
    })
}

/// The backend that a run resumes on. Settings in the run directory of another user count only with `--trust`; `None`
/// leaves it to the library to refuse them.
fn backend(args: &ResumeArgs, run: &RunDir) -> Result<Option<BackendConfig>> {
    let last = BackendConfig::last(run)?;
    let options = &args.backend;
    if args.trust || is_own(run)? {
        return options.config(last).map(Some);
    }
    if options.backend.is_none() && last.kind() != BackendKind::Local {
        return Ok(None);
    }
    options.config(BackendConfig::default()).map(Some)
}

pub(crate) fn collect(args: CollectArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    check_json(&args.logging, args.output.as_deref())?;
    perform(&args.logging, |_, emit| {
        shoal::collect(run.clone(), args.output.as_deref(), args.trust, emit)
    })
}
