//! `shoal bench`

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::options::{EngineOptions, ModelOptions, heading, time};
use super::output::{bar_style, count_of, header, print, show, table};
use shoal::Result;
use shoal::bench::{Bench, Grid, GridReport, Peak, SequencesReport, Setup};
use shoal::encoder::MICRO_BATCH_TOKENS;
use shoal::reports::numbers::{count, number, plural};

const EXAMPLES: &str = "\
Examples:
  shoal bench
  shoal bench --model ./my-distilbert --precision f32 --lengths 32,256 --micro-batches 0,512 --json
  shoal bench --sequences ids.json --threads 2 --json
  shoal bench --sequences ids.json --limit 4 --logits";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, next_help_heading = heading::INPUT)]
pub(crate) struct BenchArgs {
    /// Workers, each on its own thread
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024), help_heading = heading::BACKEND)]
    threads: u64,

    /// Lengths of the generated records, by commas
    ///
    /// In tokens [default: 16,64,128,256,512, up to the model's limit]
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        conflicts_with = "sequences"
    )]
    lengths: Option<Vec<usize>>,

    /// Tokens in a micro-batch, by commas
    ///
    /// 0 means one record at a time. Values that give the same micro-batches for a length are timed once
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        default_value = "0,256,512,1024",
        conflicts_with = "sequences"
    )]
    micro_batches: Vec<usize>,

    /// How long each length is timed with each micro-batch
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = time::seconds, conflicts_with = "sequences", help_heading = heading::LIMITS)]
    seconds: f64,

    /// Time the token ids in this file instead
    ///
    /// It is a JSON array of arrays of integers
    #[arg(long, value_name = "FILE")]
    sequences: Option<PathBuf>,

    /// Time this many of the sequences
    ///
    /// They are spread evenly over the file; with --logits, they are the first ones
    #[arg(long, value_name = "N", requires = "sequences", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Tokens in a micro-batch of the sequences
    ///
    /// 0 means one sequence at a time
    #[arg(long, value_name = "TOKENS", default_value_t = MICRO_BATCH_TOKENS, requires = "sequences")]
    micro_batch_tokens: usize,

    /// Print the logits of each sequence, and time nothing
    ///
    /// Each line is a JSON array, in the order of the sequences
    #[arg(long, requires = "sequences", conflicts_with = "json", help_heading = heading::OUTPUT)]
    logits: bool,

    /// Print the measurements as JSON
    #[arg(long, help_heading = heading::OUTPUT)]
    json: bool,

    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    engine: EngineOptions,
}

