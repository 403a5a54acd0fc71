//! Axes: ticks at round values, a thin grid, titles with units.

use crate::numbers::{count, duration, number};
use crate::plot::canvas::{Anchor, Canvas, Frame};
use crate::statistics::round_up;
use crate::time::Pause;

/// A scale with its ticks.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) title: String,
}

impl Axis {
    /// From 0 to a round value of at least `to`, in at most `most` steps.
    pub(crate) fn up_to(to: f64, most: usize, title: &str, format: fn(f64) -> String) -> Self {
        let step = round_up(to / most as f64).unwrap_or(1.0);
        let steps = (to / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=steps as usize).map(|tick| tick as f64 * step);
        Self {
            from: 0.0,
            to: steps * step,
            ticks: ticks.map(|tick| (tick, format(tick))).collect(),
            title: title.into(),
        }
    }

    /// The same for counts: all ticks are whole numbers.
    pub(crate) fn of_counts(to: u64, most: usize, title: &str) -> Self {
        let to = (to as f64).max(1.0);
        let mut axis = Self::up_to(to, most, title, |value| count(value as u64));
        axis.ticks.retain(|(value, _)| value.fract() == 0.0);
        axis
    }

    /// From one value to another, with ticks at round values between them.
    pub(crate) fn between(
        from: f64,
        to: f64,
        most: usize,
        title: &str,
        format: fn(f64) -> String,
    ) -> Self {
        let step = round_up((to - from) / most as f64).unwrap_or(1.0);
        let (first, last) = (
            (from / step - 1e-9).ceil() as i64,
            (to / step + 1e-9).floor() as i64,
        );
        let ticks = (first..=last).map(|tick| tick as f64 * step);
        Self {
            from,
            to,
            ticks: ticks.map(|tick| (tick, format(tick))).collect(),
            title: title.into(),
        }
    }

    /// From one time to another, with ticks at round values of a unit. `title` makes the title from the unit's name.
    pub(crate) fn of_time(
        (from, to): (f64, f64),
        (unit, name): (f64, &str),
        most: usize,
        title: impl FnOnce(&str) -> String,
    ) -> Self {
        let mut axis = Self::between(from / unit, to / unit, most, &title(name), number);
        (axis.from, axis.to) = (from, to);
        axis.ticks.iter_mut().for_each(|tick| tick.0 *= unit);
        axis
    }

    /// A logarithmic axis for times.
    pub(crate) fn of_times(from: f64, to: f64, title: &str) -> Self {
        const ROUND: [f64; 12] = [
            1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 60.0, 600.0, 3.6e3, 3.6e4, 3.6e5, 3.6e6,
        ];
        let last = ROUND.len() - 1;
        let before = ROUND.partition_point(|tick| *tick <= from);
        let before = before.saturating_sub(1);
        let after = ROUND.partition_point(|tick| *tick < to).min(last);
        let ticks = &ROUND[before..=after.max(before + 1).min(last)];
        let tick = |tick: &f64| (tick.log10(), short_time(*tick));
        Self {
            from: ticks[0].log10(),
            to: ticks[ticks.len() - 1].log10(),
            ticks: ticks.iter().map(tick).collect(),
            title: title.into(),
        }
    }
}

fn short_time(seconds: f64) -> String {
    match seconds {
        1.0 => "1 s".into(),
        10.0 => "10 s".into(),
        seconds => duration(seconds),
    }
}

/// The unit for times up to `seconds`: its length in seconds, and its name.
pub(crate) fn unit(seconds: f64) -> (f64, &'static str) {
    match seconds {
        ..0.9 => (1e-3, "milliseconds"),
        0.9..=180.0 => (1.0, "seconds"),
        180.0..=10_800.0 => (60.0, "minutes"),
        _ => (3_600.0, "hours"),
    }
}

/// The axis of time at work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeAxis<'a> {
    pub(crate) seconds: f64,
    pub(crate) pauses: &'a [Pause],
}

