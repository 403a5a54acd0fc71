//! `shoal plan`: predicts the time and cost of a job.

use std::fmt::Write;

use super::args::plan::PlanArgs;
use super::commands::{cancel_on_signal, print_json};
use super::options::model_settings;
use super::progress::{Progress, say};
use super::table::table;
use super::{print, write};
use shoal::planning::{Basis, Constraints, Estimate};
use shoal::reports::numbers::{count, duration, usd};
use shoal::{PlanReport, PlanSettings, Result};

pub(super) fn plan(args: PlanArgs) -> Result<()> {
    let candidates = args.candidates;
    let settings = PlanSettings {
        inputs: args.inputs,
        model: model_settings(&args.model, &args.engine, &args.task),
        parameters: args.input.parameters(),
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
        prices: candidates.prices,
    };
    let mut progress = Progress::new(args.json);
    let cancel = cancel_on_signal();
    let report = shoal::plan(&settings, &cancel, &mut |event| progress.apply(event));
    progress.clear();
    let report = report?;
    if let Some(path) = &args.save_calibration {
        let calibration = report.calibrations[0].json();
        write(path, calibration.as_bytes())?;
        say(&format!("saved the calibration in {}", path.display()));
    }
    if args.json {
        return print_json(&report);
    }
    print(text(&report, args.all).as_bytes())
}

/// The plan as text.
fn text(report: &PlanReport, all: bool) -> String {
    let mut text = head(report);
    let mut shown: Vec<usize> = if all {
        (0..report.estimates.len()).collect()
    } else {
        let fastest_of = |place: &str| {
            let of_place = (0..report.estimates.len()).filter(|&index| {
                let estimate = &report.estimates[index];
                estimate.place == place && estimate.broken.is_empty()
            });
            of_place.min_by(|&one, &other| {
                let seconds = |index: usize| report.estimates[index].seconds;
                seconds(one).total_cmp(&seconds(other))
            })
        };
        let mut places: Vec<&str> = report.estimates.iter().map(|e| e.place.as_str()).collect();
        places.sort_unstable();
        places.dedup();
        let fastest = places.into_iter().filter_map(fastest_of);
        report
            .pareto
            .iter()
            .copied()
            .chain(fastest)
            .chain(report.choice.index)
            .collect()
    };
    shown.sort_by(|&one, &other| {
        let seconds = |index: usize| report.estimates[index].seconds;
        seconds(one)
            .total_cmp(&seconds(other))
            .then(one.cmp(&other))
    });
    shown.dedup();
    text.push('\n');
    text += &table(&rows(report, &shown));
    text += "  * no other one is both faster and cheaper; > the choice; times and costs are predicted\n";
    if let Some(chosen) = report.chosen() {
        let _ = write!(
            text,
            "\nchoice     {}: {}",
            describe(chosen),
            report.choice.why
        );
        let _ = write!(text, "\n           {}", duration(chosen.seconds));
        if let Some(bill) = &chosen.bill {
            let items: Vec<_> = bill
                .items
                .iter()
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
    let broken: usize = report
        .estimates
        .iter()
        .filter(|e| !e.broken.is_empty())
        .count();
    if broken > 0 && !all {
        let first = report.estimates.iter().find_map(|e| e.broken.first());
        let _ = writeln!(
            text,
            "left out   {broken} candidates that exceed a limit, such as: {} (--all shows them)",
            first.map(String::as_str).unwrap_or_default()
        );
    }
    let _ = writeln!(
        text,
        "prices     of {} for {}, without free tiers",
        report.prices_date, report.region
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
    let counted = if workload.is_whole() {
        Basis::Measured
    } else {
        Basis::Predicted
    };
    row("tokens", count(report.tokens as u64), counted);
    let calibration = &report.calibrations[0];
    row(
        "engine",
        format!(
            "{} in {} on {}, timed on {} records",
            report.model, report.precision, calibration.isa, calibration.records
        ),
        Basis::Measured,
    );
    let mut work = format!("{} of one core", duration(report.work.seconds));
    // Lambda's glibc is too old for `hypot`.
    let error = (report.work.sampling_error.powi(2) + calibration.spread.powi(2)).sqrt();
    let _ = write!(work, ", ± {:.1} %", 100.0 * error.max(0.001));
    row("work", work, Basis::Predicted);
    row(
        "start",
        format!("{:.0} ms of an environment", 1e3 * calibration.init_seconds),
        Basis::Measured,
    );
    table(&rows)
}

fn rows(report: &PlanReport, shown: &[usize]) -> Vec<Vec<String>> {
    let mut rows = vec![
        [
            "",
            "WHERE",
            "ARCH",
            "MB",
            "BATCH",
            "AT A TIME",
            "TIME",
            "COST",
            "PER MILLION",
            "COLD",
            "",
        ]
        .map(String::from)
        .to_vec(),
    ];
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
            estimate.architecture.name().into(),
            estimate
                .memory_mb
                .map_or_else(|| "-".into(), |mb| mb.to_string()),
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
        format!(", {mb} MB, {}", estimate.architecture.name())
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
    match even.cheaper_from_records {
        None => text += "; functions are never more expensive",
        Some(records) => {
            let _ = write!(
                text,
                "; cheaper than functions from {} such records on, if the run may take {}",
                count(records.ceil() as u64),
                duration(
                    even.machine_seconds
                        * (records / report.workload.records.max(1) as f64).max(1.0)
                )
            );
        }
    }
    text
}
