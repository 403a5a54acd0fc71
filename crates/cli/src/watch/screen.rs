//! What `shoal watch` shows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Wrap};

use super::Seen;
use shoal::reports::numbers::{count, duration, number, usd};

/// The fewest lines of a useful chart.
const LEAST_CHART: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, seen: &Seen) {
    let [head, bar, facts, charts, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(title(seen), head);
    frame.render_widget(progress(seen), bar);
    frame.render_widget(Paragraph::new(lines(seen)).wrap(Wrap { trim: true }), facts);
    draw_charts(frame, seen, charts);
    frame.render_widget(
        Line::styled(
            "q leaves; the run continues",
            Style::new().add_modifier(Modifier::DIM),
        ),
        foot,
    );
}

fn title(seen: &Seen) -> Line<'_> {
    let report = &seen.report;
    Line::from(vec![
        Span::styled(
            report.run.as_str(),
            Style::new().add_modifier(Modifier::BOLD),
        ),
        Span::raw(format!("  {}  {}", seen.phase.name(), report.job.function)),
    ])
}

fn progress(seen: &Seen) -> Gauge<'_> {
    let (done, all) = (seen.report.summary.records, seen.report.job.records);
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
            "{} of {} records, {:.1} %",
            count(done),
            count(all),
            100.0 * share
        ))
}

fn lines(seen: &Seen) -> Vec<Line<'_>> {
    let report = &seen.report;
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
    line(
        "calls",
        format!(
            "{} in flight, {} answered",
            count(seen.in_flight),
            count(summary.invocations - summary.unanswered)
        ),
    );
    if let Some(spread) = &report.batch_seconds {
        line(
            "batches",
            format!(
                "median {}, 95 % within {}, 99 % within {}",
                duration(spread.p50),
                duration(spread.p95),
                duration(spread.p99)
            ),
        );
    }
    line(
        "functions",
        format!(
            "{} environments, {} cold starts",
            count(summary.environments),
            count(summary.cold_starts)
        ),
    );
    if let Some(cost) = &report.cost {
        line("cost", format!("{} so far, {}", usd(cost.usd), cost.basis));
    }
    if let Some(failure) = report.failures.first() {
        line(
            "failures",
            format!("{} times: {}", count(failure.attempts), failure.reason),
        );
    }
    if report.dead_letters.total > 0 {
        line(
            "failed",
            format!(
                "{} records in failed.jsonl",
                count(report.dead_letters.total)
            ),
        );
    }
    lines
}

fn draw_charts(frame: &mut Frame<'_>, seen: &Seen, area: Rect) {
    if area.height < LEAST_CHART {
        return;
    }
    let points = &seen.report.series.points;
    let rates: Vec<_> = points
        .iter()
        .map(|point| (point.seconds, point.records_per_second))
        .collect();
    let functions: Vec<_> = points
        .iter()
        .map(|point| (point.seconds, point.functions))
        .collect();
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
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
