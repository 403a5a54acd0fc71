//! What `shoal watch` shows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Wrap};

use super::Snapshot;
use crate::output::count_of;
use shoal::reports::SeriesPoint;
use shoal::reports::numbers::{count, duration, number, usd};
use shoal::reports::text::printable_line;

/// The fewest lines of a useful chart.
const LEAST_CHART: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot) {
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
    frame.render_widget("q leaves; the run continues".dim(), foot);
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

fn progress(snapshot: &Snapshot) -> Gauge<'_> {
    let (done, all) = (snapshot.report.summary.records, snapshot.report.job.records);
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
            "{} records, {:.1} %",
            count_of(done, all),
            100.0 * share
        ))
}

fn lines(snapshot: &Snapshot) -> Vec<Line<'_>> {
    let report = &snapshot.report;
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push(Line::raw(format!("{name:<11}{value}")));
    let summary = &report.summary;
    let mut time = format!("{} at work", duration(summary.working_seconds));
    if let Some(rate) = summary.records_per_second.filter(|rate| *rate > 0.0) {
        time += &format!(", {} records/s", number(rate));
        let left = report.job.records.saturating_sub(summary.records) as f64 / rate;
        if left > 0.0 {
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
    let (environments, cold) = (count(summary.environments), count(summary.cold_starts));
    line(
        "functions",
        format!("{environments} environments, {cold} cold starts"),
    );
    if let Some(cost) = &report.cost {
        line("cost", format!("{} so far, {}", usd(cost.usd), cost.basis));
    }
    if let Some(failure) = report.failures.first() {
        let (times, reason) = (count(failure.attempts), printable_line(&failure.reason));
        line("failures", format!("{times} times: {reason}"));
    }
    if report.dead_letters.total > 0 {
        let failed = count(report.dead_letters.total);
        line("failed", format!("{failed} records in failed.jsonl"));
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

fn chart(frame: &mut Frame<'_>, area: Rect, title: &str, points: &[(f64, f64)], color: Color) {
    let end = points.last().map_or(1.0, |point| point.0.max(1.0));
    let top = points.iter().map(|point| point.1).fold(1.0, f64::max) * 1.1;
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
                .labels(["0".to_owned(), duration(end)]),
        )
        .y_axis(
            Axis::default()
                .bounds([0.0, top])
                .labels(["0".to_owned(), number(top)]),
        );
    frame.render_widget(chart, area);
}
