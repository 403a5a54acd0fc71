//! Quantities over a common x axis, one panel above the other.

use crate::numbers::count;
use crate::plot::axes::{Axes, Axis};
use crate::plot::canvas::{Anchor, Canvas, Drawing, Frame, draw};

/// Room for half a label at the right.
const HALF_LABEL: f64 = 14.0;

/// How values become positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        }
    }
}

/// The x axis.
#[derive(Debug, Clone)]
pub(crate) enum X {
    /// With a tick at each of these values.
    Values {
        values: Vec<f64>,
        scale: Scale,
        title: &'static str,
    },
    /// Times on a logarithmic scale.
    Times { title: &'static str },
}

/// A line through its points, or only the points.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    /// The class of its colour.
    pub(crate) class: &'static str,
    /// By ascending x if they are connected.
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) is_connected: bool,
    /// The radius of the points; 0 for none.
    pub(crate) radius: f64,
}

/// A quantity.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// Its name and unit.
    pub(crate) title: &'static str,
    /// A linear axis begins at 0; a logarithmic one is for times.
    pub(crate) scale: Scale,
    /// The highest value that is drawn; that of the curves if `None`.
    pub(crate) most: Option<f64>,
    pub(crate) format: fn(f64) -> String,
    pub(crate) curves: Vec<Curve>,
    /// Whether values are written at the points, for at most two curves with the same x.
    pub(crate) has_values: bool,
    /// A point to mark.
    pub(crate) mark: Option<(f64, f64)>,
}

/// Quantities over a common x axis.
#[derive(Debug, Clone)]
pub(crate) struct Curves {
    pub(crate) x: X,
    pub(crate) panels: Vec<Panel>,
    /// What the marks are called.
    pub(crate) mark: &'static str,
}

impl Curves {
    pub(crate) fn draw(&self, frame: Frame) -> Drawing {
        let each = match (frame.is_narrow, self.panels.len()) {
            (true, 1) => 280.0,
            (false, 1) => 320.0,
            _ => 220.0,
        };
        let height = each * self.panels.len() as f64;
        draw(frame, height, |canvas| {
            let axes: Vec<Axes> = self
                .panels
                .iter()
                .map(|panel| self.axes(panel, frame, each))
                .collect();
            // Values stand above each other in all panels.
            let left = axes.iter().map(|axes| axes.left).fold(0.0, f64::max);
            for (index, (panel, mut axes)) in self.panels.iter().zip(axes).enumerate() {
                axes.left = left;
                let down = each * index as f64;
                axes.top += down;
                axes.bottom += down;
                axes.title += down;
                self.thin(canvas, &mut axes);
                axes.draw(canvas);
                self.draw_panel(canvas, &axes, panel);
            }
        })
    }

    fn axes(&self, panel: &Panel, frame: Frame, height: f64) -> Axes {
        let values = || panel.curves.iter().flat_map(|curve| &curve.points);
        let highest = values().map(|(_, y)| *y).fold(0.0, f64::max);
        let most = panel.most.map_or(highest, |most| most.min(highest));
        let y = match panel.scale {
            Scale::Linear => Axis::up_to(most.max(1e-9), 4, panel.title, panel.format),
            Scale::Logarithmic => {
                let positive = values().map(|(_, y)| *y).filter(|y| *y > 0.0);
                let least = positive.fold(f64::INFINITY, f64::min);
                Axis::of_times(least.min(most), most, panel.title)
            }
        };
        let mut axes = Axes::within(frame, height, self.x_axis(), y);
        axes.right -= HALF_LABEL;
        axes.bottom -= 6.0;
        axes
    }

    fn x_axis(&self) -> Axis {
        match &self.x {
            X::Values {
                values,
                scale,
                title,
            } => {
                let at = |value: &f64| scale.of(*value);
                let first = values.iter().map(at).fold(f64::INFINITY, f64::min);
                let last = values.iter().map(at).fold(f64::NEG_INFINITY, f64::max);
                // A single value stands in the middle.
                let margin = match last - first {
                    span if span > 0.0 => span * 0.05,
                    _ => 1.0,
                };
                let tick = |value: &f64| (scale.of(*value), count(value.round() as u64));
                Axis {
                    from: first - margin,
                    to: last + margin,
                    ticks: values.iter().map(tick).collect(),
                    title: (*title).into(),
                }
            }
            X::Times { title } => {
                let curves = self.panels.iter().flat_map(|panel| &panel.curves);
                let times = || {
                    curves
                        .clone()
                        .flat_map(|curve| &curve.points)
                        .map(|(x, _)| *x)
                };
                let most = times().fold(0.0, f64::max);
                let least = times().filter(|x| *x > 0.0).fold(f64::INFINITY, f64::min);
                Axis::of_times(least.min(most), most, title)
            }
        }
    }

