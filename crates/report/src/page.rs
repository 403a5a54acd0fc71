//! The content of a report, before it is written as HTML or Markdown.

use askama::Template;
use shoal_estimate::Basis;

use crate::plot::{Frame, Plot};

/// A report.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    /// Its kind: `Run`, `Plan` or `Comparison`.
    pub(crate) kind: &'static str,
    /// Its subject.
    pub(crate) title: String,
    /// The most important facts in a sentence or two.
    pub(crate) lead: String,
    /// The key figures.
    pub(crate) tiles: Vec<Tile>,
    pub(crate) sections: Vec<Section<'a>>,
}

impl Page<'_> {
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
}

/// The note of the cost figure if there is no price.
pub(crate) const NO_PRICE: &str = "nothing that was used has a price";

/// A key figure.
#[derive(Debug)]
pub(crate) struct Tile {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// What it means.
    pub(crate) note: String,
    /// Its basis, if the page has more than one.
    pub(crate) basis: Option<Basis>,
}

pub(crate) struct Section<'a> {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// The basis of its numbers, if it is the same for all.
    pub(crate) basis: Option<Basis>,
    pub(crate) blocks: Vec<Block<'a>>,
}

impl<'a> Section<'a> {
    pub(crate) fn new(
        id: &'static str,
        title: &'static str,
        basis: Option<Basis>,
        blocks: impl Into<Vec<Block<'a>>>,
    ) -> Self {
        Self {
            id,
            title,
            basis,
            blocks: blocks.into(),
        }
    }
}

pub(crate) enum Block<'a> {
    Text(String),
    List(Vec<String>),
    Table(Table),
    /// A table that is shown on demand, and its title.
    Folded(String, Table),
    Figure(Box<Figure<'a>>),
    Command(String),
}

/// A table. Its `Display` form is HTML.
#[derive(Debug, Default, Template)]
#[template(path = "table.html")]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    /// The first cell of a row names it.
    pub(crate) rows: Vec<Vec<String>>,
    /// The sums, below a line.
    pub(crate) total: Option<Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) is_number: bool,
}

/// The name of a column, and what it shows of a row.
pub(crate) type ColumnOf<R> = (&'static str, fn(&R) -> String);

impl Table {
    /// A table without rows. Columns whose name begins with `#` hold numbers.
    pub(crate) fn new(caption: impl Into<String>, columns: &[&str]) -> Self {
        let column = |name: &&str| Column {
            is_number: name.starts_with('#'),
            name: name.trim_start_matches('#').to_owned(),
        };
        Self {
            caption: caption.into(),
            columns: columns.iter().map(column).collect(),
            ..Self::default()
        }
    }

    /// A table of `rows`, each column with its name and what it shows of a row.
    pub(crate) fn of<'r, R: 'r>(
        caption: impl Into<String>,
        rows: impl IntoIterator<Item = &'r R>,
        columns: &[ColumnOf<R>],
    ) -> Self {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let cells = |row| columns.iter().map(|(_, cell)| cell(row)).collect();
        Self {
            rows: rows.into_iter().map(cells).collect(),
            ..Self::new(caption, &names)
        }
    }

    pub(crate) fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

/// Records as CSV.
pub(crate) fn csv<F: AsRef<[u8]>>(
    records: impl Iterator<Item = impl IntoIterator<Item = F>>,
) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer
            .write_record(record)
            .expect("writing to memory does not fail");
    }
    let bytes = writer
        .into_inner()
        .expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("all fields are text")
}

impl<'a> From<Figure<'a>> for Block<'a> {
    fn from(figure: Figure<'a>) -> Self {
        Self::Figure(Box::new(figure))
    }
}

/// A plot, described in text and numbers.
pub(crate) struct Figure<'a> {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// What it shows, for readers who cannot see it.
    pub(crate) description: String,
    /// Remarks on it.
    pub(crate) caption: String,
    /// Its colours: CSS class and name.
    pub(crate) legend: Vec<(&'static str, String)>,
    pub(crate) plot: Plot<'a>,
    /// Its numbers as a table.
    pub(crate) data: Table,
}