pub(crate) fn bench(args: BenchArgs) -> Result<()> {
    let engine = args.engine.settings(args.model.precision);
    let model = args.model.model.as_deref();
    let bench = Bench::open(model, &engine, args.threads as usize)?;
    let Some(path) = args.sequences else {
        let grid = Grid {
            lengths: args.lengths,
            micro_batches: args.micro_batches,
            seconds: args.seconds,
        };
        let bar = bar("cells");
        let report = bench.grid(&grid, &mut |done, of| {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        return show(&report?, args.json, describe_grid);
    };
    let mut sequences = bench.read_sequences(&path)?;
    let limit = args.limit.map(|limit| limit as usize);
    if args.logits {
        sequences.truncate(limit.unwrap_or(usize::MAX));
        let mut lines = Vec::new();
        for logits in bench.logits(&sequences, args.micro_batch_tokens) {
            serde_json::to_writer(&mut lines, &logits).expect("numbers are always JSON");
            lines.push(b'\n');
        }
        return print(lines);
    }
    let bar = bar("sequences");
    bar.set_length(sequences.len().min(limit.unwrap_or(usize::MAX)) as u64);
    let report = bench.sequences(&sequences, limit, args.micro_batch_tokens, &|done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    show(&report, args.json, describe_sequences)
}

/// It is shown only on a terminal.
fn bar(what: &str) -> ProgressBar {
    let template = format!("{{bar:16}} {{human_pos}} of {{human_len}} {what}, {{elapsed}}");
    ProgressBar::new(0).with_style(bar_style(&template))
}

fn describe_grid(report: &GridReport) -> String {
    let mut header = header("LENGTH,MICRO-BATCH,RECORDS/S,TOKENS/S,MS/RECORD,OF PEAK");
    let stages = report
        .cells
        .iter()
        .take(1)
        .flat_map(|cell| cell.stages.named());
    header.extend(stages.map(|(name, _)| name.to_uppercase()));
    header.push("REST".into());
    if report.peak.threads_gain.is_some() {
        header.push("GAIN".into());
    }
    let mut rows = vec![header];
    for cell in &report.cells {
        let mut row = vec![
            cell.length.to_string(),
            plural(cell.micro_batch_records as u64, "record", "records"),
            number(cell.records_per_s_wall),
            count(cell.tokens_per_s_wall.round() as u64),
            format!("{:.2}", cell.ms_per_record),
            cell.share_of_peak.map_or("-".into(), percent),
        ];
        let total = cell.stages.total();
        let stages = cell.stages.named();
        row.extend(stages.map(|(_, seconds)| percent(seconds / total)));
        row.push(percent(cell.share_of_rest));
        row.extend(cell.threads_gain.map(|gain| format!("{gain:.2}")));
        rows.push(row);
    }
    let mut text = table(&head(&report.setup, &report.peak));
    text += &format!("\n{}\n", table(&rows));
    text += &format!(
        "OF PEAK: the rate of the products, as a share of the peak rate of {}.\n\
         REST: everything but products and attention.\n",
        report.setup.precision
    );
    if report.peak.threads_gain.is_some() {
        text += "GAIN: records per second, as a multiple of one thread alone.\n";
    }
    if let Some(mb) = report.peak_rss_mb {
        text += &format!("memory: {mb:.0} MB peak resident size\n");
    }
    let least = report.cells.iter().map(|cell| cell.cpu_share);
    text += &disturbed(least.fold(f64::INFINITY, f64::min));
    text
}

fn describe_sequences(report: &SequencesReport) -> String {
    let mut rows = head(&report.setup, &report.peak);
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    let sequences = count_of(report.sequences as u64, report.tokens as u64);
    let gflop = report.gflop_per_record;
    row(
        "sequences",
        format!("{sequences} tokens, {gflop:.2} GFLOP each in full"),
    );
    let rates = |seconds: f64, records: f64, normalised: Option<f64>| {
        let mut text = format!("{seconds:.3} s, {} records/s", number(records));
        if let Some(rate) = normalised {
            text += &format!(", {} of the mean work of the file", number(rate));
        }
        text
    };
    let wall = rates(
        report.seconds_wall,
        report.records_per_s_wall,
        report.records_per_s_wall_normalised,
    );
    let tokens = count(report.tokens_per_s_wall.round() as u64);
    row("wall time", format!("{wall}, {tokens} tokens/s"));
    let cpu = rates(
        report.seconds_cpu,
        report.records_per_s_cpu,
        report.records_per_s_cpu_normalised,
    );
    row("CPU time", cpu);
    let total = report.stages.total();
    let stages = report.stages.named();
    let stages = stages.map(|(name, seconds)| format!("{name} {}", percent(seconds / total)));
    row("stages", stages.join(", "));
    let rest = percent(report.share_of_rest);
    row("rest", format!("{rest} is neither products nor attention"));
    if let Some(share) = report.share_of_peak {
        row("of peak", format!("{} during the products", percent(share)));
    }
    if let Some(mb) = report.peak_rss_mb {
        row("memory", format!("{mb:.0} MB peak resident size"));
    }
    table(&rows) + &disturbed(report.cpu_share)
}

/// A warning if other processes used the workers' cores.
fn disturbed(cpu_share: f64) -> String {
    const ENOUGH: f64 = 0.9;
    if cpu_share >= ENOUGH {
        return String::new();
    }
    format!(
        "warning: the threads had a core for only {} of their time; rates by wall time and shares of the peak are too low\n",
        percent(cpu_share)
    )
}

/// The rows of engine and peak.
fn head(setup: &Setup, peak: &Peak) -> Vec<Vec<String>> {
    let threads = plural(setup.threads as u64, "thread", "threads");
    let (model, precision, isa) = (&setup.model, setup.precision, setup.isa);
    let engine = format!("{model} in {precision} on {isa}, {threads}");
    let peak = describe_peak(peak, setup.threads);
    vec![vec!["engine".into(), engine], vec!["peak".into(), peak]]
}

fn describe_peak(peak: &Peak, threads: usize) -> String {
    let mut parts = Vec::new();
    if let Some(rate) = peak.f32_gflops {
        parts.push(format!("{rate:.1} GFLOP/s of multiply-adds"));
    }
    if let (Some(rate), Some(instructions)) = (peak.int8_gops, peak.int8_instructions) {
        parts.push(format!("{rate:.1} Gop/s of {instructions}"));
    }
    if parts.is_empty() {
        return "no instructions to time on this CPU".into();
    }
    let mut text = parts.join(", ") + " on one thread";
    if let Some(gain) = peak.threads_gain {
        text += &format!("; {threads} threads of multiply-adds reach {gain:.2} times as much");
    }
    text
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