impl TimeAxis<'_> {
    pub(crate) fn axis(&self, most: usize) -> Axis {
        let unit = unit(self.seconds.max(1.0));
        Axis::of_time((0.0, self.seconds), unit, most, |name| match self.pauses {
            [] => format!("{name} since the start"),
            _ => format!("{name} at work, pauses cut out"),
        })
    }
}

/// The position of a plot on its canvas, and its axes.
pub(crate) struct Axes {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    /// Where the title of the y axis is.
    pub(crate) title: f64,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

impl Axes {
    /// Axes that fill a drawing.
    pub(crate) fn within(frame: Frame, height: f64, x: Axis, y: Axis) -> Self {
        Self {
            left: Self::room(frame, &y.ticks),
            right: frame.width - 8.0,
            top: frame.font * 2.6,
            bottom: height - below(frame.font),
            title: frame.font * 0.7,
            x,
            y,
        }
    }

    /// The width that the labels of a y axis take.
    pub(crate) fn room(frame: Frame, labels: &[(f64, String)]) -> f64 {
        let widths = labels.iter().map(|(_, label)| frame.width_of(label));
        widths.fold(0.0, f64::max) + 14.0
    }

    pub(crate) fn x(&self, value: f64) -> f64 {
        let along = (value - self.x.from) / (self.x.to - self.x.from);
        self.left + along.clamp(0.0, 1.0) * (self.right - self.left)
    }

    pub(crate) fn y(&self, value: f64) -> f64 {
        let along = (value - self.y.from) / (self.y.to - self.y.from);
        self.bottom - along.clamp(0.0, 1.0) * (self.bottom - self.top)
    }

    /// The grid, ticks and titles. They are drawn first, below the marks.
    pub(crate) fn draw(&self, canvas: &mut Canvas) {
        for (value, label) in &self.y.ticks {
            let y = self.y(*value);
            canvas.line(&[(self.left, y), (self.right, y)], "grid", 1.0);
            canvas.text((self.left - 8.0, y), Anchor::End, label, "text");
        }
        let title = (2.0, self.title);
        canvas.text(title, Anchor::Start, &self.y.title, "strong");
        let base = [(self.left, self.bottom), (self.right, self.bottom)];
        canvas.line(&base, "base", 1.0);
        let below = self.bottom + 6.0 + canvas.frame.font * 0.7;
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            canvas.line(&[(x, self.bottom), (x, self.bottom + 4.0)], "base", 1.0);
            // A label stays on the canvas.
            let half = canvas.frame.width_of(label) / 2.0;
            let (at, side) = if x + half > canvas.frame.width {
                (canvas.frame.width, Anchor::End)
            } else {
                (x, Anchor::Middle)
            };
            canvas.text((at, below), side, label, "text");
        }
        let under = below + canvas.frame.font * 1.5;
        let middle = ((self.left + self.right) / 2.0, under);
        canvas.text(middle, Anchor::Middle, &self.x.title, "strong");
    }

    /// Dashed lines where pauses are left out, with their durations where there is room.
    pub(crate) fn draw_pauses(&self, canvas: &mut Canvas, axis: TimeAxis<'_>) {
        let label_at = canvas.frame.font * 1.9;
        let mut free = self.left;
        for pause in axis.pauses {
            let x = self.x(pause.at);
            canvas.rule((x, label_at + canvas.frame.font * 0.7), (x, self.bottom));
            let label = format!("{} cut", duration(pause.seconds));
            let width = canvas.frame.width_of(&label);
            let from = (x - width / 2.0).min(self.right - width);
            if from >= free {
                canvas.text((from, label_at), Anchor::Start, &label, "text");
                free = from + width + 8.0;
            }
        }
    }
}

/// The height of ticks and title below the base line.
pub(crate) fn below(canvas_font: f64) -> f64 {
    canvas_font * 3.2 + 4.0
}
