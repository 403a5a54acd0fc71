//! The plots of the report of a run, and the tables beside them.

use shoal_estimate::Basis;

use crate::numbers;
use crate::page::{Block, Figure, Section, Table};
use crate::plot::{Plot, TimeAxis};
use crate::run::{RunReport, StageTime};
use crate::statistics::Distribution;
use crate::time::MarkKind;

/// The definition of the percentiles.
const PERCENTILES: &str = "Percentiles follow type 7 of Hyndman and Fan (The American Statistician 50, 1996, 361–365): they interpolate \
    linearly between the two samples next to position (n − 1) p.";

impl RunReport {
    fn axis(&self) -> TimeAxis<'_> {
        TimeAxis {
            seconds: self.summary.working_seconds,
            pauses: &self.pauses,
        }
    }

    /// A sentence on what the time axes leave out.
    fn cut(&self) -> String {
        match self.pauses.as_slice() {
            [] => String::new(),
            [one] => format!(
                " The pause of {} between two starts is left out, at the dashed line.",
                numbers::duration(one.seconds)
            ),
            many => format!(
                " {} pauses between starts are left out, {} in all, at the dashed lines.",
                many.len(),
                numbers::duration(many.iter().map(|pause| pause.seconds).sum())
            ),
        }
    }

    pub(super) fn invocations_section(&self) -> Section<'_> {
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
                numbers::duration(lane.from),
                numbers::count(lane.invocations),
                numbers::count(lane.cold_starts),
                numbers::count(lane.retries),
                numbers::count(lane.records),
                numbers::duration(lane.busy_seconds),
            ]);
        }
        let s = &self.summary;
        let caption = if timeline.is_merged {
            "Each row is one or more environments; the stronger the colour, the busier they were."
        } else {
            "Each row is an environment, each bar an invocation."
        };
        let figure = Figure {
            id: "timeline",
            title: "Invocations by environment".into(),
            description: format!(
                "{} on {} over {} at work, with {}, {}, {} and {}.",
                numbers::plural(s.invocations, "invocation", "invocations"),
                numbers::plural(timeline.environments, "environment", "environments"),
                numbers::duration(s.working_seconds),
                numbers::plural(s.cold_starts, "cold start", "cold starts"),
                numbers::plural(s.retries, "retry", "retries"),
                numbers::plural(s.duplicates, "duplicate", "duplicates"),
                numbers::plural(s.failed_attempts, "failed attempt", "failed attempts"),
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
                    numbers::count(group.attempts),
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
        let mut legend = vec![("work", "working")];
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

    pub(super) fn over_time_section(&self) -> Section<'_> {
        let s = &self.summary;
        let table = |name: &str, columns: &[&str]| {
            let step = numbers::duration(self.series.step_seconds);
            Table::new(format!("{name}, in steps of {step}"), columns)
        };
        let mut functions = table("Functions working", &["Seconds", "#Mean", "#Maximum"]);
        let mut records = table("Throughput", &["Seconds", "#Records/s"]);
        for point in &self.series.points {
            let seconds = numbers::number(point.seconds);
            functions.push([
                seconds.clone(),
                numbers::number(point.functions),
                numbers::count(point.most_functions),
            ]);
            records.push([seconds, numbers::number(point.records_per_second)]);
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
                title: "Functions working over time".into(),
                description: format!(
                    "{} working at most, {} on average, over {}.",
                    numbers::plural(s.peak_functions, "function", "functions"),
                    numbers::number(s.mean_functions.unwrap_or(0.0)),
                    numbers::duration(s.working_seconds),
                ),
                caption: format!(
                    "The mean over steps of {}.{}",
                    numbers::duration(self.series.step_seconds),
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
                    "{} records/s on average over {}.",
                    numbers::number(rate),
                    numbers::duration(s.working_seconds)
                ),
                caption: format!(
                    "The records of an invocation count evenly over its time.{}",
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

    pub(super) fn batch_times_section(&self) -> Section<'_> {
        let mut blocks = Vec::new();
        if let (Some(spread), Some(histogram)) = (&self.batch_seconds, &self.histogram) {
            let mut data = Table::new("Invocations by duration", &["From", "#Warm", "#Cold"]);
            for bin in &histogram.bins {
                data.push([
                    numbers::duration(bin.from),
                    numbers::count(bin.warm),
                    numbers::count(bin.cold),
                ]);
            }
            if histogram.beyond > 0 {
                data.push([
                    "beyond".into(),
                    numbers::count(histogram.beyond),
                    String::new(),
                ]);
            }
            let mut legend = vec![("work", "warm".to_owned())];
            if histogram.bins.iter().any(|bin| bin.cold > 0) {
                legend.push(("cold", "cold".to_owned()));
            }
            let beyond = match histogram.beyond {
                0 => String::new(),
                more => format!(
                    " {} took longer than the axis shows, up to {}.",
                    numbers::plural(more, "invocation", "invocations"),
                    numbers::duration(spread.max)
                ),
            };
            blocks.push(Block::Figure(Box::new(Figure {
                id: "batch-times",
                title: "Duration of invocations".into(),
                description: format!(
                    "Of {}, half took at most {}, 95 % at most {}, 99 % at most {}.",
                    numbers::plural(spread.count, "invocation", "invocations"),
                    numbers::duration(spread.p50), numbers::duration(spread.p95), numbers::duration(spread.p99),
                ),
                caption: format!("Finished invocations by their duration, in steps of {}. Cold starts are not included in the duration.{beyond}", numbers::duration(histogram.width)),
                legend,
                plot: Plot::Histogram(histogram, spread),
                data,
            })));
            blocks.push(Block::Table(self.percentiles()));
            blocks.push(Block::Text(PERCENTILES.into()));
        }
        let mut stages = Table::new(
            "Where the functions' time went",
            &["Stage", "#Time", "#Share"],
        );
        let all = self.stages.total_seconds;
        let share = |seconds: f64| {
            if all > 0.0 {
                numbers::percent(seconds / all)
            } else {
                "–".into()
            }
        };
        for StageTime { name, seconds } in &self.stages.stages {
            stages.push([name.clone(), numbers::duration(*seconds), share(*seconds)]);
        }
        stages.total = Some(vec!["total".into(), numbers::duration(all), share(all)]);
        blocks.push(Block::Table(stages));
        if self.stages.init_seconds > 0.0 {
            let init = numbers::duration(self.stages.init_seconds);
            blocks.push(Block::Text(format!(
                "Cold starts took {init} more, all environments together."
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
            "Duration of an invocation",
            &[
                "",
                "#Invocations",
                "#Minimum",
                "#p50",
                "#Mean",
                "#p95",
                "#p99",
                "#Maximum",
            ],
        );
        let mut row = |name: &str, spread: &Option<Distribution>| {
            let Some(spread) = spread else { return };
            table.push([
                name.into(),
                numbers::count(spread.count),
                numbers::duration(spread.min),
                numbers::duration(spread.p50),
                numbers::duration(spread.mean),
                numbers::duration(spread.p95),
                numbers::duration(spread.p99),
                numbers::duration(spread.max),
            ]);
        };
        row("all", &self.batch_seconds);
        if self.cold_batch_seconds.is_some() {
            row("warm", &self.warm_batch_seconds);
            row("cold", &self.cold_batch_seconds);
        }
        table
    }
}
