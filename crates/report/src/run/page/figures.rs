//! The plots of the report of a run, and the tables beside them.

use shoal_estimate::Basis;

use crate::numbers::{count, duration, number, percent, plural};
use crate::page::{Block, Figure, Section, Table};
use crate::plot::{OverTime, TimeAxis, draw_histogram, draw_timeline};
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
                duration(one.seconds)
            ),
            many => format!(
                " {} pauses between starts are left out, {} in all, at the dashed lines.",
                many.len(),
                duration(many.iter().map(|pause| pause.seconds).sum())
            ),
        }
    }

    pub(super) fn invocations_section(&self) -> Section<'_> {
        let timeline = &self.timeline;
        let data = Table::of(
            "Invocations by environment",
            &timeline.lanes,
            &[
                ("Environment", |lane| lane.name.clone()),
                ("#From", |lane| duration(lane.from)),
                ("#Invocations", |lane| count(lane.invocations)),
                ("#Cold starts", |lane| count(lane.cold_starts)),
                ("#Retries", |lane| count(lane.retries)),
                ("#Records", |lane| count(lane.records)),
                ("#Function time", |lane| duration(lane.busy_seconds)),
            ],
        );
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
                plural(s.invocations, "invocation", "invocations"),
                plural(timeline.environments, "environment", "environments"),
                duration(s.working_seconds),
                plural(s.cold_starts, "cold start", "cold starts"),
                plural(s.retries, "retry", "retries"),
                plural(s.duplicates, "duplicate", "duplicates"),
                plural(s.failed_attempts, "failed attempt", "failed attempts"),
            ),
            caption: format!("{caption}{}", self.cut()),
            legend: self.timeline_legend(),
            plot: Box::new(|frame| draw_timeline(timeline, self.axis(), frame)),
            data,
        };
        let mut blocks = vec![figure.into()];
        if !self.failures.is_empty() {
            blocks.push(Block::Table(Table::of(
                "Failed attempts by reason",
                &self.failures,
                &[
                    ("Kind", |group| group.kind.name().replace('_', " ")),
                    ("#Attempts", |group| count(group.attempts)),
                    ("Reason", |group| group.reason.clone()),
                ],
            )));
        }
        Section::new("invocations", "Invocations", Some(Basis::Measured), blocks)
    }

    fn timeline_legend(&self) -> Vec<(&'static str, String)> {
        let kinds = self.timeline.kinds();
        let has = |kind: MarkKind| kinds.contains(&kind);
        let has_throttled = !self.timeline.throttled.is_empty();
        let legend = [
            (true, "work", "working"),
            (has(MarkKind::Cold), "cold", "cold start"),
            (has(MarkKind::Retry), "retry", "retry"),
            (has(MarkKind::Duplicate), "duplicate", "duplicate"),
            (has(MarkKind::Failed), "failed", "failed"),
            (has(MarkKind::Unanswered), "unanswered", "unanswered"),
            (has_throttled, "throttled", "throttled calls"),
        ];
        let used = legend.into_iter().filter(|(is_used, ..)| *is_used);
        used.map(|(_, class, name)| (class, name.to_owned()))
            .collect()
    }

    pub(super) fn over_time_section(&self) -> Section<'_> {
        let s = &self.summary;
        let points = &self.series.points;
        let step = duration(self.series.step_seconds);
        let functions = Table::of(
            format!("Functions working, in steps of {step}"),
            points,
            &[
                ("Seconds", |point| number(point.seconds)),
                ("#Mean", |point| number(point.functions)),
                ("#Maximum", |point| count(point.most_functions)),
            ],
        );
        let records = Table::of(
            format!("Throughput, in steps of {step}"),
            points,
            &[
                ("Seconds", |point| number(point.seconds)),
                ("#Records/s", |point| number(point.records_per_second)),
            ],
        );
        let limits = self.starts.iter().map(|start| start.concurrency);
        let limit = limits.max().unwrap_or(0) as f64;
        let most = points
            .iter()
            .map(|point| point.functions)
            .fold(0.0, f64::max);
        let rate = s.records_per_second.unwrap_or(0.0);
        let over_time = OverTime {
            axis: self.axis(),
            title: "functions",
            is_count: true,
            step: self.series.step_seconds,
            values: points.iter().map(|point| point.functions).collect(),
            line: "work",
            area: "work-area",
            // A limit far above the values would flatten them.
            level: (limit > 0.0 && limit <= 2.0 * most)
                .then(|| (limit, format!("requested {}", number(limit)))),
        };
        let throughput = OverTime {
            title: "records/s",
            is_count: false,
            values: points
                .iter()
                .map(|point| point.records_per_second)
                .collect(),
            line: "records",
            area: "records-area",
            level: Some((rate, format!("mean {}", number(rate)))),
            ..over_time
        };
        let figures = [
            Figure {
                id: "functions",
                title: "Functions working over time".into(),
                description: format!(
                    "{} working at most, {} on average, over {}.",
                    plural(s.peak_functions, "function", "functions"),
                    number(s.mean_functions.unwrap_or(0.0)),
                    duration(s.working_seconds),
                ),
                caption: format!("The mean over steps of {step}.{}", self.cut()),
                legend: Vec::new(),
                plot: Box::new(move |frame| over_time.draw(frame)),
                data: functions,
            },
            Figure {
                id: "throughput",
                title: "Throughput over time".into(),
                description: format!(
                    "{} records/s on average over {}.",
                    number(rate),
                    duration(s.working_seconds)
                ),
                caption: format!(
                    "The records of an invocation count evenly over its time.{}",
                    self.cut()
                ),
                legend: Vec::new(),
                plot: Box::new(move |frame| throughput.draw(frame)),
                data: records,
            },
        ];
        let title = "Concurrency and throughput";
        let blocks = figures.map(Block::from);
        Section::new("over-time", title, Some(Basis::Measured), blocks)
    }

    pub(super) fn batch_times_section(&self) -> Section<'_> {
        let mut blocks = Vec::new();
        if let (Some(spread), Some(histogram)) = (&self.batch_seconds, &self.histogram) {
            let mut data = Table::of(
                "Invocations by duration",
                &histogram.bins,
                &[
                    ("From", |bin| duration(bin.from)),
                    ("#Warm", |bin| count(bin.warm)),
                    ("#Cold", |bin| count(bin.cold)),
                ],
            );
            if histogram.beyond > 0 {
                data.push(["beyond".into(), count(histogram.beyond), String::new()]);
            }
            let mut legend = vec![("work", "warm".to_owned())];
            if histogram.bins.iter().any(|bin| bin.cold > 0) {
                legend.push(("cold", "cold".to_owned()));
            }
            let beyond = match histogram.beyond {
                0 => String::new(),
                more => format!(
                    " {} took longer than the axis shows, up to {}.",
                    plural(more, "invocation", "invocations"),
                    duration(spread.max)
                ),
            };
            let figure = Figure {
                id: "batch-times",
                title: "Duration of invocations".into(),
                description: format!(
                    "Of {}, half took at most {}, 95 % at most {}, 99 % at most {}.",
                    plural(spread.count, "invocation", "invocations"),
                    duration(spread.p50),
                    duration(spread.p95),
                    duration(spread.p99),
                ),
                caption: format!(
                    "Finished invocations by their duration, in steps of {}. Cold starts are not included in the duration.{beyond}",
                    duration(histogram.width)
                ),
                legend,
                plot: Box::new(|frame| draw_histogram(histogram, spread, frame)),
                data,
            };
            let percentiles = Block::Table(self.percentiles());
            blocks.extend([figure.into(), percentiles, Block::Text(PERCENTILES.into())]);
        }
        let mut stages = Table::new(
            "Where the functions' time went",
            &["Stage", "#Time", "#Share"],
        );
        let all = self.stages.total_seconds;
        let share = |seconds: f64| percent(seconds / all);
        for StageTime { name, seconds } in &self.stages.stages {
            stages.push([name.clone(), duration(*seconds), share(*seconds)]);
        }
        stages.total = Some(vec!["total".into(), duration(all), share(all)]);
        blocks.push(Block::Table(stages));
        if self.stages.init_seconds > 0.0 {
            let init = duration(self.stages.init_seconds);
            blocks.push(Block::Text(format!(
                "Cold starts took {init} more, all environments together."
            )));
        }
        Section::new("batches", "Batch times", Some(Basis::Measured), blocks)
    }

    fn percentiles(&self) -> Table {
        let mut rows = vec![("all", &self.batch_seconds)];
        if self.cold_batch_seconds.is_some() {
            rows.push(("warm", &self.warm_batch_seconds));
            rows.push(("cold", &self.cold_batch_seconds));
        }
        let spread = |(name, spread): (_, &Option<Distribution>)| Some((name, (*spread)?));
        let rows: Vec<(&str, Distribution)> = rows.into_iter().filter_map(spread).collect();
        Table::of(
            "Duration of an invocation",
            &rows,
            &[
                ("", |(name, _)| (*name).into()),
                ("#Invocations", |(_, spread)| count(spread.count)),
                ("#Minimum", |(_, spread)| duration(spread.min)),
                ("#p50", |(_, spread)| duration(spread.p50)),
                ("#Mean", |(_, spread)| duration(spread.mean)),
                ("#p95", |(_, spread)| duration(spread.p95)),
                ("#p99", |(_, spread)| duration(spread.p99)),
                ("#Maximum", |(_, spread)| duration(spread.max)),
            ],
        )
    }
}
