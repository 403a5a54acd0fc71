//! The distribution of batch times.

use crate::numbers::{count, duration};
use crate::plot::axes::{Axes, Axis, unit};
use crate::plot::canvas::{Anchor, Drawing, Frame, draw};
use crate::statistics::{Distribution, Histogram};

pub(crate) fn draw_histogram(
    histogram: &Histogram,
    spread: &Distribution,
    frame: Frame,
) -> Drawing {
    let height = if frame.is_narrow { 260.0 } else { 300.0 };
    draw(frame, height, |canvas| {
        let bins = &histogram.bins;
        let most = bins.iter().map(|bin| bin.warm + bin.cold).max();
        let from = bins.first().map_or(0.0, |bin| bin.from);
        let to = bins.last().map_or(1.0, |bin| bin.from + histogram.width);
        let title = |name: &str| format!("{name} of an invocation");
        let x = Axis::of_time((from, to), unit(to), frame.most_ticks(), title);
        let y = Axis::of_counts(most.unwrap_or(0), 5, "invocations");
        let row = frame.font * 1.35;
        let axes = Axes {
            top: frame.font * 1.6 + row * 3.0,
            ..Axes::within(frame, height, x, y)
        };
        axes.draw(canvas);
        for bin in bins {
            let left = axes.x(bin.from) + 0.5;
            let right = axes.x(bin.from + histogram.width) - 0.5;
            let warm = axes.y(bin.warm as f64);
            let all = axes.y((bin.warm + bin.cold) as f64);
            if bin.warm > 0 {
                let top = warm.min(axes.bottom - 1.0);
                canvas.bar((left, top), (right, axes.bottom), 1.0, "work");
            }
            if bin.cold > 0 {
                canvas.bar((left, all.min(warm - 1.0)), (right, warm), 1.0, "cold");
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
            let label = format!("{name} {}", duration(seconds));
            let half = frame.width_of(&label) / 2.0;
            let middle = x.clamp(half, (frame.width - half).max(half));
            canvas.text((middle, at), Anchor::Middle, &label, "strong");
        }
        if histogram.beyond > 0 {
            let label = format!("{} beyond →", count(histogram.beyond));
            let at = (frame.width - 8.0, frame.font * 0.7);
            canvas.text(at, Anchor::End, &label, "text");
        }
    })
}
