//! `shoal compare`: the paper's experiment.

use std::path::PathBuf;

use clap::Args;

use super::options::{
    BackendOptions, JobOptions, LimitOptions, PriceOptions, StoreOptions, heading,
};
use super::output::{header, paragraph, table, write};
use super::progress::Progress;
use super::report::ReportFormat;
use super::signals::cancel_on_signal;
use shoal::job::Error;
use shoal::planning::Architecture;
use shoal::reports::numbers::{change, count, duration, percent, usd};
use shoal::reports::{ComparisonReport, DEFINITIONS};
use shoal::{BackendConfig, CompareSettings, Result, Settings};

const EXAMPLES: &str = "\
Examples:
  shoal compare reviews.csv                             # on this machine, with real runs
  shoal compare reviews.csv --simulate                  # on Lambda, simulated from a calibration of this machine
  shoal compare reviews.csv --batch-sizes 50,250,1000 -o comparison.html --figures figures
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

    /// Also write each figure as an SVG file into this folder
    #[arg(long, value_name = "DIR", help_heading = heading::OUTPUT)]
    figures: Option<PathBuf>,

    /// Print nothing but errors
    #[arg(short, long, env = "SHOAL_QUIET", help_heading = heading::LOGGING)]
    quiet: bool,
}

pub(crate) fn compare(args: CompareArgs) -> Result<()> {
    let format = match args.format {
        None if args.output.as_os_str() == "-" => None,
        given => Some(ReportFormat::choose(
            given,
            &args.output,
            ReportFormat::Markdown,
        )?),
    };
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
    if let Some(folder) = &args.figures {
        std::fs::create_dir_all(folder)
            .map_err(|e| Error::storage("create", folder.display().to_string(), e))?;
        for (name, svg) in report.figures() {
            write(&folder.join(format!("{name}.svg")), &svg)?;
        }
    }
    let content = match format {
        None => text(&report),
        Some(ReportFormat::Html) => report.html(),
        Some(ReportFormat::Json) => report.json(),
        Some(ReportFormat::Csv) => report.csv(),
        Some(ReportFormat::Markdown) => report.markdown(),
    };
    write(&args.output, &content)
}

/// The comparison as text, in lines of at most 80 columns.
fn text(report: &ComparisonReport) -> String {
    let mut rows = vec![header(
        "BATCH,BATCHES,MONOLITHIC,PARALLEL,LESS TIME,COST,CHANGE,EFFICIENCY",
    )];
    for row in &report.rows {
        rows.push(vec![
            row.size(),
            count(row.batches),
            duration(row.monolithic_seconds),
            duration(row.parallel_seconds),
            percent(row.reduction),
            row.parallel_usd.map_or_else(|| "–".into(), usd),
            row.cost_change.map_or_else(|| "–".into(), change),
            percent(row.efficiency),
        ]);
    }
    let comparison = &report.comparison;
    let mut text = table(&rows);
    text.push('\n');
    let saved = format!(
        "{} less time in parallel, at a change in cost of {}",
        report.reductions(),
        report.cost_changes()
    );
    text += &paragraph("result", &saved);
    for (term, definition) in DEFINITIONS {
        text += &paragraph(term, definition);
    }
    let (records, at_once) = (count(comparison.records), count(comparison.concurrency));
    let place = format!(
        "{records} records, {}, at most {at_once} at a time; times are {}",
        comparison.place, comparison.basis
    );
    text += &paragraph("on", &place);
    for assumption in &comparison.assumptions {
        text += &paragraph("assumed", assumption);
    }
    text
}
