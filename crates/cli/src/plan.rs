//! `shoal plan`: predicts the time and cost of a job.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::options::{JobOptions, PriceOptions, heading, named, time};
use super::output::{header, say, show, table, write};
use super::progress::Progress;
use super::signals::cancel_on_signal;
use shoal::planning::{Architecture, Basis, Constraints, Estimate};
use shoal::reports::numbers::{count, duration, plural, usd};
use shoal::{BackendKind, Machine, PlanReport, PlanSettings, Result};

const EXAMPLES: &str = "\
Examples:
  shoal plan reviews.csv                                        # every backend
  shoal plan reviews.csv --backend lambda --deadline 5m
  shoal plan reviews.csv --max-cost 2.00 --machine spot=0.085:4 --machine desk=0:8
  shoal plan reviews.csv --save-calibration here.json           # and later: --calibration here.json";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct PlanArgs {
    /// Files, folders, patterns, URLs, or - for stdin
    #[arg(required = true, value_name = "INPUT", help_heading = heading::INPUT)]
    inputs: Vec<String>,

    /// Show all candidates
    ///
    /// Not only those that no other one beats in both time and cost
    #[arg(long, help_heading = heading::OUTPUT)]
    all: bool,

    /// Print the plan as JSON
    #[arg(long, help_heading = heading::OUTPUT)]
    json: bool,

    /// Save this machine's calibration
    #[arg(long, value_name = "FILE", help_heading = heading::OUTPUT)]
    save_calibration: Option<PathBuf>,

    #[command(flatten)]
    job: JobOptions,

    #[command(flatten)]
    candidates: CandidateArgs,
}

/// Which candidates are simulated, and on what assumptions.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::BACKEND)]
pub(crate) struct CandidateArgs {
    /// Where functions may run [default: anywhere]
    ///
    /// [default: every backend that can be planned for]
    #[arg(long, value_name = "BACKEND", value_parser = named(BackendKind::ALL, BackendKind::name))]
    backend: Option<BackendKind>,

    /// A machine with a price
    ///
    /// The local or array backend uses it; may be given several times
    #[arg(long, value_name = "NAME=USD_PER_HOUR:VCPUS")]
    machine: Vec<Machine>,

    /// Batch sizes to try, separated by commas
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        hide_short_help = true
    )]
    batch_sizes: Vec<u64>,

    /// Numbers of concurrent functions to try, separated by commas
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        hide_short_help = true
    )]
    concurrency: Vec<u64>,

    /// Memory sizes of functions to try in MB, separated by commas [default: 512,1024,1769]
    #[arg(
        long,
        value_name = "MB,…",
        value_delimiter = ',',
        hide_short_help = true
    )]
    memory: Vec<u32>,

    /// Architectures of functions to try: x86_64, arm64 [default: both]
    #[arg(
        long,
        value_name = "ARCH,…",
        value_delimiter = ',',
        hide_short_help = true
    )]
    architecture: Vec<Architecture>,

    /// Concurrent environments of the account [default: 1000, assumed]
    #[arg(long, value_name = "N", hide_short_help = true)]
    quota: Option<u64>,

    /// Region whose prices apply [default: us-east-1]
    #[arg(long, value_name = "REGION", hide_short_help = true)]
    region: Option<String>,

    /// Time limit, such as 90s, 5m or 2h
    ///
    /// The cheapest candidate within it is chosen
    #[arg(long, value_name = "TIME", value_parser = time::seconds, help_heading = heading::LIMITS)]
    deadline: Option<f64>,

    /// Cost limit in USD
    ///
    /// The fastest candidate within it is chosen
    #[arg(long, value_name = "USD", env = "SHOAL_MAX_COST", help_heading = heading::LIMITS)]
    max_cost: Option<f64>,

    #[command(flatten)]
    prices: PriceOptions,

    /// A saved calibration, possibly of another machine; one per architecture
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    calibration: Vec<PathBuf>,

    /// Learn the platform's times from this run of the backend lambda, instead of assuming them
    #[arg(long, value_name = "RUN", hide_short_help = true)]
    from_run: Option<String>,
}

pub(crate) fn plan(args: PlanArgs) -> Result<()> {
    let candidates = args.candidates;
    let settings = PlanSettings {
        inputs: args.inputs,
        model: args.job.model_settings(),
        parameters: args.job.input.parameters(),
        backend: candidates.backend,
        machines: candidates.machine,
        batch_sizes: candidates.batch_sizes,
        concurrency: candidates.concurrency,
        memory: candidates.memory,
        architectures: candidates.architecture,
        quota: candidates.quota,
        region: candidates.region,
        constraints: Constraints {
            deadline_seconds: candidates.deadline,
            max_usd: candidates.max_cost,
        },
        calibrations: candidates.calibration,
        from_run: candidates.from_run,
        prices: candidates.prices.prices,
    };
    let mut progress = Progress::new(args.json);
    let cancel = cancel_on_signal();
    let report = shoal::plan(&settings, &cancel, &mut |event| progress.apply(event));
    progress.clear();
    let report = report?;
    if let Some(path) = &args.save_calibration {
        let calibration = report.calibrations[0].json();
        write(path, &calibration)?;
        say(&format!("saved the calibration in {}", path.display()));
    }
    show(&report, args.json, |report| text(report, args.all))
}

