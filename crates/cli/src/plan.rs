//! `shoal plan`: predicts the time and cost of a job.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::options::{JobOptions, PriceOptions, heading, named, time};
use super::output::{header, paragraph, print, print_json, say, table, write};
use super::progress::Progress;
use super::report::ReportFormat;
use super::signals::cancel_on_signal;
use shoal::planning::{Architecture, Basis, BreakEven, Constraints, Plan};
use shoal::reports::PlanReport;
use shoal::reports::numbers::{count, duration, plural, usd};
use shoal::reports::plan::describe;
use shoal::{BackendKind, Error, Machine, PlanSettings, Result};

const EXAMPLES: &str = "\
Examples:
  shoal plan reviews.csv                                        # every backend
  shoal plan reviews.csv -o plan.html                           # with charts over memory and batch size
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
    #[arg(long, conflicts_with = "json", help_heading = heading::OUTPUT)]
    all: bool,

    /// Also show what the times and costs are based on, and what is assumed
    #[arg(long, conflicts_with = "json", help_heading = heading::OUTPUT)]
    explain: bool,

    /// Write the plan to this file instead, by its ending: .html (a page with charts), .md, .csv or .json
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["json", "all", "explain"], help_heading = heading::OUTPUT)]
    output: Option<PathBuf>,

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

    /// A machine to rent, with its price
    ///
    /// May be given several times. The name `local` is this machine, which costs nothing by default
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
    let format = args.output.as_deref();
    let format = format.map(|path| ReportFormat::choose(None, path, ReportFormat::Markdown));
    let format = format.transpose()?;
    let candidates = args.candidates;
    let (here, machines) = candidates
        .machine
        .into_iter()
        .partition::<Vec<_>, _>(|machine| machine.name == BackendKind::Local.name());
    let settings = PlanSettings {
        inputs: args.inputs,
        model: args.job.model_settings(),
        parameters: args.job.input.parameters(),
        backends: candidates.backend.into_iter().collect(),
        this_machine: here.into_iter().next_back(),
        machines,
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
        command: shoal::report::shell(&std::env::args().skip(1).collect::<Vec<_>>()),
    };
    let mut progress = Progress::new(args.json);
    let cancel = cancel_on_signal();
    let plan = shoal::plan(&settings, &cancel, &mut |event| progress.apply(event));
    progress.clear();
    let plan = plan?;
    if let Some(path) = &args.save_calibration {
        let calibration = plan.calibrations[0].json();
        write(path, &calibration)?;
        say(&format!("saved the calibration in {}", path.display()));
    }
    match (format, &args.output) {
        (Some(format), Some(path)) => {
            let report = PlanReport::of(&plan);
            let content = match format {
                ReportFormat::Html => report.html(),
                ReportFormat::Json => report.json(),
                ReportFormat::Csv => report.csv(),
                ReportFormat::Markdown => report.markdown(),
            };
            write(path, &content)?;
            if plan.choice.index.is_some() {
                say(&choice(&plan));
            }
        }
        _ if args.json => print_json(&plan)?,
        _ => print(text(&plan, args.all, args.explain))?,
    }
    match plan.choice.index {
        Some(_) => Ok(()),
        None => Err(Error::NothingFits {
            reason: plan.choice.why,
        }),
    }
}

/// The plan as text, in lines of at most 80 columns.
fn text(plan: &Plan, all: bool, explain: bool) -> String {
    let mut text = head(plan);
    let estimates = &plan.estimates;
    let mut shown: Vec<usize> = (0..estimates.len()).collect();
    shown.sort_by(|&one, &other| estimates[one].seconds.total_cmp(&estimates[other].seconds));
    if !all {
        let mut places = BTreeSet::new();
        shown.retain(|index| {
            let estimate = &estimates[*index];
            let is_fastest = estimate.broken.is_empty() && places.insert(&estimate.place);
            is_fastest || plan.pareto.contains(index) || plan.choice.index == Some(*index)
        });
    }
    text.push('\n');
    for line in table(&rows(plan, &shown)).lines().enumerate() {
        text += line.1;
        text.push('\n');
        let index = line.0.checked_sub(1).map(|row| shown[row]);
        for limit in index.iter().flat_map(|&index| &estimates[index].broken) {
            text += &paragraph("    exceeds", limit);
        }
    }
    text += "  * no other one is both faster and cheaper; > the choice; all are predicted\n\n";
    text += &choice(plan);
    text.push('\n');
    for even in &plan.break_even {
        text += &paragraph(&even.machine, &break_even(even, plan));
    }
    let mut reasons = estimates.iter().filter_map(|e| e.broken.first());
    if let Some(first) = reasons.next().filter(|_| !all) {
        let broken = 1 + reasons.count();
        let candidates = plural(
            broken as u64,
            "candidate that exceeds a limit",
            "candidates that exceed a limit",
        );
        let left_out = format!("{candidates}, such as: {first} (--all shows all)");
        text += &paragraph("left out", &left_out);
    }
    let (date, region) = (&plan.prices_date, &plan.region);
    text += &paragraph(
        "prices",
        &format!("of {date} for {region}, without free tiers"),
    );
    if !explain {
        let assumed = plan.assumptions.len();
        text += &paragraph(
            "assumed",
            &format!(
                "{}; --explain lists them",
                plural(assumed as u64, "thing", "things")
            ),
        );
        return text;
    }
    for assumption in &plan.assumptions {
        text += &paragraph("assumed", assumption);
    }
    text
}

