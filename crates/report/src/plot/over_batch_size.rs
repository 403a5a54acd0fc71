//! Both approaches over batch sizes: lines on a logarithmic scale, bars on a linear one.

use crate::numbers;
use crate::plot::Lines;
use crate::plot::axes::{Axes, Axis, below};
use crate::plot::canvas::{Canvas, Drawing, Frame, Ink, Side, draw};

const INKS: [Ink; 2] = [Ink::Monolithic, Ink::Parallel];

impl Lines {
    pub(crate) fn draw(&self, frame: Frame) -> Drawing {
        let height = if frame.is_narrow { 280.0 } else { 320.0 };
        draw(frame, height, |canvas| {
            let values = || {
                self.lines
                    .iter()
                    .flat_map(|line| line.values.iter().copied())
            };
            let most = values().fold(0.0, f64::max);
            let y = if self.is_logarithmic {
                let least = values()
                    .filter(|value| *value > 0.0)
                    .fold(f64::INFINITY, f64::min);
                Axis::of_times(least.min(most), most, self.title)
            } else {
                Axis::up_to(most, 4, self.title, self.format)
            };
            let count = self.batch_sizes.len() as f64;
            let axes = Axes {
                left: Axes::room(canvas, &y.ticks),
                right: frame.width - 8.0,
                top: frame.font * 2.6,
                bottom: height - below(frame.font),
                x: self.sizes(frame, count),
                y,
            };
            axes.draw(canvas, frame.font * 0.7);
            if self.is_logarithmic {
                self.draw_lines(canvas, &axes);
            } else {
                self.draw_bars(canvas, &axes, count);
            }
        })
    }

    /// Batch sizes at equal distances.
    fn sizes(&self, frame: Frame, count: f64) -> Axis {
        let labels: Vec<String> = self
            .batch_sizes
            .iter()
            .map(|size| numbers::count(*size))
            .collect();
        let widest = labels
            .iter()
            .map(|label| frame.width_of(label))
            .fold(0.0, f64::max);
        let room = frame.width * 0.85 / count.max(1.0);
        let every = ((widest + 8.0) / room).ceil().max(1.0) as usize;
        let ticks = labels.into_iter().enumerate().step_by(every);
        Axis {
            from: -0.5,
            to: (count - 0.5).max(0.5),
            ticks: ticks.map(|(index, label)| (index as f64, label)).collect(),
            title: "records in a batch".into(),
        }
    }

    fn draw_lines(&self, canvas: &Canvas<'_>, axes: &Axes) {
        for (index, (line, ink)) in self.lines.iter().zip(INKS).enumerate() {
            let points: Vec<(f64, f64)> = line
                .values
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    (
                        axes.x(index as f64),
                        axes.y(value.max(f64::MIN_POSITIVE).log10()),
                    )
                })
                .collect();
            canvas.line(&points, ink, 2.25);
            let away = canvas.frame.font * if index == 0 { -0.95 } else { 1.05 };
            let room = (axes.right - axes.left) / points.len().max(1) as f64;
            for (&(x, y), value) in points.iter().zip(&line.values) {
                canvas.dot((x, y), 4.0, ink);
                let label = (self.format)(*value);
                if canvas.frame.width_of(&label) + 6.0 <= room {
                    // Not into the axis.
                    let is_low = y + away > axes.bottom - canvas.frame.font * 0.6;
                    let at = if is_low { y - away } else { y + away };
                    canvas.text((x, at), Side::Middle, &label, Ink::Strong);
                }
            }
        }
    }

    fn draw_bars(&self, canvas: &Canvas<'_>, axes: &Axes, count: f64) {
        let room = (axes.right - axes.left) / count.max(1.0);
        let width = (room * 0.36).min(60.0);
        for (index, (line, ink)) in self.lines.iter().zip(INKS).enumerate() {
            for (place, value) in line.values.iter().enumerate() {
                let middle = axes.x(place as f64);
                let from = if index == 0 {
                    middle - width - 0.75
                } else {
                    middle + 0.75
                };
                let y = axes.y(*value);
                canvas.bar(
                    (from, y.min(axes.bottom - 1.0)),
                    (from + width, axes.bottom),
                    1.0,
                    ink,
                );
                let label = (self.format)(*value);
                if canvas.frame.width_of(&label) <= width {
                    let above = y - canvas.frame.font * 0.75;
                    canvas.text(
                        (from + width / 2.0, above),
                        Side::Middle,
                        &label,
                        Ink::Strong,
                    );
                }
            }
        }
    }
}
