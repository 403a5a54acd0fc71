//! What `shoal watch` shows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Wrap};

use super::Snapshot;
use shoal::job::waits::Wait;
use shoal::reports::numbers::{count, duration, number, plural, plural_of, usd};
use shoal::reports::text::printable_line;
use shoal::reports::{Phase, SeriesPoint};

/// The fewest lines of a useful chart.
const LEAST_CHART: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, wait: Option<&Wait>) {
    let [head, bar, facts, charts, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(snapshot), head);
    frame.render_widget(progress(snapshot), bar);
    frame.render_widget(
        Paragraph::new(lines(snapshot)).wrap(Wrap { trim: true }),
        facts,
    );
    draw_charts(frame, snapshot, charts);
    let foot_line = match wait {
        Some(wait) => format!("waiting for {wait}; q leaves").yellow(),
        None => "q leaves; the run continues".dim(),
    };
    frame.render_widget(foot_line, foot);
}

fn title(snapshot: &Snapshot) -> Line<'_> {
    let report = &snapshot.report;
    Line::from(vec![
        printable_line(&report.run).into_owned().bold(),
        Span::raw(format!(
            "  {}  {}",
            snapshot.phase.name(),
            printable_line(&report.job.function)
        )),
    ])
}

/// Records that are done, those inside running batches too, and all records.
fn records(snapshot: &Snapshot) -> (u64, u64) {
    let all = snapshot.report.job.records;
    let done = snapshot.report.summary.records + snapshot.inside;
    (done.min(all), all)
}

fn progress(snapshot: &Snapshot) -> Gauge<'_> {
    let (done, all) = records(snapshot);
    let share = if all == 0 {
        1.0
    } else {
        done as f64 / all as f64
    };
    Gauge::default()
        .ratio(share.clamp(0.0, 1.0))
        .gauge_style(Style::new().fg(Color::Blue))
        .use_unicode(true)
        .label(format!(
            "{}, {:.1} %",
            plural_of(done, all, "record", "records"),
            100.0 * share
        ))
}

fn lines(snapshot: &Snapshot) -> Vec<Line<'_>> {
    let report = &snapshot.report;
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(Line::raw(format!("{name:<11}{value}")));
    let summary = &report.summary;
    let mut time = format!("{} at work", duration(summary.working_seconds));
    let (done, all) = records(snapshot);
    // The records inside running batches took time too.
    let rate = summary.records_per_second.filter(|rate| *rate > 0.0);
    let rate = rate.map(|rate| rate * done as f64 / summary.records.max(1) as f64);
    if let Some(rate) = rate {
        time += &format!(", {} records/s", number(rate));
        let left = (all - done) as f64 / rate;
        if left > 0.0 && snapshot.phase == Phase::Dispatching {
            time += &format!(", about {} left", duration(left));
        }
    }
    line("time", time);
    let (in_flight, answered) = (snapshot.in_flight, summary.invocations - summary.unanswered);
    line(
        "calls",
        format!(
            "{} in flight, {} answered",
            count(in_flight),
            count(answered)
        ),
    );
    if let Some(spread) = &report.batch_seconds {
        let [p50, p95, p99] = [spread.p50, spread.p95, spread.p99].map(duration);
        line(
            "batches",
            format!("median {p50}, 95 % within {p95}, 99 % within {p99}"),
        );
    }
    line(
        "functions",
        format!(
            "{}, {}",
            plural(summary.environments, "environment", "environments"),
            plural(summary.cold_starts, "cold start", "cold starts")
        ),
    );
    if let Some(cost) = &report.cost {
        line("cost", format!("{} so far, {}", usd(cost.usd), cost.basis));
    }
    if let Some(failure) = report.failures.first() {
        let times = plural(failure.attempts, "time", "times");
        let reason = printable_line(&failure.reason);
        line("failures", format!("{times}: {reason}"));
    }
    if report.dead_letters.total > 0 {
        let failed = plural(report.dead_letters.total, "record", "records");
        line("failed", format!("{failed} in failed.jsonl"));
    }
    lines
}

fn draw_charts(frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
    if area.height < LEAST_CHART {
        return;
    }
    let points = &snapshot.report.series.points;
    let series = |value: fn(&SeriesPoint) -> f64| -> Vec<_> {
        points
            .iter()
            .map(|point| (point.seconds, value(point)))
            .collect()
    };
    let rates = series(|point| point.records_per_second);
    let functions = series(|point| point.functions);
    let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(area);
    chart(frame, left, "records/s", &rates, Color::Blue);
    chart(
        frame,
        right,
        "functions at work",
        &functions,
        Color::Magenta,
    );
}

/// The end of an axis for values up to `most`: a whole number with few digits.
fn round(most: f64) -> f64 {
    let unit = 10_f64.powf((most.log10() - 1.0).floor()).max(1.0);
    // Sums of shares are not exact.
    (most / unit - 1e-6).ceil() * unit
}

/// A time in whole seconds.
fn time(seconds: f64) -> String {
    match seconds as u64 {
        short @ 0..60 => format!("{short} s"),
        long => duration(long as f64),
    }
}

fn chart(frame: &mut Frame<'_>, area: Rect, title: &str, points: &[(f64, f64)], color: Color) {
    let end = points.last().map_or(1.0, |point| point.0).ceil().max(1.0);
    let top = round(points.iter().map(|point| point.1).fold(1.0, f64::max));
    let data = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(color))
        .data(points);
    let chart = Chart::new(vec![data])
        .block(Block::bordered().title(title.to_owned()))
        .x_axis(
            Axis::default()
                .bounds([0.0, end])
                .labels(["0 s".to_owned(), time(end)]),
        )
        .y_axis(
            Axis::default()
                .bounds([0.0, top])
                .labels(["0".to_owned(), count(top as u64)]),
        );
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_whole_numbers() {
        for (most, end) in [
            (1.0, 1.0),
            (2.000_000_001, 2.0),
            (2.2, 3.0),
            (31.0, 31.0),
            (207.3, 210.0),
            (9_876.0, 9_900.0),
        ] {
            assert_eq!(round(most), end);
        }
        assert_eq!(
            (time(12.9), time(75.0)),
            ("12 s".into(), "1 min 15 s".into())
        );
    }
}
