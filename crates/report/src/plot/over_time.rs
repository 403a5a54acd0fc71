//! A quantity over time: an area under steps.

use crate::numbers::number;
use crate::plot::axes::{Axes, Axis, TimeAxis};
use crate::plot::canvas::{Anchor, Drawing, Frame, draw};

/// What is drawn over time.
pub(crate) struct OverTime<'a> {
    pub(crate) axis: TimeAxis<'a>,
    pub(crate) title: &'static str,
    /// Whether only whole numbers are ticks.
    pub(crate) is_count: bool,
    /// Seconds of a step.
    pub(crate) step: f64,
    /// One for each step.
    pub(crate) values: Vec<f64>,
    /// The class of the line.
    pub(crate) line: &'static str,
    /// The class of the area below it.
    pub(crate) area: &'static str,
    /// A level to compare with, and its label.
    pub(crate) level: Option<(f64, String)>,
}

impl OverTime<'_> {
    pub(crate) fn draw(&self, frame: Frame) -> Drawing {
        let height = if frame.is_narrow { 230.0 } else { 270.0 };
        draw(frame, height, |canvas| {
            let most = self.values.iter().copied().fold(0.0, f64::max);
            let top = most.max(self.level.as_ref().map_or(0.0, |level| level.0));
            // Leave room above the maximum.
            let mut y = Axis::between(0.0, (top * 1.03).max(1e-9), 5, self.title, number);
            if self.is_count {
                y.ticks.retain(|(value, _)| value.fract() == 0.0);
            }
            let axes = Axes::within(frame, height, self.axis.axis(frame.most_ticks()), y);
            axes.draw(canvas);
            axes.draw_pauses(canvas, self.axis);
            let mut steps = Vec::with_capacity(self.values.len() * 2);
            for (index, &value) in self.values.iter().enumerate() {
                let from = index as f64 * self.step;
                let to = (from + self.step).min(self.axis.seconds);
                steps.extend([(axes.x(from), axes.y(value)), (axes.x(to), axes.y(value))]);
            }
            // Corners between steps of equal height are not needed.
            steps.dedup_by(|next, last| {
                (next.0 - last.0).abs() < 1e-9 && (next.1 - last.1).abs() < 1e-9
            });
            let (Some(&first), Some(&last)) = (steps.first(), steps.last()) else {
                return;
            };
            let mut area = steps.clone();
            area.extend([(last.0, axes.bottom), (first.0, axes.bottom)]);
            canvas.fill(&area, self.area);
            canvas.line(&steps, self.line, 1.75);
            if let Some((level, label)) = &self.level {
                let y = axes.y(*level);
                canvas.rule((axes.left, y), (axes.right, y));
                let at = (frame.width - 8.0, frame.font * 0.7);
                canvas.text(at, Anchor::End, &format!("╌ {label}"), "text");
            }
        })
    }
}
