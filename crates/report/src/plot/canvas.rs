//! Drawing SVG that takes its colours from the page.
//!
//! plotters writes colours into attributes. Here they are placeholders, one for each [`Ink`], which become CSS classes when
//! the drawing is finished, so that the theme of the page defines the colours.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// plotters rounds to whole pixels; its canvas is larger by this factor.
const FINE: f64 = 4.0;
/// plotters writes font sizes smaller by this factor.
const FONT: f64 = 1.24;

/// The size of a drawing, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) width: f64,
    /// Of the text.
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
}

macro_rules! inks {
    ($($(#[$doc:meta])* $ink:ident $class:literal)*) => {
        /// A colour: a class of the page's style sheet.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Ink { $($(#[$doc])* $ink),* }

        impl Ink {
            /// All of them with their classes.
            const CLASSES: &[(Self, &str)] = &[$((Self::$ink, $class)),*];
        }
    };
}

inks! {
    /// Text of labels and ticks.
    Text "text"
    /// Emphasized text.
    Strong "strong"
    /// Lines of the grid.
    Grid "grid"
    /// The base line of a plot.
    Base "base"
    /// A dashed line for a cut, a limit or a mean, and its background.
    Rule "rule"
    Halo "halo"
    /// Work, in four shades.
    Work "work"
    Work3 "work3"
    Work2 "work2"
    Work1 "work1"
    /// The area under a line of work.
    WorkArea "work-area"
    Cold "cold"
    Retry "retry"
    Duplicate "duplicate"
    Failed "failed"
    Unanswered "unanswered"
    Throttled "throttled"
    Records "records"
    RecordsArea "records-area"
    Monolithic "monolithic"
    Parallel "parallel"
}

impl Ink {
    fn placeholder(self) -> RGBColor {
        RGBColor(0xF0, 0x0D, self as u8)
    }
}

/// The anchor of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Its left end is there.
    Right,
    /// Its right end is there.
    Left,
    /// Its middle is there.
    Middle,
}

/// A drawing in progress. Points are in CSS pixels from the upper left corner.
pub(crate) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    pub(crate) frame: Frame,
}

/// Draws in a frame.
pub(crate) fn draw(frame: Frame, height: f64, paint: impl FnOnce(&Canvas<'_>)) -> Drawing {
    let mut svg = String::new();
    let size = (fine(frame.width) as u32, fine(height) as u32);
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let canvas = Canvas { area, frame };
        paint(&canvas);
        canvas.area.present().expect("memory takes it");
    }
    Drawing {
        view_box: format!("0 0 {} {}", size.0, size.1),
        elements: themed(&svg),
    }
}

/// The content of an `svg` element.
#[derive(Debug)]
pub(crate) struct Drawing {
    pub(crate) view_box: String,
    pub(crate) elements: String,
}

fn fine(length: f64) -> i32 {
    (length * FINE).round() as i32
}

fn point((x, y): (f64, f64)) -> (i32, i32) {
    (fine(x), fine(y))
}

impl Canvas<'_> {
    pub(crate) fn line(&self, points: &[(f64, f64)], ink: Ink, width: f64) {
        let points: Vec<_> = points.iter().copied().map(point).collect();
        let style = ink.placeholder().stroke_width(fine(width).max(1) as u32);
        self.area
            .draw(&PathElement::new(points, style))
            .expect("memory takes it");
    }

    /// A dashed line with a background, visible over everything.
    pub(crate) fn rule(&self, from: (f64, f64), to: (f64, f64)) {
        self.line(&[from, to], Ink::Halo, 2.5);
        self.line(&[from, to], Ink::Rule, 1.25);
    }

    pub(crate) fn fill(&self, points: &[(f64, f64)], ink: Ink) {
        let points: Vec<_> = points.iter().copied().map(point).collect();
        self.area
            .draw(&Polygon::new(points, ink.placeholder().filled()))
            .expect("memory takes it");
    }

    /// A rectangle from one corner to the other, at least `least` wide.
    pub(crate) fn bar(&self, from: (f64, f64), to: (f64, f64), least: f64, ink: Ink) {
        let to = (to.0.max(from.0 + least), to.1);
        self.area
            .draw(&Rectangle::new(
                [point(from), point(to)],
                ink.placeholder().filled(),
            ))
            .expect("memory takes it");
    }

    /// The outline of a rectangle.
    pub(crate) fn outline(&self, from: (f64, f64), to: (f64, f64), least: f64, ink: Ink) {
        let to = (to.0.max(from.0 + least), to.1);
        self.area
            .draw(&Rectangle::new(
                [point(from), point(to)],
                ink.placeholder().stroke_width(1),
            ))
            .expect("memory takes it");
    }

    pub(crate) fn dot(&self, at: (f64, f64), radius: f64, ink: Ink) {
        self.area
            .draw(&Circle::new(
                point(at),
                fine(radius),
                ink.placeholder().filled(),
            ))
            .expect("memory takes it");
    }

    /// A text, vertically centred at a point.
    pub(crate) fn text(&self, at: (f64, f64), side: Side, text: &str, ink: Ink) {
        let across = match side {
            Side::Right => HPos::Left,
            Side::Left => HPos::Right,
            Side::Middle => HPos::Center,
        };
        let colour = ink.placeholder();
        let style = TextStyle::from(("sans-serif", self.frame.font * FINE * FONT).into_font())
            .color(&colour)
            .pos(Pos::new(across, VPos::Center));
        self.area
            .draw(&Text::new(text, point(at), style))
            .expect("memory takes it");
    }
}

/// Replaces placeholders by classes and drops default attributes. Quotes within texts are escaped, so that only attributes
/// match.
fn themed(svg: &str) -> String {
    let begin = svg.find('>').map_or(0, |end| end + 1);
    let end = svg.rfind("</svg>").unwrap_or(svg.len());
    let mut svg = svg[begin..end]
        .replace(" opacity=\"1\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" stroke=\"none\"", "");
    for (ink, class) in Ink::CLASSES {
        let RGBColor(red, green, blue) = ink.placeholder();
        let colour = format!("#{red:02X}{green:02X}{blue:02X}");
        // Only outlines end with their stroke; the class of a line says that it has no area.
        svg = svg
            .replace(
                &format!("fill=\"none\" stroke=\"{colour}\"/>"),
                &format!("class=\"o-{class}\"/>"),
            )
            .replace(
                &format!("fill=\"none\" stroke=\"{colour}\""),
                &format!("class=\"s-{class}\""),
            )
            .replace(
                &format!("fill=\"{colour}\""),
                &format!("class=\"f-{class}\""),
            );
    }
    svg.replace(" \"/>", "\"/>").replace(['\n', '\r'], "")
}
