//! Records that could not be processed.

use serde::Serialize;
use serde_json::Value;

use crate::numbers;
use crate::page::{Block, Table};

/// Dead letters that are shown, at most.
const MOST_LETTERS: usize = 100;
/// Dead letters that are shown without unfolding.
const UNFOLDED: usize = 10;

/// Records that could not be processed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct DeadLetters {
    /// Their number.
    pub total: u64,
    /// The first of them.
    pub first: Vec<Letter>,
}

/// A record that could not be processed.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Letter {
    /// Its row over all inputs, from 0.
    pub row: Option<u64>,
    /// Its id, as far as it could be read.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Its line in the file, from 1, or its row, from 0.
    pub place: String,
    /// Why it could not be processed.
    pub reason: String,
}

impl DeadLetters {
    pub(super) fn of(lines: &[Value], total: u64) -> Self {
        let first = lines.iter().take(MOST_LETTERS);
        Self {
            total,
            first: first.map(Letter::of).collect(),
        }
    }

    pub(super) fn blocks(&self) -> Vec<Block<'static>> {
        let all = numbers::plural(
            self.total,
            "record that could not be processed",
            "records that could not be processed",
        );
        let shown = self.first.len();
        let (unfolded, folded) = self.first.split_at(shown.min(UNFOLDED));
        let caption = |rows: &[Letter], name: &str| match rows.len() as u64 {
            count if count == self.total => all.clone(),
            count => format!("The {name} {} of {all}", numbers::count(count)),
        };
        let mut blocks = vec![Block::Table(table(caption(unfolded, "first"), unfolded))];
        if !folded.is_empty() {
            let summary = format!("{} more", numbers::count(folded.len() as u64));
            let table = table(caption(folded, "next"), folded);
            blocks.push(Block::Folded(summary, table));
        }
        if (shown as u64) < self.total {
            blocks.push(Block::Text(
                "The file failed.jsonl in the run directory has all of them.".into(),
            ));
        }
        blocks
    }
}

impl Letter {
    /// A line of `failed.jsonl`.
    fn of(line: &Value) -> Self {
        let text = |name: &str| match &line[name] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let place = match (line["line"].as_u64(), line["file_row"].as_u64()) {
            (Some(line), _) => format!("line {line}"),
            (None, Some(row)) => format!("row {row}"),
            (None, None) => String::new(),
        };
        Self {
            row: line["row"].as_u64(),
            id: text("id"),
            file: text("file"),
            place,
            reason: text("reason"),
        }
    }
}

fn table(caption: String, letters: &[Letter]) -> Table {
    Table::of(
        caption,
        letters,
        &[
            ("#Row", |letter| {
                letter.row.map(numbers::count).unwrap_or_default()
            }),
            ("Id", |letter| letter.id.clone()),
            ("File", |letter| letter.file.clone()),
            ("Place", |letter| letter.place.clone()),
            ("Reason", |letter| letter.reason.clone()),
        ],
    )
}
