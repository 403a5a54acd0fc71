//! `shoal compare`: the paper's experiment.

use std::path::PathBuf;

use clap::Args;

use super::options::{
    BackendOptions, JobOptions, LimitOptions, PriceOptions, StoreOptions, heading,
};
use super::output::write;
use super::progress::Progress;
use super::report::ReportFormat;
use super::signals::cancel_on_signal;
use shoal::planning::Architecture;
use shoal::reports::ComparisonReport;
use shoal::{BackendConfig, CompareSettings, Result, Settings};

const EXAMPLES: &str = "\
Examples:
  shoal compare reviews.csv                             # on this machine, with real runs
  shoal compare reviews.csv --simulate                  # on Lambda, simulated from a calibration of this machine
  shoal compare reviews.csv --batch-sizes 50,250,1000 -o comparison.html
  shoal compare s3://bucket/reviews.csv --backend lambda --store s3://bucket/shoal --yes";

/// Options and groups of them that have no effect on a simulation.
const OF_REAL_RUNS: [&str; 10] = [
    "StoreOptions",
    "LimitOptions",
    "url",
    "function",
    "state_machine",
    "children",
    "tolerated_failures",
    "timeout",
    "detach",
    "machine",
];

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CompareArgs {
    /// Files, folders, patterns or URLs, as for `run`
    #[arg(required = true, value_name = "INPUT", help_heading = heading::INPUT)]
    inputs: Vec<String>,

    /// html, json, csv or markdown
    ///
    /// [default: by the ending of the output, else markdown]
    #[arg(long, value_name = "FORMAT", help_heading = heading::OUTPUT)]
    format: Option<ReportFormat>,

    /// A file, or - for standard output
    ///
    /// The ending decides the format: .html, .json, .csv or .md
    #[arg(short, long, value_name = "OUTPUT", default_value = "-", help_heading = heading::OUTPUT)]
    output: PathBuf,

    #[command(flatten)]
    job: JobOptions,

    /// Batch sizes, separated by commas
    ///
    /// [default: the paper's, 50,100,125,200,250,333,500,625,1000]
    #[arg(long, value_name = "N,…", value_delimiter = ',', help_heading = heading::BACKEND)]
    batch_sizes: Vec<u64>,

    /// Simulate the runs on Lambda, and run nothing
    ///
    /// The simulation starts from a calibration of this machine
    #[arg(long, conflicts_with_all = OF_REAL_RUNS, help_heading = heading::BACKEND)]
    simulate: bool,

    /// Memory in MB by which functions are billed if the platform does not report it [default: 1769]
    #[arg(long, value_name = "MB", hide_short_help = true, help_heading = heading::BACKEND)]
    memory: Option<u32>,

    /// Architecture of the simulated functions [default: x86_64]
    #[arg(
        long,
        value_name = "ARCH",
        requires = "simulate",
        hide_short_help = true, help_heading = heading::BACKEND)]
    architecture: Option<Architecture>,

    /// Region whose prices apply if the platform does not report it [default: us-east-1]
    #[arg(long, value_name = "REGION", hide_short_help = true, help_heading = heading::BACKEND)]
    region: Option<String>,

    /// A calibration from `shoal plan --save-calibration`
    #[arg(
        long,
        value_name = "FILE",
        requires = "simulate",
        hide_short_help = true, help_heading = heading::BACKEND)]
    calibration: Vec<PathBuf>,

    /// Measurements of the paper's own method, padded batches through PyTorch, by tools/paper_baseline.py
    #[arg(long, value_name = "FILE", hide_short_help = true, help_heading = heading::BACKEND)]
    paper_baseline: Option<PathBuf>,

    #[command(flatten)]
    backend: BackendOptions,

    #[command(flatten)]
    limits: LimitOptions,

    #[command(flatten)]
    prices: PriceOptions,

    #[command(flatten)]
    store: StoreOptions,

    /// Print nothing but errors
    #[arg(short, long, env = "SHOAL_QUIET", help_heading = heading::LOGGING)]
    quiet: bool,
}

pub(crate) fn compare(args: CompareArgs) -> Result<()> {
    let format = ReportFormat::choose(args.format, &args.output, ReportFormat::Markdown)?;
    let mut run = Settings::new(args.inputs, "");
    run.model = args.job.model_settings();
    run.parameters = args.job.input.parameters();
    run.backend = args.backend.config(BackendConfig::default())?;
    run.store = args.store.store;
    run.limits = args.limits.limits(&args.prices);
    run.on_error = args.limits.on_error;
    let settings = CompareSettings {
        run,
        batch_sizes: args.batch_sizes,
        simulate: args.simulate,
        memory_mb: args.memory,
        region: args.region,
        calibrations: args.calibration,
        architecture: args.architecture,
        paper_baseline: args.paper_baseline,
        command: shoal::report::shell(&std::env::args().skip(1).collect::<Vec<_>>()),
    };
    let mut progress = Progress::new(args.quiet);
    let cancel = cancel_on_signal();
    let comparison = shoal::compare(&settings, &cancel, &mut |event| progress.apply(event));
    progress.clear();
    let report = ComparisonReport::of(&comparison?);
    let content = match format {
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Markdown => report.markdown(),
    };
    write(&args.output, &content)
}
