//! Both approaches over batch sizes: lines on a logarithmic scale, bars on a linear one.

use crate::numbers::count;
use crate::plot::axes::{Axes, Axis};
use crate::plot::canvas::{Anchor, Canvas, Drawing, Frame, draw};

/// The names of both approaches, which are their classes too.
pub(crate) const CLASSES: [&str; 2] = ["monolithic", "parallel"];

/// A quantity over batch sizes.
pub(crate) struct Lines {
    /// The title of the y axis, with its unit.
    pub(crate) title: &'static str,
    pub(crate) batch_sizes: Vec<u64>,
    /// The values of both approaches, one for each batch size.
    pub(crate) lines: [Vec<f64>; 2],
    /// Whether the y axis is logarithmic.
    pub(crate) is_logarithmic: bool,
    /// Formats a value.
    pub(crate) format: fn(f64) -> String,
}

impl Lines {
    pub(crate) fn draw(&self, frame: Frame) -> Drawing {
        let height = if frame.is_narrow { 280.0 } else { 320.0 };
        draw(frame, height, |canvas| {
            let values = || self.lines.iter().flatten().copied();
            let most = values().fold(0.0, f64::max);
            let y = if self.is_logarithmic {
                let positive = values().filter(|value| *value > 0.0);
                let least = positive.fold(f64::INFINITY, f64::min);
                Axis::of_times(least.min(most), most, self.title)
            } else {
                Axis::up_to(most, 4, self.title, self.format)
            };
            let count = self.batch_sizes.len() as f64;
            let axes = Axes::within(frame, height, self.sizes(frame, count), y);
            axes.draw(canvas);
            if self.is_logarithmic {
                self.draw_lines(canvas, &axes);
            } else {
                self.draw_bars(canvas, &axes, count);
            }
        })
    }

    /// A sentence on the smallest and the largest batch size.
    pub(crate) fn at_the_ends(&self) -> String {
        let Some(last) = self.batch_sizes.len().checked_sub(1) else {
            return "No batch size was compared.".into();
        };
        let at = |at: &str, index: usize| {
            let size = count(self.batch_sizes[index]);
            let [one, other] = [0, 1].map(|line| (self.format)(self.lines[line][index]));
            format!("{at} {size} records a batch {one} monolithic, {other} parallel")
        };
        match last {
            0 => at("At", 0) + ".",
            _ => format!("{}; {}.", at("At", 0), at("at", last)),
        }
    }

    /// Batch sizes at equal distances.
    fn sizes(&self, frame: Frame, sizes: f64) -> Axis {
        let labels: Vec<String> = self.batch_sizes.iter().map(|size| count(*size)).collect();
        let widths = labels.iter().map(|label| frame.width_of(label));
        let widest = widths.fold(0.0, f64::max);
        let room = frame.width * 0.85 / sizes.max(1.0);
        let every = ((widest + 8.0) / room).ceil().max(1.0) as usize;
        let ticks = labels.into_iter().enumerate().step_by(every);
        Axis {
            from: -0.5,
            to: (sizes - 0.5).max(0.5),
            ticks: ticks.map(|(index, label)| (index as f64, label)).collect(),
            title: "records in a batch".into(),
        }
    }

    fn draw_lines(&self, canvas: &mut Canvas, axes: &Axes) {
        for (index, (line, class)) in self.lines.iter().zip(CLASSES).enumerate() {
            let y = |value: &f64| axes.y(value.max(f64::MIN_POSITIVE).log10());
            let points = line.iter().enumerate();
            let points = points.map(|(index, value)| (axes.x(index as f64), y(value)));
            let points: Vec<(f64, f64)> = points.collect();
            canvas.line(&points, class, 2.25);
            let away = canvas.frame.font * if index == 0 { -0.95 } else { 1.05 };
            let room = (axes.right - axes.left) / points.len().max(1) as f64;
            for (&(x, y), value) in points.iter().zip(line) {
                canvas.dot((x, y), 4.0, class);
                let label = (self.format)(*value);
                if canvas.frame.width_of(&label) + 6.0 <= room {
                    // Keep the label off the axis.
                    let is_low = y + away > axes.bottom - canvas.frame.font * 0.6;
                    let at = if is_low { y - away } else { y + away };
                    canvas.text((x, at), Anchor::Middle, &label, "strong");
                }
            }
        }
    }

    fn draw_bars(&self, canvas: &mut Canvas, axes: &Axes, count: f64) {
        let room = (axes.right - axes.left) / count.max(1.0);
        let width = (room * 0.36).min(60.0);
        for (index, (line, class)) in self.lines.iter().zip(CLASSES).enumerate() {
            for (place, value) in line.iter().enumerate() {
                let middle = axes.x(place as f64);
                let from = if index == 0 {
                    middle - width - 0.75
                } else {
                    middle + 0.75
                };
                let y = axes.y(*value);
                let top = y.min(axes.bottom - 1.0);
                canvas.bar((from, top), (from + width, axes.bottom), 1.0, class);
                let label = (self.format)(*value);
                if canvas.frame.width_of(&label) <= width {
                    let above = (from + width / 2.0, y - canvas.frame.font * 0.75);
                    canvas.text(above, Anchor::Middle, &label, "strong");
                }
            }
        }
    }
}
