//! Reports as a page: one file that loads nothing and runs nothing.

use askama::Template;

use crate::page::{Block, Figure, Page, Table};
use crate::plot::Frame;

pub(crate) fn render(page: &Page<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let html = PageTemplate { page, version }
        .render()
        .expect("memory takes it");
    // No page may hold them, and no escape stands for them.
    html.replace(
        |letter: char| letter.is_control() && !matches!(letter, '\n' | '\t'),
        "\u{fffd}",
    )
}

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    page: &'a Page<'a>,
    version: &'a str,
}

#[derive(Template)]
#[template(path = "table.html")]
struct TableTemplate<'a> {
    table: &'a Table,
}

impl Table {
    fn html(&self) -> String {
        TableTemplate { table: self }
            .render()
            .expect("memory takes it")
    }

    fn has_head(&self) -> bool {
        self.columns.iter().any(|column| !column.name.is_empty())
    }

    /// Whether it takes all the width that there is.
    fn is_large(&self) -> bool {
        self.columns.len() > 4
    }

    fn is_number(&self, column: &usize) -> bool {
        self.columns
            .get(*column)
            .is_some_and(|column| column.is_number)
    }
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<svg class="{{ class }}" viewBox="{{ view_box }}" role="img" aria-labelledby="{{ id }}-{{ class }}-t {{ id }}-{{ class }}-d"><title id="{{ id }}-{{ class }}-t">{{ title }}</title><desc id="{{ id }}-{{ class }}-d">{{ description }}</desc>{{ elements|safe }}</svg>"#
)]
struct SvgTemplate<'a> {
    id: &'a str,
    class: &'a str,
    title: &'a str,
    description: &'a str,
    view_box: String,
    elements: String,
}

impl Figure<'_> {
    fn svg(&self, frame: Frame, class: &str) -> String {
        let drawing = self.plot.draw(frame);
        let svg = SvgTemplate {
            id: self.id,
            class,
            title: &self.title,
            description: &self.description,
            view_box: drawing.view_box,
            elements: drawing.elements,
        };
        svg.render().expect("memory takes it")
    }
}
