//! The distribution of batch times.

use crate::numbers;
use crate::plot::axes::{Axes, Axis, below};
use crate::plot::canvas::{Drawing, Frame, Ink, Side, draw};
use crate::statistics::{Distribution, Histogram};

pub(crate) fn draw_histogram(
    histogram: &Histogram,
    spread: &Distribution,
    frame: Frame,
) -> Drawing {
    let height = if frame.is_narrow { 260.0 } else { 300.0 };
    draw(frame, height, |canvas| {
        let bins = &histogram.bins;
        let most = bins
            .iter()
            .map(|bin| bin.warm + bin.cold)
            .max()
            .unwrap_or(0);
        let from = bins.first().map_or(0.0, |bin| bin.from);
        let to = bins.last().map_or(1.0, |bin| bin.from + histogram.width);
        let (unit, name) = unit(to);
        let y = Axis::of_counts(most, 5, "invocations");
        let mut x = Axis::between(
            from / unit,
            to / unit,
            if frame.is_narrow { 4 } else { 10 },
            &format!("{name} of an invocation"),
            numbers::number,
        );
        (x.from, x.to) = (from, to);
        x.ticks.iter_mut().for_each(|tick| tick.0 *= unit);
        let row = frame.font * 1.35;
        let axes = Axes {
            left: Axes::room(canvas, &y.ticks),
            right: frame.width - 8.0,
            top: frame.font * 1.6 + row * 3.0,
            bottom: height - below(frame.font),
            x,
            y,
        };
        axes.draw(canvas, frame.font * 0.7);
        for bin in bins {
            let (left, right) = (
                axes.x(bin.from) + 0.5,
                axes.x(bin.from + histogram.width) - 0.5,
            );
            let warm = axes.y(bin.warm as f64);
            let all = axes.y((bin.warm + bin.cold) as f64);
            if bin.warm > 0 {
                canvas.bar(
                    (left, warm.min(axes.bottom - 1.0)),
                    (right, axes.bottom),
                    1.0,
                    Ink::Work,
                );
            }
            if bin.cold > 0 {
                canvas.bar((left, all.min(warm - 1.0)), (right, warm), 1.0, Ink::Cold);
            }
        }
        let marks = [
            ("p50", spread.p50),
            ("p95", spread.p95),
            ("p99", spread.p99),
        ];
        for (index, (name, seconds)) in marks.into_iter().enumerate() {
            let x = axes.x(seconds);
            let at = frame.font * 2.2 + index as f64 * row;
            canvas.rule((x, at + frame.font * 0.6), (x, axes.bottom));
            let label = format!("{name} {}", numbers::duration(seconds));
            let half = frame.width_of(&label) / 2.0;
            let middle = x.clamp(half, (frame.width - half).max(half));
            canvas.text((middle, at), Side::Middle, &label, Ink::Strong);
        }
        if histogram.beyond > 0 {
            let label = format!("{} beyond →", numbers::count(histogram.beyond));
            canvas.text(
                (frame.width - 8.0, frame.font * 0.7),
                Side::Left,
                &label,
                Ink::Text,
            );
        }
    })
}

/// The unit of the axis in seconds, and its name.
fn unit(to: f64) -> (f64, &'static str) {
    match to {
        ..0.9 => (1e-3, "milliseconds"),
        0.9..180.0 => (1.0, "seconds"),
        180.0..10_800.0 => (60.0, "minutes"),
        _ => (3_600.0, "hours"),
    }
}
