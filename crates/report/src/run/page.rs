//! What the report of a run shows.

use serde_json::Value;
use shoal_estimate::{Basis, Bill};
use shoal_job::Determinism;

use crate::page::{Block, Figure, Page, Section, Table, Tile};
use crate::plot::{Plot, TimeAxis};
use crate::run::{Accuracy, Cost, DeadLetters, Letter, MarkKind, RunReport, StageTime};
use crate::statistics::Distribution;
use crate::words;

/// What percentiles are, for whoever reads them.
const TYPE_7: &str = "Percentiles are those of Hyndman and Fan's type 7 (The American Statistician 50, 1996, 361–365): on the \
    line between the two samples next to place (n − 1) p.";

impl RunReport {
    pub(crate) fn page(&self) -> Page<'_> {
        let mut sections = vec![self.about(), self.work(), self.over_time(), self.batches()];
        sections.extend(
            [self.costs(), self.labels(), self.bad_records()]
                .into_iter()
                .flatten(),
        );
        sections.push(self.again());
        Page {
            kind: "Run",
            title: self.run.clone(),
            lead: self.lead(),
            tiles: self.tiles(),
            sections,
        }
    }

    fn lead(&self) -> String {
        let s = &self.summary;
        let mut lead = format!(
            "{} in {} on {}",
            words::of(s.records, "record", "records"),
            words::time(s.wall_seconds),
            words::of(s.environments, "environment", "environments"),
        );
        if let Some(start) = self.starts.last().filter(|start| !start.backend.is_empty()) {
            lead += &format!(" ({})", start.backend);
        }
        match self.starts.len() {
            0 | 1 => {}
            starts => lead += &format!(", in {} starts", words::count(starts as u64)),
        }
        if let Some(cost) = &self.cost {
            lead += &format!(", for {}", words::usd(cost.usd));
        }
        lead + ". Every number on this page was measured or counted, unless it says otherwise."
    }

    fn tiles(&self) -> Vec<Tile> {
        let s = &self.summary;
        let tile = |name, value, note| Tile {
            name,
            value,
            note,
            basis: None,
        };
        let mut tiles = vec![
            tile("Records", words::count(s.records), {
                match s.failed_records {
                    0 => "all with a result".into(),
                    failed => format!("{} in the dead letters", words::count(failed)),
                }
            }),
            tile("Time", words::time(s.wall_seconds), {
                if self.pauses.is_empty() {
                    "from the first start to the end".into()
                } else {
                    format!("{} of it at work", words::time(s.working_seconds))
                }
            }),
        ];
        if let Some(rate) = s.records_per_second {
            let units = s.units_per_second.unwrap_or(0.0);
            tiles.push(tile(
                "Records a second",
                words::number(rate),
                format!("{} {}/s", words::number(units), s.unit),
            ));
        }
        let mean = s.mean_functions.unwrap_or(0.0);
        tiles.push(tile(
            "Functions at work",
            words::count(s.peak_functions),
            format!("at most; {} on the average", words::number(mean)),
        ));
        if let Some(spread) = &self.batch_seconds {
            tiles.push(tile(
                "Median batch",
                words::time(spread.p50),
                format!(
                    "p95 {}, p99 {}",
                    words::time(spread.p95),
                    words::time(spread.p99)
                ),
            ));
        }
        tiles.push(match &self.cost {
            Some(cost) => Tile {
                name: "Cost",
                value: words::usd(cost.usd),
                note: match cost.usd_per_million_records {
                    Some(usd) => format!("{} for a million records", words::usd(usd)),
                    None => format!("prices of {}", cost.bill.date),
                },
                basis: Some(cost.basis),
            },
            None => tile("Cost", "–".into(), "nothing of it has a price".into()),
        });
        tiles
    }

    fn about(&self) -> Section<'_> {
        let (s, job) = (&self.summary, &self.job);
        let mut facts = Table::new("The run in numbers", &["", "#", ""]);
        let mut fact =
            |name: &str, value: String, note: String| facts.push([name.into(), value, note]);
        fact(
            "Records",
            words::count(s.records),
            format!(
                "of {}; {} with a result, {} in the dead letters",
                words::count(job.records),
                words::count(s.results),
                words::count(s.failed_records)
            ),
        );
        if s.unit != "rows" {
            let truncated = match s.metrics.count("truncated") {
                0 => String::new(),
                cut => {
                    let limit = match job.settings.get("max_tokens").and_then(Value::as_u64) {
                        Some(limit) => format!("at {} tokens", words::count(limit)),
                        None => "at the limit".into(),
                    };
                    format!("{} cut {limit}", words::of(cut, "record", "records"))
                }
            };
            fact(&capitalized(&s.unit), words::count(s.units), truncated);
        }
        fact(
            "Batches",
            words::count(s.finished_batches),
            format!(
                "of {}; of {} at most",
                words::count(s.batches),
                words::of(job.batch_size, "record", "records")
            ),
        );
        fact(
            "Invocations",
            words::count(s.invocations),
            format!(
                "{} whose part stands, {} duplicate, {} failed, {} unanswered",
                words::count(s.done),
                words::count(s.duplicates),
                words::count(s.failed_attempts),
                words::count(s.unanswered)
            ),
        );
        fact(
            "Retries",
            words::count(s.retries),
            "attempts after the first".into(),
        );
        fact(
            "Cut short",
            words::count(s.cut_short),
            "invocations that ran out of time; the rest of the batch went on in another".into(),
        );
        fact(
            "Throttled calls",
            words::count(s.throttled),
            "the platform would not take them then".into(),
        );
        fact(
            "Cold starts",
            words::count(s.cold_starts),
            format!(
                "of {}",
                words::of(s.environments, "environment", "environments")
            ),
        );
        fact(
            "Function time",
            words::time(s.function_seconds),
            match s.billed_seconds {
                Some(billed) => format!("all invocations together; {} billed", words::time(billed)),
                None => "all invocations together".into(),
            },
        );
        if let Some(bytes) = s.peak_memory_bytes {
            fact(
                "Peak memory",
                words::bytes(bytes),
                "of one environment's process".into(),
            );
        }
        let mut job_facts = Table::new("The job", &["", ""]);
        let mut fact = |name: &str, value: String| job_facts.push([name.into(), value]);
        for input in job.inputs.iter().take(MOST_INPUTS) {
            fact("Input", input.clone());
        }
        if job.inputs.len() > MOST_INPUTS {
            fact(
                "Input",
                format!(
                    "and {} more",
                    words::count((job.inputs.len() - MOST_INPUTS) as u64)
                ),
            );
        }
        fact("Output", job.output.clone());
        if let Some(task) = job.task.get("name").and_then(Value::as_str) {
            fact("Task", task.to_owned());
        }
        fact("Function", format!("{} ({})", job.function, job.kind));
        fact("Fingerprint", job.fingerprint.clone());
        fact("Engine", self.engine());
        for sizing in &s.sizings {
            fact(
                "Platform",
                format!(
                    "{} MB, {}, {}",
                    words::count(sizing.memory_mb.into()),
                    sizing.architecture,
                    sizing.region
                ),
            );
        }
        fact("shoal", job.shoal.clone());
        let mut blocks = vec![Block::Table(facts), Block::Table(job_facts)];
        if self.starts.len() > 1 {
            blocks.push(Block::Table(self.starts_table()));
        }
        if !self.notes.is_empty() {
            blocks.push(Block::List(self.notes.clone()));
        }
        Section {
            id: "summary",
            title: "Summary",
            basis: Some(Basis::Measured),
            blocks,
        }
    }

    /// The precision, and what computed the results.
    pub fn engine(&self) -> String {
        let engines = self.summary.engines.join(", ");
        match self.job.settings.get("precision").and_then(Value::as_str) {
            Some(precision) if engines.is_empty() => precision.to_owned(),
            Some(precision) => format!("{precision} on {engines}"),
            None => engines,
        }
    }

    fn starts_table(&self) -> Table {
        let mut table = Table::new(
            "Starts of the run",
            &[
                "Start",
                "When",
                "Backend",
                "#At a time",
                "#At work",
                "#Answers",
                "#Batches from before",
                "End",
            ],
        );
        for start in self.starts.iter().take(MOST_STARTS) {
            table.push([
                start.number.to_string(),
                words::moment(start.began_unix_ms),
                start.backend.clone(),
                words::count(start.concurrency),
                words::time(start.seconds),
                words::count(start.finished),
                words::count(start.reused_batches),
                start.end.words().into(),
            ]);
        }
        if self.starts.len() > MOST_STARTS {
            table.caption += &format!(
                ", the first {MOST_STARTS} of {}",
                words::count(self.starts.len() as u64)
            );
        }
        table
    }

    fn axis(&self) -> TimeAxis<'_> {
        TimeAxis {
            seconds: self.summary.working_seconds,
            pauses: &self.pauses,
        }
    }

    /// What the axes of time say of what they leave out.
    fn cut(&self) -> String {
        match self.pauses.as_slice() {
            [] => String::new(),
            [one] => format!(
                " The pause of {} between two starts is cut out; a dashed line says where.",
                words::time(one.seconds)
            ),
            many => format!(
                " {} pauses between starts are cut out, {} in all; dashed lines say where.",
                many.len(),
                words::time(many.iter().map(|pause| pause.seconds).sum())
            ),
        }
    }

    fn work(&self) -> Section<'_> {
        let timeline = &self.timeline;
        let mut data = Table::new(
            "Invocations by environment",
            &[
                "Environment",
                "#From",
                "#Invocations",
                "#Cold starts",
                "#Retries",
                "#Records",
                "#Function time",
            ],
        );
        for lane in &timeline.lanes {
            data.push([
                lane.name.clone(),
                words::time(lane.from),
                words::count(lane.invocations),
                words::count(lane.cold_starts),
                words::count(lane.retries),
                words::count(lane.records),
                words::time(lane.busy_seconds),
            ]);
        }
        let s = &self.summary;
        let caption = if timeline.is_merged {
            "A row is an environment, or as many as its name says that began one after the other; the stronger its colour, the more of \
             its time it was at work."
        } else {
            "A row is an environment, a bar an invocation."
        };
        let figure = Figure {
            id: "timeline",
            title: "Invocations by environment".into(),
            description: format!(
                "{} on {} over {} at work, with {}, {}, {} and {}.",
                words::of(s.invocations, "invocation", "invocations"),
                words::of(timeline.environments, "environment", "environments"),
                words::time(s.working_seconds),
                words::of(s.cold_starts, "cold start", "cold starts"),
                words::of(s.retries, "retry", "retries"),
                words::of(s.duplicates, "duplicate", "duplicates"),
                words::of(s.failed_attempts, "failed attempt", "failed attempts"),
            ),
            caption: format!("{caption}{}", self.cut()),
            legend: self.timeline_legend(),
            plot: Plot::Timeline(timeline, self.axis()),
            data,
        };
        let mut blocks = vec![Block::Figure(Box::new(figure))];
        if !self.failures.is_empty() {
            let mut table = Table::new(
                "Failed attempts by reason",
                &["Kind", "#Attempts", "Reason"],
            );
            for group in &self.failures {
                table.push([
                    group.kind.name().replace('_', " "),
                    words::count(group.attempts),
                    group.reason.clone(),
                ]);
            }
            blocks.push(Block::Table(table));
        }
        Section {
            id: "invocations",
            title: "Invocations",
            basis: Some(Basis::Measured),
            blocks,
        }
    }

    fn timeline_legend(&self) -> Vec<(&'static str, String)> {
        let kinds = self.timeline.kinds();
        let has = |kind: MarkKind| kinds.contains(&kind);
        let mut legend = vec![("work", "at work")];
        let others = [
            (has(MarkKind::Cold), ("cold", "cold start")),
            (has(MarkKind::Retry), ("retry", "retry")),
            (has(MarkKind::Duplicate), ("duplicate", "duplicate")),
            (has(MarkKind::Failed), ("failed", "failed")),
            (has(MarkKind::Unanswered), ("unanswered", "unanswered")),
            (
                !self.timeline.throttled.is_empty(),
                ("throttled", "throttled calls"),
            ),
        ];
        legend.extend(
            others
                .into_iter()
                .filter(|other| other.0)
                .map(|other| other.1),
        );
        legend
            .into_iter()
            .map(|(class, name)| (class, name.to_owned()))
            .collect()
    }

    fn over_time(&self) -> Section<'_> {
        let s = &self.summary;
        let table = |name: &str, columns: &[&str]| {
            let step = words::time(self.series.step_seconds);
            Table::new(format!("{name}, in steps of {step}"), columns)
        };
        let mut functions = table(
            "Functions at work",
            &["Seconds", "#On the average", "#At most"],
        );
        let mut records = table("Throughput", &["Seconds", "#Records/s"]);
        for point in &self.series.points {
            let seconds = words::number(point.seconds);
            functions.push([
                seconds.clone(),
                words::number(point.functions),
                words::count(point.most_functions),
            ]);
            records.push([seconds, words::number(point.records_per_second)]);
        }
        let limit = self
            .starts
            .iter()
            .map(|start| start.concurrency)
            .max()
            .unwrap_or(0);
        let rate = s.records_per_second.unwrap_or(0.0);
        let figures = [
            Figure {
                id: "functions",
                title: "Functions at work over time".into(),
                description: format!(
                    "{} at work at most, {} on the average, over {}.",
                    words::of(s.peak_functions, "function", "functions"),
                    words::number(s.mean_functions.unwrap_or(0.0)),
                    words::time(s.working_seconds),
                ),
                caption: format!(
                    "Functions at work at a time, averaged over steps of {}.{}",
                    words::time(self.series.step_seconds),
                    self.cut()
                ),
                legend: Vec::new(),
                plot: Plot::Functions(&self.series, self.axis(), limit),
                data: functions,
            },
            Figure {
                id: "throughput",
                title: "Throughput over time".into(),
                description: format!(
                    "{} records/s over the whole of {}.",
                    words::number(rate),
                    words::time(s.working_seconds)
                ),
                caption: format!(
                    "The records of an invocation are spread evenly over its time.{}",
                    self.cut()
                ),
                legend: Vec::new(),
                plot: Plot::Throughput(&self.series, self.axis(), rate),
                data: records,
            },
        ];
        Section {
            id: "over-time",
            title: "Concurrency and throughput",
            basis: Some(Basis::Measured),
            blocks: figures
                .into_iter()
                .map(|figure| Block::Figure(Box::new(figure)))
                .collect(),
        }
    }

    fn batches(&self) -> Section<'_> {
        let mut blocks = Vec::new();
        if let (Some(spread), Some(histogram)) = (&self.batch_seconds, &self.histogram) {
            let mut data = Table::new("Invocations by their time", &["From", "#Warm", "#Cold"]);
            for bin in &histogram.bins {
                data.push([
                    words::time(bin.from),
                    words::count(bin.warm),
                    words::count(bin.cold),
                ]);
            }
            if histogram.beyond > 0 {
                data.push([
                    "beyond".into(),
                    words::count(histogram.beyond),
                    String::new(),
                ]);
            }
            let mut legend = vec![("work", "warm".to_owned())];
            if histogram.bins.iter().any(|bin| bin.cold > 0) {
                legend.push(("cold", "first of an environment".to_owned()));
            }
            let beyond = match histogram.beyond {
                0 => String::new(),
                more => format!(
                    " {} took longer than the axis reaches, {} at most.",
                    words::of(more, "invocation", "invocations"),
                    words::time(spread.max)
                ),
            };
            blocks.push(Block::Figure(Box::new(Figure {
                id: "batch-times",
                title: "How long invocations took".into(),
                description: format!(
                    "Half of {} took at most {}, 95 % at most {}, 99 % at most {}.",
                    words::of(spread.count, "invocation", "invocations"),
                    words::time(spread.p50), words::time(spread.p95), words::time(spread.p99),
                ),
                caption: format!("Invocations whose part stands, by their time in steps of {}; what an environment did before its first is not in it.{beyond}", words::time(histogram.width)),
                legend,
                plot: Plot::Histogram(histogram, spread),
                data,
            })));
            blocks.push(Block::Table(self.percentiles()));
            blocks.push(Block::Text(TYPE_7.into()));
        }
        let mut stages = Table::new(
            "Where the functions' time went",
            &["Stage", "#Time", "#Share"],
        );
        let all = self.stages.total_seconds;
        let share = |seconds: f64| {
            if all > 0.0 {
                words::percent(seconds / all)
            } else {
                "–".into()
            }
        };
        for StageTime { name, seconds } in &self.stages.stages {
            stages.push([name.clone(), words::time(*seconds), share(*seconds)]);
        }
        stages.total = Some(vec!["all".into(), words::time(all), share(all)]);
        blocks.push(Block::Table(stages));
        if self.stages.init_seconds > 0.0 {
            let init = words::time(self.stages.init_seconds);
            blocks.push(Block::Text(format!(
                "Environments took {init} more, all together, before their first invocation."
            )));
        }
        Section {
            id: "batches",
            title: "Batch times",
            basis: Some(Basis::Measured),
            blocks,
        }
    }

    fn percentiles(&self) -> Table {
        let mut table = Table::new(
            "Time of an invocation",
            &[
                "",
                "#Invocations",
                "#Least",
                "#p50",
                "#Mean",
                "#p95",
                "#p99",
                "#Most",
            ],
        );
        let mut row = |name: &str, spread: &Option<Distribution>| {
            let Some(spread) = spread else { return };
            table.push([
                name.into(),
                words::count(spread.count),
                words::time(spread.min),
                words::time(spread.p50),
                words::time(spread.mean),
                words::time(spread.p95),
                words::time(spread.p99),
                words::time(spread.max),
            ]);
        };
        row("all", &self.batch_seconds);
        if self.cold_batch_seconds.is_some() {
            row("warm", &self.warm_batch_seconds);
            row("first of an environment", &self.cold_batch_seconds);
        }
        table
    }

    fn costs(&self) -> Option<Section<'_>> {
        self.cost.as_ref().map(|cost| Section {
            id: "cost",
            title: "Cost",
            basis: Some(cost.basis),
            blocks: cost_blocks(cost),
        })
    }

    fn labels(&self) -> Option<Section<'_>> {
        self.accuracy.as_ref().map(|accuracy| Section {
            id: "labels",
            title: "Labels",
            basis: Some(Basis::Measured),
            blocks: label_blocks(accuracy),
        })
    }

    fn bad_records(&self) -> Option<Section<'_>> {
        (self.dead_letters.total > 0).then(|| Section {
            id: "dead-letters",
            title: "Dead letters",
            basis: Some(Basis::Measured),
            blocks: letter_blocks(&self.dead_letters),
        })
    }

    fn again(&self) -> Section<'_> {
        Section {
            id: "again",
            title: "How to repeat it",
            basis: None,
            blocks: vec![
                Block::Command(self.command.clone()),
                Block::Text(match self.job.determinism {
                    Determinism::Exact => {
                        "Within one version of shoal and on one instruction set, the same settings produce byte-identical output, for every \
                         batch size, concurrency and backend."
                    }
                    _ => "The output may depend on how records were grouped into batches.",
                }
                .into()),
            ],
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

/// Inputs that are named, at most.
const MOST_INPUTS: usize = 20;
/// Starts that are told of, at most.
const MOST_STARTS: usize = 50;

fn cost_blocks(cost: &Cost) -> Vec<Block<'static>> {
    vec![
        Block::Table(bill_table(&cost.bill)),
        Block::Text("Without free tiers, taxes and discounts. A basis says what a quantity is worth, the column after it how sure its price is.".into()),
    ]
}

