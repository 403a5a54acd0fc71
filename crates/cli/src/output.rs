//! What the command prints and writes.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use indicatif::ProgressStyle;

use super::status_line;
use shoal::job::Error;
use shoal::reports::numbers::{count, plural};
use shoal::reports::text::{printable, printable_json, printable_line};
use shoal::{Result, log};

/// Writes to standard output. A terminal gets no control characters.
pub(crate) fn print(content: impl AsRef<[u8]>) -> Result<()> {
    let mut out = io::stdout().lock();
    let content = content.as_ref();
    let text = std::str::from_utf8(content)
        .ok()
        .filter(|_| out.is_terminal());
    let shown = text.map(printable);
    let content = shown.as_ref().map_or(content, |shown| shown.as_bytes());
    out.write_all(content)
        .and_then(|()| out.flush())
        .map_err(|e| Error::storage("write", "standard output", e).into())
}

/// Writes a line of JSON to standard output.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(value).expect("what is printed is always JSON");
    print(printable_json(&text).into_owned() + "\n")
}

/// Prints a value as JSON or as text.
pub(crate) fn show<T: serde::Serialize>(
    value: &T,
    json: bool,
    text: impl FnOnce(&T) -> String,
) -> Result<()> {
    match json {
        true => print_json(value),
        false => print(&*printable(&text(value))),
    }
}

/// Writes to a file, or to standard output for `-`.
pub(crate) fn write(path: &Path, content: &str) -> Result<()> {
    if path.as_os_str() == "-" {
        return print(content);
    }
    std::fs::write(path, content)
        .map_err(|e| Error::storage("write", path.display().to_string(), e).into())
}

/// Writes a line to standard error. A run does not stop if this fails.
pub(crate) fn say(text: &str) {
    if log::is_json() {
        tracing::info!(target: "shoal", "{text}");
        return;
    }
    status_line::print(&printable(text));
}

/// Whether there is a user to ask.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether the user at the terminal answers yes; without a terminal, no.
pub(crate) fn confirm(question: &str) -> bool {
    let (mut answers, mut screen) = (io::stdin(), io::stderr());
    if !can_ask() {
        return false;
    }
    let asked = write!(screen, "{question} [y/N] ").and_then(|()| screen.flush());
    let mut answer = [0; 64];
    let read = asked.and_then(|()| answers.read(&mut answer)).unwrap_or(0);
    matches!(answer[..read].trim_ascii(), b"y" | b"Y" | b"yes")
}

/// The style of a progress bar or spinner.
pub(crate) fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is sound")
        .progress_chars("█▉▊▋▌▍▎▏ ")
}

/// The first row of a table: names that are separated by commas.
pub(crate) fn header(names: &str) -> Vec<String> {
    names.split(',').map(String::from).collect()
}

/// Rows as left-aligned columns, two spaces apart.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| printable_line(cell).chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{:<width$}  ", printable_line(cell))
                .expect("writing to a string cannot fail");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The widest line of a paragraph.
const COLUMNS: usize = 80;
/// The columns of a paragraph's label.
const LABEL: usize = 11;

/// A label and a text beside it, in lines of at most 80 columns unless a word is longer.
pub(crate) fn paragraph(label: &str, text: &str) -> String {
    let mut line = format!("{:<LABEL$}", printable_line(label));
    if !line.ends_with(' ') {
        line.push(' ');
    }
    let mut lines = Vec::new();
    for word in printable_line(text).split_whitespace() {
        let width = line.chars().count() + word.chars().count();
        if width > COLUMNS && !line.trim().is_empty() {
            lines.push(std::mem::replace(&mut line, " ".repeat(LABEL)));
        }
        line += word;
        line.push(' ');
    }
    lines.push(line);
    let trimmed = lines.iter().map(|line| line.trim_end().to_owned() + "\n");
    trimmed.collect()
}

/// How many of all.
pub(crate) fn count_of(done: u64, all: u64) -> String {
    format!("{} of {}", count(done), count(all))
}

/// How long ago something happened.
pub(crate) fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} ago", plural(seconds / 86_400, "day", "days")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align() {
        let rows = [
            vec!["a".into(), "bb".into()],
            vec!["ccc".into(), "d".into()],
        ];
        assert_eq!(table(&rows), "a    bb\nccc  d\n");
    }

    #[test]
    fn paragraphs_keep_to_their_columns() {
        let text = paragraph("assumed", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.starts_with("assumed    word word"), "{text}");
        assert!(
            text.lines().nth(1).unwrap().starts_with("           word"),
            "{text}"
        );
        assert_eq!(text.matches("word").count(), 40);
        assert_eq!(
            paragraph("a-very-long-label", "text"),
            "a-very-long-label text\n"
        );
    }

    #[test]
    fn nothing_commands_the_terminal() {
        let rows = [vec!["\u{1b}]0;title\u{7}a\tb\nc".into(), "é\n".into()]];
        assert_eq!(table(&rows), "\u{fffd}]0;title\u{fffd}a b c  é\n");
    }

    #[test]
    fn times_past() {
        assert_eq!(ago(59), "59 s ago");
        assert_eq!(ago(60), "1 min ago");
        assert_eq!(ago(90_000), "1 day ago");
        assert_eq!(ago(180_000), "2 days ago");
    }
}
