//! Invocations by environment.

use crate::numbers::count;
use crate::plot::axes::{Axes, Axis, TimeAxis, below};
use crate::plot::canvas::{Anchor, Canvas, Drawing, Frame, draw};
use crate::time::{Lane, Mark, MarkKind, Timeline};

/// The most characters of an environment's name that are shown.
const NAME: usize = 16;

pub(crate) fn draw_timeline(timeline: &Timeline, axis: TimeAxis<'_>, frame: Frame) -> Drawing {
    let lanes = &timeline.lanes;
    let lane_height = match lanes.len() {
        0..=4 => 30.0,
        5..=12 => 20.0,
        13..=24 => 14.0,
        _ => 10.0,
    };
    let most_throttled = timeline.throttled.iter().map(|step| step.1).max();
    let throttled = most_throttled.map_or(0.0, |_| 30.0);
    let top = frame.font * 2.6;
    let all = lane_height * lanes.len() as f64;
    let height = top + all + 4.0 + throttled + below(frame.font);
    draw(frame, height, |canvas| {
        let (title, names) = names(lanes, frame, lane_height);
        let mut labels = names.clone();
        if throttled > 0.0 && !frame.is_narrow {
            labels.push((0.0, "throttled".into()));
        }
        let y = Axis {
            from: 0.0,
            to: 1.0,
            ticks: Vec::new(),
            title: title.into(),
        };
        let axes = Axes {
            left: Axes::room(frame, &labels).max(24.0),
            ..Axes::within(frame, height, axis.axis(frame.most_ticks()), y)
        };
        for (value, _) in &axes.x.ticks {
            let x = axes.x(*value);
            canvas.line(&[(x, axes.top), (x, axes.bottom)], "grid", 1.0);
        }
        axes.draw(canvas);
        for (lane, label) in &names {
            let y = top + (lane + 0.5) * lane_height;
            canvas.text((axes.left - 8.0, y), Anchor::End, label, "text");
        }
        let gap = if lane_height > 12.0 { 3.0 } else { 1.0 };
        for (index, lane) in lanes.iter().enumerate() {
            let from = top + index as f64 * lane_height + gap / 2.0;
            let row = (from, from + lane_height - gap);
            for mark in &lane.marks {
                draw_mark(canvas, &axes, mark, row, timeline.is_merged);
            }
        }
        if let Some(most) = most_throttled {
            let base = axes.bottom - 3.0;
            for &(seconds, calls) in &timeline.throttled {
                let up = 4.0 + 18.0 * calls as f64 / most as f64;
                let x = axes.x(seconds);
                canvas.bar((x - 1.5, base - up), (x + 1.5, base), 3.0, "throttled");
            }
            let label = if frame.is_narrow { "" } else { "throttled" };
            canvas.text((axes.left - 8.0, base - 10.0), Anchor::End, label, "text");
        }
        axes.draw_pauses(canvas, axis);
    })
}

fn draw_mark(
    canvas: &mut Canvas,
    axes: &Axes,
    mark: &Mark,
    (top, bottom): (f64, f64),
    is_merged: bool,
) {
    let (from, to) = (axes.x(mark.from), axes.x(mark.to));
    let class = match mark.kind {
        MarkKind::Work(4) => "work",
        MarkKind::Work(3) => "work3",
        MarkKind::Work(2) => "work2",
        MarkKind::Work(_) => "work1",
        MarkKind::Cold => "cold",
        MarkKind::Retry => "retry",
        MarkKind::Duplicate => "duplicate",
        MarkKind::Failed => "failed",
        MarkKind::Unanswered => "unanswered",
    };
    match mark.kind {
        // Neighbours touch, so that a lane at work all the time is one band.
        MarkKind::Work(_) if is_merged => canvas.bar((from, top), (to, bottom), 0.5, class),
        // Over the shades: in the lower part of the lane.
        _ if is_merged => {
            let middle = bottom - (bottom - top) * 0.45;
            canvas.bar((from, middle), (to, bottom), 2.0, class);
        }
        MarkKind::Cold => canvas.bar(
            (from.min(to - 3.0).max(axes.left), top),
            (to.max(axes.left + 3.0), bottom),
            3.0,
            class,
        ),
        MarkKind::Failed | MarkKind::Unanswered => {
            let (from, to) = ((from + 0.5, top + 0.5), (to - 0.5, bottom - 0.5));
            canvas.rectangle(from, to, 2.5, &format!("o-{class}"));
        }
        // A small gap between neighbouring invocations.
        _ => canvas.bar((from, top), ((to - 0.75).max(from), bottom), 0.75, class),
    }
}

/// The names of lanes where there is room, else some of the environments' numbers; with their title.
fn names(lanes: &[Lane], frame: Frame, lane_height: f64) -> (&'static str, Vec<(f64, String)>) {
    let is_known = |lane: &&Lane| lane.environments > 0;
    let are_numbers =
        frame.is_narrow || lane_height < 14.0 || lanes.iter().any(|lane| lane.environments > 1);
    let mut labels = Vec::new();
    if !are_numbers {
        let known = lanes.iter().enumerate().filter(|(_, lane)| is_known(lane));
        labels.extend(known.map(|(index, lane)| (index as f64, shortened(&lane.name))));
    } else {
        // Every lane where there is room, else every few.
        let lines = if lane_height < 14.0 { 2.5 } else { 1.0 };
        let every = (frame.font * lines / lane_height).ceil().max(1.0) as usize;
        let mut before = 0;
        for (index, lane) in lanes.iter().take_while(is_known).enumerate() {
            if index % every == 0 {
                labels.push((index as f64, count(before + 1)));
            }
            before += lane.environments;
        }
    }
    if let Some(unknown) = lanes.iter().position(|lane| lane.environments == 0) {
        let label = if frame.is_narrow { "?" } else { "not recorded" };
        labels.retain(|(index, _)| (unknown as f64 - index) * lane_height >= frame.font);
        labels.push((unknown as f64, label.into()));
    }
    match are_numbers {
        true => ("environments", labels),
        false => ("environment", labels),
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    let begin: String = name.chars().take(NAME - 1).collect();
    format!("{begin}…")
}
