//! Reports as one HTML file that loads nothing and runs no script.

use askama::Template;

use crate::page::{Figure, Page, Table};
use crate::plot::{Drawing, Frame};
use crate::text::printable;

pub(crate) fn render(page: &Page<'_>) -> String {
    let html = page.render().expect("writing to memory does not fail");
    // HTML forbids control characters, and has no escape for them.
    printable(&html).into_owned()
}

impl Table {
    pub(crate) fn has_head(&self) -> bool {
        self.columns.iter().any(|column| !column.name.is_empty())
    }

    /// Whether it takes the whole width.
    pub(crate) fn is_large(&self) -> bool {
        self.columns.len() > 4
    }

    pub(crate) fn is_number(&self, column: &usize) -> bool {
        self.columns
            .get(*column)
            .is_some_and(|column| column.is_number)
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<svg class="{{ class }}" viewBox="{{ drawing.view_box() }}" role="img" aria-labelledby="{{ id }}-{{ class }}-t {{ id }}-{{ class }}-d"><title id="{{ id }}-{{ class }}-t">{{ title }}</title><desc id="{{ id }}-{{ class }}-d">{{ description }}</desc>{{ drawing.elements|safe }}</svg>"#
)]
struct SvgTemplate<'a> {
    id: &'a str,
    class: &'a str,
    title: &'a str,
    description: &'a str,
    drawing: Drawing,
}

impl Figure<'_> {
    pub(crate) fn svg(&self, frame: Frame, class: &str) -> String {
        let svg = SvgTemplate {
            id: self.id,
            class,
            title: &self.title,
            description: &self.description,
            drawing: (self.plot)(frame),
        };
        svg.render().expect("writing to memory does not fail")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashSet;

    use crate::svg::colours;

    const VOID: [&str; 3] = ["meta", "link", "br"];

    /// Checks that a page is well formed: elements are closed in order, ids are unique, and references are valid.
    pub(crate) fn check(html: &str) {
        let mut open: Vec<&str> = Vec::new();
        let (mut ids, mut references) = (HashSet::new(), Vec::new());
        let mut rest = html;
        while let Some(begin) = rest.find('<') {
            rest = &rest[begin + 1..];
            let end = rest.find('>').expect("a tag ends");
            let tag = &rest[..end];
            rest = &rest[end + 1..];
            if tag.starts_with('!') {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "closed out of order");
                continue;
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            let attribute = |name: &str| {
                let begin = tag.find(&format!(" {name}=\""))? + name.len() + 3;
                tag[begin..].split('"').next()
            };
            if let Some(id) = attribute("id") {
                assert!(ids.insert(id), "two elements have the id {id}");
            }
            references.extend(
                attribute("aria-labelledby")
                    .into_iter()
                    .flat_map(|ids| ids.split(' ')),
            );
            references.extend(attribute("href").and_then(|href| href.strip_prefix('#')));
            if name == "style" {
                let end = rest.find("</style>").expect("a style sheet ends");
                rest = &rest[end..];
            }
            if !tag.ends_with('/') && !VOID.contains(&name) {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "not closed: {open:?}");
        for reference in references {
            assert!(ids.contains(reference), "no element has the id {reference}");
        }
        assert!(html.contains("default-src 'none'") && !html.contains("<script"));
    }

    /// Relative luminance and contrast by WCAG 2.2.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).expect("two digits");
            match f64::from(value) / 255.0 {
                low if low <= 0.04045 => low / 12.92,
                high => ((high + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn text_and_marks_stand_out_in_both_themes() {
        let check = |names: &[&str], ground: &str, least: f64| {
            for name in names {
                let pairs = colours(name).into_iter().zip(colours(ground));
                for (theme, (one, other)) in pairs.enumerate() {
                    let found = contrast(one, other);
                    assert!(
                        found >= least,
                        "--{name} on --{ground}, theme {theme}: {found:.2}"
                    );
                }
            }
        };
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        check(&["text", "strong", "link"], "page", 4.5);
        check(&["strong"], "raised", 4.5);
        let marks = [
            "work",
            "cold",
            "retry",
            "duplicate",
            "failed",
            "unanswered",
            "throttled",
            "records",
            "monolithic",
            "parallel",
            "series1",
            "series2",
            "series3",
            "series4",
            "series5",
            "rule",
            "base",
        ];
        check(&marks, "page", 3.0);
    }
}