/// The plan as text.
fn text(report: &PlanReport, all: bool) -> String {
    let mut text = head(report);
    let estimates = &report.estimates;
    let mut shown: Vec<usize> = (0..estimates.len()).collect();
    shown.sort_by(|&one, &other| estimates[one].seconds.total_cmp(&estimates[other].seconds));
    if !all {
        let mut places = BTreeSet::new();
        shown.retain(|index| {
            let estimate = &estimates[*index];
            let is_fastest = estimate.broken.is_empty() && places.insert(&estimate.place);
            is_fastest || report.pareto.contains(index) || report.choice.index == Some(*index)
        });
    }
    text.push('\n');
    text += &table(&rows(report, &shown));
    text += "  * no other one is both faster and cheaper; > the choice; times and costs are predicted\n";
    if let Some(chosen) = report.chosen() {
        let (candidate, why) = (describe(chosen), &report.choice.why);
        let _ = write!(text, "\nchoice     {candidate}: {why}");
        let _ = write!(text, "\n           {}", duration(chosen.seconds));
        if let Some(bill) = &chosen.bill {
            let items = bill.items.iter();
            let items: Vec<_> = items
                .map(|item| format!("{} {}", item.name, usd(item.usd)))
                .collect();
            let _ = write!(text, ", {} ({})", usd(bill.usd()), items.join(", "));
        }
        text.push('\n');
    } else {
        let _ = writeln!(text, "\nchoice     none: {}", report.choice.why);
    }
    for even in &report.break_even {
        let _ = writeln!(text, "{}", break_even(even, report));
    }
    let mut reasons = estimates.iter().filter_map(|e| e.broken.first());
    if let Some(first) = reasons.next().filter(|_| !all) {
        let broken = 1 + reasons.count();
        let _ = writeln!(
            text,
            "left out   {}, such as: {first} (--all shows all)",
            plural(
                broken as u64,
                "candidate that exceeds a limit",
                "candidates that exceed a limit"
            )
        );
    }
    let (date, region) = (&report.prices_date, &report.region);
    let _ = writeln!(
        text,
        "prices     of {date} for {region}, without free tiers"
    );
    for assumption in &report.assumptions {
        let _ = writeln!(text, "assumed    {assumption}");
    }
    text
}

fn head(report: &PlanReport) -> String {
    let workload = &report.workload;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String, basis: Basis| {
        rows.push(vec![name.to_owned(), value, basis.to_string()]);
    };
    row("records", count(workload.records), Basis::Measured);
    let counted = match workload.is_whole() {
        true => Basis::Measured,
        false => Basis::Predicted,
    };
    row("tokens", count(report.tokens as u64), counted);
    let calibration = &report.calibrations[0];
    let (isa, timed) = (calibration.isa.name(), calibration.records);
    let engine = format!("{} in {} on {isa}", report.model, report.precision);
    row(
        "engine",
        format!("{engine}, timed on {}", plural(timed, "record", "records")),
        Basis::Measured,
    );
    let mut work = format!("{} of one core", duration(report.work.seconds));
    // Lambda's glibc is too old for `hypot`.
    let error = (report.work.sampling_error.powi(2) + calibration.spread.powi(2)).sqrt();
    let _ = write!(work, ", ± {:.1} %", 100.0 * error.max(0.001));
    row("work", work, Basis::Predicted);
    let start = format!("{:.0} ms of an environment", 1e3 * calibration.init_seconds);
    row("start", start, Basis::Measured);
    table(&rows)
}

fn rows(report: &PlanReport, shown: &[usize]) -> Vec<Vec<String>> {
    let mut rows = vec![header(
        ",WHERE,ARCH,MB,BATCH,AT A TIME,TIME,COST,PER MILLION,COLD,",
    )];
    for &index in shown {
        let estimate = &report.estimates[index];
        let is_chosen = report.choice.index == Some(index);
        let mark = match (is_chosen, report.pareto.contains(&index)) {
            (true, true) => ">*",
            (true, false) => ">",
            (false, true) => " *",
            (false, false) => "",
        };
        let cost = estimate.usd();
        let million = 1e6 / report.workload.records.max(1) as f64;
        rows.push(vec![
            mark.into(),
            estimate.place.clone(),
            estimate.architecture.to_string(),
            estimate.memory_mb.map_or("-".into(), |mb| mb.to_string()),
            count(estimate.batch_size),
            count(estimate.concurrency),
            duration(estimate.seconds),
            cost.map_or_else(|| "no price".into(), usd),
            cost.map_or_else(String::new, |cost| usd(cost * million)),
            count(estimate.cold_starts),
            estimate.broken.join("; "),
        ]);
    }
    rows
}

fn describe(estimate: &Estimate) -> String {
    let memory = estimate.memory_mb.map_or_else(String::new, |mb| {
        format!(", {mb} MB, {}", estimate.architecture)
    });
    format!(
        "{}{memory}, batches of {}, {} at a time",
        estimate.place,
        count(estimate.batch_size),
        count(estimate.concurrency)
    )
}

fn break_even(even: &shoal::BreakEven, report: &PlanReport) -> String {
    let mut text = format!(
        "{:<10} {} for {}, functions {} for {}",
        even.machine,
        duration(even.machine_seconds),
        usd(even.machine_usd),
        duration(even.functions_seconds),
        usd(even.functions_usd)
    );
    text += &match even.cheaper_from_records {
        None => "; functions are never more expensive".into(),
        Some(records) => {
            let share = records / report.workload.records.max(1) as f64;
            let (records, time) = (
                count(records.ceil() as u64),
                even.machine_seconds * share.max(1.0),
            );
            let time = duration(time);
            format!(
                "; cheaper than functions from {records} such records on, if the run may take {time}"
            )
        }
    };
    text
}
