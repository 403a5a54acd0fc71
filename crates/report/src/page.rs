//! What a report shows, before it becomes HTML or Markdown.

use shoal_estimate::Basis;

use crate::plot::Plot;

/// A report.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// What it is, in two words.
    pub(crate) kind: &'static str,
    /// What it is of.
    pub(crate) title: String,
    /// The most important in a sentence or two.
    pub(crate) lead: String,
    /// The numbers that are read first.
    pub(crate) tiles: Vec<Tile>,
    pub(crate) sections: Vec<Section<'a>>,
}

/// A number that is read first.
#[derive(Debug)]
pub(crate) struct Tile {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// What it means, or how it came about.
    pub(crate) note: String,
    /// What it is worth, where that is not the same for the whole page.
    pub(crate) basis: Option<Basis>,
}

#[derive(Debug)]
pub(crate) struct Section<'a> {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What its numbers are worth, where they are all worth the same.
    pub(crate) basis: Option<Basis>,
    pub(crate) blocks: Vec<Block<'a>>,
}

#[derive(Debug)]
pub(crate) enum Block<'a> {
    Text(String),
    List(Vec<String>),
    Table(Table),
    /// A table that is shown on demand, and what it is called.
    Folded(String, Table),
    Figure(Box<Figure<'a>>),
    Command(String),
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) caption: String,
    pub(crate) columns: Vec<Column>,
    /// Cells; the first of a row names it.
    pub(crate) rows: Vec<Vec<String>>,
    /// Cells below a line: a sum.
    pub(crate) total: Option<Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) is_number: bool,
}

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

    pub(crate) fn push<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

/// A plot with what it says in words and numbers.
#[derive(Debug)]
pub(crate) struct Figure<'a> {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// What is seen on it: for those who do not see it.
    pub(crate) description: String,
    /// What to know of it.
    pub(crate) caption: String,
    /// Its colours: a CSS class and a name.
    pub(crate) legend: Vec<(&'static str, String)>,
    pub(crate) plot: Plot<'a>,
    /// Its numbers.
    pub(crate) data: Table,
}