/// A bill as a table.
pub(crate) fn bill_table(bill: &Bill) -> Table {
    let region = bill
        .region
        .as_ref()
        .map(|region| format!(" in {region}"))
        .unwrap_or_default();
    let mut table = Table::new(
        format!(
            "Prices of {}{region}, looked up on {}",
            bill.provider, bill.date
        ),
        &[
            "Item",
            "#Quantity",
            "Unit",
            "#Unit price",
            "#Cost",
            "Basis",
            "Price",
            "Source",
        ],
    );
    for item in &bill.items {
        table.push([
            item.name.clone(),
            words::number(item.quantity),
            item.unit.clone(),
            words::usd(item.usd_per_unit),
            words::usd(item.usd),
            item.basis.to_string(),
            item.confidence.to_string(),
            item.source.trim_start_matches("https://").to_owned(),
        ]);
    }
    let mut total = vec![String::new(); table.columns.len()];
    total[0] = "together".into();
    total[4] = words::usd(bill.usd());
    total[5] = bill.basis().to_string();
    table.total = Some(total);
    table
}

fn label_blocks(accuracy: &Accuracy) -> Vec<Block<'static>> {
    let mut labels: Vec<&String> = accuracy
        .confusion
        .values()
        .flat_map(|row| row.keys())
        .collect();
    labels.sort_unstable();
    labels.dedup();
    let mut columns = vec!["gold \\ label".to_owned()];
    columns.extend(labels.iter().map(|label| format!("#{label}")));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("Records by gold label and label", &columns);
    for (gold, row) in &accuracy.confusion {
        let counts = labels
            .iter()
            .map(|label| words::count(row.get(*label).copied().unwrap_or(0)));
        table
            .rows
            .push([gold.clone()].into_iter().chain(counts).collect());
    }
    vec![
        Block::Text(format!(
            "{:.2} % of {} have the gold label ({}).",
            accuracy.share * 100.0,
            words::of(accuracy.of, "record", "records"),
            words::count(accuracy.right)
        )),
        Block::Table(table),
    ]
}

