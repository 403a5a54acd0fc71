//! `shoal pack`

use indicatif::{ProgressBar, ProgressStyle};

use super::args::pack::PackArgs;
use super::commands::{cancel_on_signal, print_json};
use super::options::{TaskOptions, refuse};
use super::progress::say;
use shoal::reports::numbers::count;
use shoal::{Comparison, ModelSettings, PackSettings, PackSummary, Precision, Result, Target};

pub(super) fn pack(args: PackArgs) -> Result<()> {
    let json = args.json;
    if args.check.is_empty() {
        let why = "without --check";
        refuse(&args.input, why)?;
        refuse(
            &TaskOptions {
                task: None,
                ..args.task.clone()
            },
            why,
        )?;
    }
    let settings = PackSettings {
        model: ModelSettings {
            reference: Some(args.model),
            task: args.task.task(),
            max_tokens: args.task.max_tokens,
            ..ModelSettings::default()
        },
        output: args.output,
        precision: args.precision,
        isas: args.isa,
        check: args.check,
        parameters: args.input.parameters(),
    };
    // It is shown only on a terminal.
    let bar = ProgressBar::new_spinner().with_style(
        ProgressStyle::with_template("{spinner} {human_pos} records compared, {elapsed}")
            .expect("the template is sound"),
    );
    let cancel = cancel_on_signal();
    let end = shoal::pack(&settings, &cancel, &|records| bar.set_position(records));
    bar.finish_and_clear();
    let summary = end?;
    if json {
        return print_json(&summary);
    }
    say(&describe(&summary));
    Ok(())
}

fn describe(summary: &PackSummary) -> String {
    let isas: Vec<_> = summary.isas.iter().map(Target::to_string).collect();
    let mut text = format!(
        "packed     {} ({:.1} MB)\nengine     {} on {}",
        summary.output,
        summary.bytes as f64 / 1e6,
        summary.precision,
        isas.join(", "),
    );
    if let Some(check) = &summary.check {
        text += "\n";
        text += &describe_check(check, summary.precision);
    }
    text
}

fn describe_check(check: &Comparison, precision: Precision) -> String {
    let percent = |part: u64, of: u64| 100.0 * part as f64 / of as f64;
    let mut text = format!(
        "agreement  {:.2} % with f32 ({}; {} records)",
        100.0 * check.agreement(),
        check.measure,
        count(check.records),
    );
    if check.gold > 0 {
        text += &format!(
            "\naccuracy   {precision} {:.2} % ({} of {}), f32 {:.2} % ({})",
            percent(check.right_packed, check.gold),
            count(check.right_packed),
            count(check.gold),
            percent(check.right_f32, check.gold),
            count(check.right_f32),
        );
    }
    text
}