    fn x_of(&self, value: f64) -> f64 {
        match &self.x {
            X::Values { scale, .. } => scale.of(value),
            X::Times { .. } => Scale::Logarithmic.of(value),
        }
    }

    /// Leaves out labels of the x axis for which there is no room. The first and the last one stay.
    fn thin(&self, canvas: &Canvas, axes: &mut Axes) {
        let ticks = std::mem::take(&mut axes.x.ticks);
        let edges = |axes: &Axes, (value, label): &(f64, String)| {
            let half = canvas.frame.width_of(label) / 2.0 + 3.0;
            (axes.x(*value) - half, axes.x(*value) + half)
        };
        let last = ticks.last().map(|tick| edges(axes, tick).0);
        let mut free = f64::NEG_INFINITY;
        let count = ticks.len();
        for (index, tick) in ticks.into_iter().enumerate() {
            let (left, right) = edges(axes, &tick);
            let is_last = index + 1 == count;
            let fits = left >= free && last.is_none_or(|last| right <= last);
            if index == 0 || is_last || fits {
                free = right;
                axes.x.ticks.push(tick);
            }
        }
    }

    fn draw_panel(&self, canvas: &mut Canvas, axes: &Axes, panel: &Panel) {
        let at = |(x, y): (f64, f64)| (axes.x(self.x_of(x)), axes.y(panel.scale.of(y)));
        let is_shown = |(_, y): &&(f64, f64)| panel.most.is_none_or(|most| *y <= most);
        for (index, curve) in panel.curves.iter().enumerate() {
            let shown: Vec<(f64, f64)> = curve.points.iter().filter(is_shown).copied().collect();
            let points: Vec<(f64, f64)> = shown.iter().copied().map(at).collect();
            if curve.is_connected {
                canvas.line(&points, curve.class, 2.25);
            }
            if curve.radius > 0.0 {
                for &point in &points {
                    canvas.dot(point, curve.radius, curve.class);
                }
            }
            if panel.has_values {
                let other = panel.curves.iter().rev().nth(index);
                let at_first = index == 0;
                let value = |(index, (_, y)): (usize, &(f64, f64))| {
                    let beside = other.and_then(|other| other.points.get(index));
                    // Of equal values, the first one stands above.
                    let is_above =
                        beside.is_none_or(|(_, beside)| y > beside || y == beside && at_first);
                    ((panel.format)(*y), is_above)
                };
                let values = shown.iter().enumerate().map(value);
                draw_values(canvas, axes, &points, values);
            }
        }
        let Some(mark) = panel.mark else { return };
        let (x, y) = at(mark);
        canvas.rule((x, axes.top), (x, axes.bottom));
        canvas.ring((x, y), 7.5, "mark");
        let half = canvas.frame.width_of(self.mark) / 2.0;
        let middle = x.clamp(half, (canvas.frame.width - half).max(half));
        let label = (middle, axes.top - canvas.frame.font * 0.7);
        canvas.text(label, Anchor::Middle, self.mark, "strong");
    }
}

/// Writes values above or below their points, where there is room.
fn draw_values(
    canvas: &mut Canvas,
    axes: &Axes,
    points: &[(f64, f64)],
    values: impl Iterator<Item = (String, bool)>,
) {
    let mut free = f64::NEG_INFINITY;
    for (&(x, y), (label, is_above)) in points.iter().zip(values) {
        let half = canvas.frame.width_of(&label) / 2.0 + 3.0;
        // On the canvas, and off the labels of the y axis.
        let most = (canvas.frame.width - half).max(axes.left + half);
        let middle = x.clamp(axes.left + half, most);
        if middle - half < free {
            continue;
        }
        free = middle + half;
        let away = canvas.frame.font * if is_above { -0.95 } else { 1.05 };
        // Keep the label off the axis.
        let is_low = y + away > axes.bottom - canvas.frame.font * 0.6;
        let at = if is_low { y - away } else { y + away };
        canvas.text((middle, at), Anchor::Middle, &label, "strong");
    }
}
