//! Drawing into SVG that takes its colours from the page.
//!
//! plotters writes colours into attributes. They are placeholders here, one an [`Ink`], which become CSS classes when the
//! drawing is done, so that the page's theme says how each looks.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// plotters places things on whole pixels; it gets a canvas this many times as large.
const FINE: f64 = 4.0;
/// plotters writes font sizes smaller by this.
const FONT: f64 = 1.24;

/// How large a drawing is, in CSS pixels at its natural size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    pub(crate) width: f64,
    /// Of the text.
    pub(crate) font: f64,
    pub(crate) is_narrow: bool,
}

impl Frame {
    /// For pages.
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

    /// About how wide a text is.
    pub(crate) fn width_of(self, text: &str) -> f64 {
        text.chars().count() as f64 * self.font * 0.56
    }
}

macro_rules! inks {
    ($($(#[$doc:meta])* $ink:ident $class:literal)*) => {
        /// What something is drawn with: a class of the page's style sheet.
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
    /// Text that is read first.
    Strong "strong"
    /// Lines of the grid.
    Grid "grid"
    /// The line that a plot stands on.
    Base "base"
    /// A dashed line: a cut, a limit, a mean; and what sets it off from what lies under it.
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

/// Where a text stands from its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Its left end is there.
    Right,
    /// Its right end is there.
    Left,
    /// Its middle is there.
    Middle,
}

/// A drawing under way. Points are in CSS pixels from the upper left corner.
pub(crate) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    pub(crate) frame: Frame,
}

/// Draws in a frame, and gives the SVG elements with a `viewBox` for them.
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

/// What is within an `svg` element.
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

    /// A dashed line that is seen over everything.
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

    /// The outline of one.
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

    /// A text whose middle line is at a point's height.
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

/// Classes for placeholders, and nothing that says what goes without saying. Quotes within texts are escaped, so that what
/// is looked for are attributes.
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
        // An outline is all that ends with its stroke; the class of a line says that it has no area.
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
