//! Drawing SVG. Colours are classes of the page's style sheet, so that the theme of the page defines them: `f-` fills a
//! shape, `s-` draws a line and `o-` an outline.

use std::fmt::Write;

/// Coordinates are whole numbers; a CSS pixel has this many units.
const FINE: f64 = 4.0;

/// The size of a drawing, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) width: f64,
    /// The size of the text.
    pub(crate) font: f64,
    pub(crate) is_narrow: bool,
}

impl Frame {
    /// For wide pages.
    pub(crate) const WIDE: Self = Self {
        width: 960.0,
        font: 13.0,
        is_narrow: false,
    };
    /// For phones.
    pub(crate) const NARROW: Self = Self {
        width: 350.0,
        font: 12.5,
        is_narrow: true,
    };

    /// The approximate width of a text.
    pub(crate) fn width_of(self, text: &str) -> f64 {
        text.chars().count() as f64 * self.font * 0.56
    }

    /// The most ticks of an x axis.
    pub(crate) fn most_ticks(self) -> usize {
        if self.is_narrow { 4 } else { 10 }
    }
}

/// Which part of a text is at its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing in progress. Points are in CSS pixels from the upper left corner.
pub(crate) struct Canvas {
    svg: String,
    pub(crate) frame: Frame,
}

/// Draws in a frame.
pub(crate) fn draw(frame: Frame, height: f64, paint: impl FnOnce(&mut Canvas)) -> Drawing {
    let svg = String::new();
    let mut canvas = Canvas { svg, frame };
    paint(&mut canvas);
    Drawing {
        width: fine(frame.width),
        height: fine(height),
        elements: canvas.svg,
    }
}

/// The content of an `svg` element.
#[derive(Debug)]
pub(crate) struct Drawing {
    /// In units of the view box.
    pub(crate) width: i32,
    pub(crate) height: i32,
    pub(crate) elements: String,
}

impl Drawing {
    pub(crate) fn view_box(&self) -> String {
        format!("0 0 {} {}", self.width, self.height)
    }

    /// This drawing with another one below it.
    pub(crate) fn above(mut self, below: &Self) -> Self {
        let (top, elements) = (self.height, &below.elements);
        self.elements += &format!(r#"<g transform="translate(0 {top})">{elements}</g>"#);
        self.width = self.width.max(below.width);
        self.height += below.height;
        self
    }

    /// Its size in CSS pixels.
    pub(crate) fn pixels(&self) -> [f64; 2] {
        [self.width, self.height].map(|length| f64::from(length) / FINE)
    }
}

fn fine(length: f64) -> i32 {
    (length * FINE).round() as i32
}

fn list(points: &[(f64, f64)]) -> String {
    let points = points
        .iter()
        .map(|(x, y)| format!("{},{}", fine(*x), fine(*y)));
    points.collect::<Vec<_>>().join(" ")
}

impl Canvas {
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        self.svg
            .write_fmt(element)
            .expect("writing to memory does not fail");
    }

    pub(crate) fn line(&mut self, points: &[(f64, f64)], class: &str, width: f64) {
        let (width, points) = (fine(width).max(1), list(points));
        self.add(format_args!(
            r#"<polyline class="s-{class}" stroke-width="{width}" points="{points}"/>"#
        ));
    }

    /// A dashed line with a background, visible over everything.
    pub(crate) fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.line(&[from, to], "halo", 2.5);
        self.line(&[from, to], "rule", 1.25);
    }

    pub(crate) fn fill(&mut self, points: &[(f64, f64)], class: &str) {
        let points = list(points);
        self.add(format_args!(
            r#"<polygon class="f-{class}" points="{points}"/>"#
        ));
    }

    /// A filled rectangle from one corner to the other, at least `least` wide.
    pub(crate) fn bar(&mut self, from: (f64, f64), to: (f64, f64), least: f64, class: &str) {
        self.rectangle(from, to, least, &format!("f-{class}"));
    }

    /// A rectangle with a whole class name.
    pub(crate) fn rectangle(&mut self, from: (f64, f64), to: (f64, f64), least: f64, class: &str) {
        let (x, y) = (fine(from.0), fine(from.1));
        let (width, height) = (fine(to.0.max(from.0 + least)) - x, fine(to.1) - y);
        self.add(format_args!(
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" class="{class}"/>"#
        ));
    }

    pub(crate) fn dot(&mut self, at: (f64, f64), radius: f64, class: &str) {
        let (x, y, radius) = (fine(at.0), fine(at.1), fine(radius));
        self.add(format_args!(
            r#"<circle cx="{x}" cy="{y}" r="{radius}" class="f-{class}"/>"#
        ));
    }

    /// A circle without a filling.
    pub(crate) fn ring(&mut self, at: (f64, f64), radius: f64, class: &str) {
        let (x, y, radius) = (fine(at.0), fine(at.1), fine(radius));
        self.add(format_args!(
            r#"<circle cx="{x}" cy="{y}" r="{radius}" class="s-{class}"/>"#
        ));
    }

    /// A text, vertically centred at a point.
    pub(crate) fn text(&mut self, at: (f64, f64), anchor: Anchor, text: &str, class: &str) {
        let (x, y, size) = (fine(at.0), fine(at.1), fine(self.frame.font));
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(format_args!(
            r#"<text x="{x}" y="{y}" dy="0.5ex" text-anchor="{anchor}" font-size="{size}" class="f-{class}">{text}</text>"#
        ));
    }
}
