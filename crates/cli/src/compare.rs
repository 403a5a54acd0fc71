//! `shoal compare`: the paper's experiment.

use super::args::compare::CompareArgs;
use super::args::report::ReportFormat;
use super::commands::cancel_on_signal;
use super::options::{BackendOptions, LimitOptions, model_settings, refuse};
use super::progress::Progress;
use super::write;
use shoal::reports::ComparisonReport;
use shoal::{BackendConfig, CompareSettings, Result, Settings};

pub(super) fn compare(args: CompareArgs) -> Result<()> {
    if args.simulate {
        let why = "with --simulate";
        refuse(
            &BackendOptions {
                backend: None,
                concurrency: None,
                ..args.backend.clone()
            },
            why,
        )?;
        refuse(&args.store, why)?;
        refuse(
            &LimitOptions {
                prices: None,
                ..args.limits.clone()
            },
            why,
        )?;
    }
    let mut run = Settings::new(args.inputs, "");
    run.model = model_settings(&args.model, &args.engine, &args.task);
    run.parameters = args.input.parameters();
    run.backend = args.backend.config(BackendConfig::default())?;
    run.store = args.store.store;
    run.limits = args.limits.limits();
    run.on_error = args.limits.on_error.unwrap_or_default();
    let settings = CompareSettings {
        run,
        batch_sizes: args.batch_sizes,
        simulate: args.simulate,
        memory_mb: args.memory,
        region: args.region,
        calibrations: args.calibration,
        architecture: args.architecture,
        paper_baseline: args.paper_baseline,
        command: command(),
    };
    let mut progress = Progress::new(args.quiet);
    let cancel = cancel_on_signal();
    let comparison = shoal::compare(&settings, &cancel, &mut |event| progress.apply(event));
    progress.clear();
    let report = ComparisonReport::of(&comparison?);
    let content = match args.format {
        ReportFormat::Html => report.html(),
        ReportFormat::Json => report.json(),
        ReportFormat::Csv => report.csv(),
        ReportFormat::Markdown => report.markdown(),
    };
    write(&args.output, content.as_bytes())
}

/// The command as it was typed.
fn command() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    shoal::report::shell(&arguments)
}
