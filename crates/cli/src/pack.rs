//! `shoal pack`

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::options::{InputOptions, TaskOptions, heading, named};
use super::output::{bar_style, count_of, print_json, say};
use super::signals::cancel_on_signal;
use shoal::reports::numbers::{count, plural};
use shoal::{ModelSettings, PackSettings, PackSummary, Precision, Result, Target};

const EXAMPLES: &str = "\
Examples:
  shoal pack ./my-distilbert -o my.shoal
  shoal pack bundled -o sentiment.shoal --precision f32 --isa avx2,avx512-vnni
  shoal pack ./my-distilbert -o my.shoal --check reviews.csv --label-column label";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, next_help_heading = heading::MODEL)]
pub(crate) struct PackArgs {
    /// Model folder, name on the Hugging Face hub, or `bundled`
    model: String,

    /// The packed file
    #[arg(short, long, value_name = "FILE", help_heading = heading::OUTPUT)]
    output: PathBuf,

    /// Arithmetic of the packed model
    #[arg(long, value_name = "PRECISION", default_value = "int8", env = "SHOAL_PRECISION", value_parser = named(&Precision::ALL, Precision::name))]
    precision: Precision,

    /// Instruction sets, separated by commas
    ///
    /// This CPU need not have them [default: the best that this CPU supports]
    #[arg(long, value_name = "ISAS", value_delimiter = ',', env = "SHOAL_ISA", value_parser = named(&Target::ALL, Target::name))]
    isa: Vec<Target>,

    /// Compare the packed model with f32 on these inputs
    ///
    /// It prints the agreement, and with --label-column the accuracy of both
    #[arg(long, value_name = "DATA", num_args = 1.., help_heading = heading::INPUT)]
    check: Vec<String>,

    #[command(flatten)]
    input: InputOptions,

    #[command(flatten)]
    task: TaskOptions,

    /// Print the summary as JSON on standard output
    #[arg(long, help_heading = heading::OUTPUT)]
    json: bool,
}

pub(crate) fn pack(args: PackArgs) -> Result<()> {
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
    let bar = ProgressBar::new_spinner();
    bar.set_style(bar_style(
        "{spinner} records compared: {human_pos}, {elapsed}",
    ));
    let cancel = cancel_on_signal();
    let end = shoal::pack(&settings, &cancel, &|records| bar.set_position(records));
    bar.finish_and_clear();
    let summary = end?;
    if args.json {
        return print_json(&summary);
    }
    say(&describe(&summary));
    Ok(())
}

fn describe(summary: &PackSummary) -> String {
    let (packed, precision) = (&summary.output, summary.precision);
    let isas: Vec<_> = summary.isas.iter().map(Target::to_string).collect();
    let isas = isas.join(", ");
    let mb = summary.bytes as f64 / 1e6;
    let mut text = format!("packed     {packed} ({mb:.1} MB)\nengine     {precision} on {isas}");
    let Some(check) = &summary.check else {
        return text;
    };
    let (agreement, measure) = (100.0 * check.agreement(), check.measure);
    let records = plural(check.records, "record", "records");
    text += &format!("\nagreement  {agreement:.2} % with f32 ({measure}; {records})");
    if check.gold > 0 {
        let percent = |right: u64| 100.0 * right as f64 / check.gold as f64;
        text += &format!(
            "\naccuracy   {precision} {:.2} % ({}), f32 {:.2} % ({})",
            percent(check.right_packed),
            count_of(check.right_packed, check.gold),
            percent(check.right_f32),
            count(check.right_f32),
        );
    }
    text
}
