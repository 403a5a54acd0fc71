//! `shoal compare`: the paper's experiment.

use super::args::compare::CompareArgs;
use super::args::report::ReportFormat;
use super::commands::cancel_on_signal;
use super::config::columns;
use super::print;
use super::progress::Progress;
use shoal::reports::ComparisonReport;
use shoal::{
    BackendConfig, BackendKind, CompareSettings, EngineSettings, Limits, Result, Settings,
};

pub(super) fn compare(args: CompareArgs) -> Result<()> {
    let mut run = Settings::new(args.inputs, "");
    run.model.reference = args.model;
    run.model.max_tokens = args.max_tokens;
    run.model.engine = EngineSettings {
        precision: args.precision.map(Into::into),
        isa: args.isa,
        cache_dir: args.cache_dir,
    };
    run.parameters.input_format = args.input_format.map(Into::into);
    run.parameters.columns = columns(args.text_column, None);
    run.place = BackendConfig {
        backend: args.backend.map_or(BackendKind::Local, Into::into),
        concurrency: args.concurrency,
        function: args.function,
        urls: args.url,
        machine: args.machine,
        ..BackendConfig::default()
    };
    run.store = args.store;
    run.limits = Limits {
        yes: args.yes,
        prices: args.prices,
        ..Limits::default()
    };
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
    if args.output.as_os_str() == "-" {
        return print(content.as_bytes());
    }
    std::fs::write(&args.output, content).map_err(|e| {
        shoal::job::Error::storage("write", args.output.display().to_string(), e).into()
    })
}

/// The command as it was typed.
fn command() -> String {
    let words = std::env::args()
        .skip(1)
        .map(|word| shoal::report::quoted(&word));
    std::iter::once("shoal".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