/// Dead letters that are seen at once; more are folded.
const LETTERS_AT_ONCE: usize = 10;

fn letter_blocks(letters: &DeadLetters) -> Vec<Block<'static>> {
    let all = words::of(
        letters.total,
        "record that could not be worked on",
        "records that could not be worked on",
    );
    let shown = letters.first.len();
    let (at_once, folded) = letters.first.split_at(shown.min(LETTERS_AT_ONCE));
    let caption = |rows: &[Letter], name: &str| match rows.len() as u64 {
        count if count == letters.total => all.clone(),
        count => format!("The {name} {} of {all}", words::count(count)),
    };
    let mut blocks = vec![Block::Table(letter_table(
        caption(at_once, "first"),
        at_once,
    ))];
    if !folded.is_empty() {
        let table = letter_table(caption(folded, "next"), folded);
        let summary = format!("{} more", words::count(folded.len() as u64));
        blocks.push(Block::Folded(summary, table));
    }
    if (shown as u64) < letters.total {
        blocks.push(Block::Text(
            "All of them are in failed.jsonl of the run directory.".into(),
        ));
    }
    blocks
}

fn letter_table(caption: String, letters: &[Letter]) -> Table {
    let mut table = Table::new(caption, &["#Row", "Id", "File", "Place", "Reason"]);
    for letter in letters {
        table.push([
            letter.row.map(words::count).unwrap_or_default(),
            letter.id.clone(),
            letter.file.clone(),
            letter.place.clone(),
            letter.reason.clone(),
        ]);
    }
    table
}