/// The choice, its time and its cost, and what is faster.
fn choice(plan: &Plan) -> String {
    let Some(chosen) = plan.chosen() else {
        return paragraph("choice", "none").trim_end().to_owned();
    };
    let mut text = paragraph("choice", &describe(chosen));
    text += &paragraph("why", &plan.choice.why);
    let million = chosen.usd() / plan.workload.records.max(1) as f64 * 1e6;
    let mut expected = format!("{}, {}", duration(chosen.seconds), usd(chosen.usd()));
    if chosen.usd() > 0.0 {
        let items = chosen.bill.items.iter();
        let items: Vec<_> = items
            .map(|item| format!("{} {}", item.name, usd(item.usd)))
            .collect();
        let _ = write!(
            expected,
            " ({}), {} per million records",
            items.join(", "),
            usd(million)
        );
    }
    text += &paragraph("expected", &expected);
    if let Some([shortest, longest]) = plan.cold_starts {
        let range = format!(
            "{} to {}, {} to {}, if a cold start takes {} to {}",
            duration(shortest.seconds),
            duration(longest.seconds),
            usd(shortest.usd),
            usd(longest.usd),
            duration(shortest.cold.seconds()),
            duration(longest.cold.seconds())
        );
        text += &paragraph("range", &range);
    }
    let fastest = plan
        .fastest()
        .filter(|one| one.seconds < chosen.seconds / 2.0);
    if let Some(fastest) = fastest {
        let faster = format!(
            "{}: {} for {}; --deadline chooses by time",
            describe(fastest),
            duration(fastest.seconds),
            usd(fastest.usd())
        );
        text += &paragraph("faster", &faster);
    }
    text.trim_end().to_owned()
}

fn head(plan: &Plan) -> String {
    let workload = &plan.workload;
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String, basis: Basis| {
        rows.push(vec![name.to_owned(), value, basis.to_string()]);
    };
    row("records", count(workload.records), Basis::Measured);
    let counted = match workload.is_whole() {
        true => Basis::Measured,
        false => Basis::Predicted,
    };
    row("tokens", count(plan.tokens as u64), counted);
    let calibration = &plan.calibrations[0];
    let engine = format!("{} on {}", plan.precision, calibration.isa.name());
    row(
        "engine",
        format!(
            "{engine}, timed on {}",
            plural(calibration.records, "record", "records")
        ),
        Basis::Measured,
    );
    let mut work = format!("{} of one core", duration(plan.work.seconds));
    let _ = write!(work, ", ± {:.1} %", 100.0 * plan.work_error().max(0.001));
    row("work", work, Basis::Predicted);
    table(&rows)
}

fn rows(plan: &Plan, shown: &[usize]) -> Vec<Vec<String>> {
    let mut rows = vec![header(",WHERE,ARCH,MB,BATCH,AT ONCE,TIME,COST")];
    for &index in shown {
        let estimate = &plan.estimates[index];
        let is_chosen = plan.choice.index == Some(index);
        let mark = match (is_chosen, plan.pareto.contains(&index)) {
            (true, true) => ">*",
            (true, false) => ">",
            (false, true) => " *",
            (false, false) => "",
        };
        rows.push(vec![
            mark.into(),
            short(&estimate.place),
            estimate.architecture.to_string(),
            estimate.memory_mb.map_or("-".into(), |mb| mb.to_string()),
            count(estimate.batch_size),
            count(estimate.concurrency),
            duration(estimate.seconds),
            usd(estimate.usd()),
        ]);
    }
    rows
}

/// A name that leaves room for the other columns.
fn short(place: &str) -> String {
    const MOST: usize = "step-functions standard".len();
    match place.chars().count() {
        0..=MOST => place.to_owned(),
        _ => place.chars().take(MOST - 1).chain(['…']).collect(),
    }
}

fn break_even(even: &BreakEven, plan: &Plan) -> String {
    let mut text = format!(
        "{} for {}, functions {} for {}",
        duration(even.machine_seconds),
        usd(even.machine_usd),
        duration(even.functions_seconds),
        usd(even.functions_usd)
    );
    text += &match even.cheaper_from_records {
        None => "; functions are never more expensive".into(),
        Some(records) => {
            let share = records / plan.workload.records.max(1) as f64;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_of_machines_are_shortened() {
        assert_eq!(short("step-functions standard"), "step-functions standard");
        assert_eq!(short(&"m".repeat(30)), format!("{}…", "m".repeat(22)));
    }
}
