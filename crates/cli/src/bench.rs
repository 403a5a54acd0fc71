//! `shoal bench`

use indicatif::{ProgressBar, ProgressStyle};

use super::args::bench::BenchArgs;
use super::commands::print_json;
use super::print;
use super::table::table;
use shoal::bench::{Bench, Grid, GridReport, Peak, SequencesReport, Setup};
use shoal::reports::numbers::{count, number};
use shoal::{EngineSettings, Result};

pub(super) fn bench(args: BenchArgs) -> Result<()> {
    let engine = EngineSettings {
        precision: args.model.precision,
        ..args.engine.settings()
    };
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
        let report = report?;
        return if args.json {
            print_json(&report)
        } else {
            print(describe_grid(&report).as_bytes())
        };
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
        return print(&lines);
    }
    let bar = bar("sequences");
    bar.set_length(sequences.len().min(limit.unwrap_or(usize::MAX)) as u64);
    let report = bench.sequences(&sequences, limit, args.micro_batch_tokens, &|done| {
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    if args.json {
        print_json(&report)
    } else {
        print(describe_sequences(&report).as_bytes())
    }
}

/// It is shown only on a terminal.
fn bar(what: &str) -> ProgressBar {
    let template = format!("{{bar:16}} {{human_pos}} of {{human_len}} {what}, {{elapsed}}");
    ProgressBar::new(0).with_style(
        ProgressStyle::with_template(&template)
            .expect("the template is sound")
            .progress_chars("█▉▊▋▌▍▎▏ "),
    )
}

fn describe_grid(report: &GridReport) -> String {
    let stages = [
        "PRODUCTS",
        "ATTENTION",
        "QUANTIZING",
        "ACTIVATION",
        "NORMS",
        "EMBEDDING",
        "REST",
    ];
    let mut header = vec![
        "LENGTH",
        "MICRO-BATCH",
        "RECORDS/S",
        "TOKENS/S",
        "MS/RECORD",
        "OF PEAK",
    ];
    header.extend(stages);
    if report.peak.threads_gain.is_some() {
        header.push("GAIN");
    }
    let mut rows = vec![header.into_iter().map(String::from).collect()];
    for cell in &report.cells {
        let mut row = vec![
            cell.length.to_string(),
            match cell.micro_batch_records {
                1 => "1 record".into(),
                records => format!("{records} records"),
            },
            number(cell.records_per_s_wall),
            count(cell.tokens_per_s_wall.round() as u64),
            format!("{:.2}", cell.ms_per_record),
            cell.share_of_peak.map_or("-".into(), percent),
        ];
        let total = cell.stages.total();
        row.extend(
            cell.stages
                .named()
                .map(|(_, seconds)| percent(seconds / total)),
        );
        row.push(percent(cell.share_of_rest));
        row.extend(cell.threads_gain.map(|gain| format!("{gain:.2}")));
        rows.push(row);
    }
    let mut text = table(&[
        vec!["engine".into(), engine(&report.setup)],
        vec![
            "peak".into(),
            describe_peak(&report.peak, report.setup.threads),
        ],
    ]);
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
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("engine", engine(&report.setup));
    row("peak", describe_peak(&report.peak, report.setup.threads));
    row(
        "sequences",
        format!(
            "{} of {} tokens, {:.2} GFLOP each in full",
            count(report.sequences as u64),
            count(report.tokens as u64),
            report.gflop_per_record
        ),
    );
    let rates = |seconds: f64, records: f64, normalised: Option<f64>| {
        let mut text = format!("{seconds:.3} s, {} records/s", number(records));
        if let Some(rate) = normalised {
            text += &format!(", {} of the mean work of the file", number(rate));
        }
        text
    };
    row(
        "wall time",
        rates(
            report.seconds_wall,
            report.records_per_s_wall,
            report.records_per_s_wall_normalised,
        ) + &format!(
            ", {} tokens/s",
            count(report.tokens_per_s_wall.round() as u64)
        ),
    );
    row(
        "CPU time",
        rates(
            report.seconds_cpu,
            report.records_per_s_cpu,
            report.records_per_s_cpu_normalised,
        ),
    );
    let total = report.stages.total();
    let stages = report.stages.named();
    let stages = stages.map(|(name, seconds)| format!("{name} {}", percent(seconds / total)));
    row("stages", stages.join(", "));
    row(
        "rest",
        format!(
            "{} is neither products nor attention",
            percent(report.share_of_rest)
        ),
    );
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

fn engine(setup: &Setup) -> String {
    let threads = match setup.threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    format!(
        "{} in {} on {}, {threads}",
        setup.model, setup.precision, setup.isa
    )
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
