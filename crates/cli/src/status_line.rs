//! A line at the bottom of the terminal that is redrawn, below the lines that are printed.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ratatui::crossterm::terminal::size;

/// The columns of the line on the screen, 0 if there is none.
static DRAWN: Mutex<usize> = Mutex::new(0);

fn drawn() -> MutexGuard<'static, usize> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The columns of the terminal.
pub(crate) fn width() -> usize {
    size().map_or(80, |(columns, _)| columns.into())
}

/// Shows this line instead of the one on the screen.
pub(crate) fn draw(line: &str) {
    replace(line, line.chars().count());
}

/// Removes the line.
pub(crate) fn clear() {
    replace("", 0);
}

/// Prints a line of its own. The one on the screen is gone until it is drawn again.
pub(crate) fn print(line: &str) {
    replace(&format!("{line}\n"), 0);
}

fn replace(text: &str, columns: usize) {
    let mut drawn = drawn();
    let erase = erase(*drawn, width);
    *drawn = columns;
    // A run does not stop if this fails.
    let mut screen = io::stderr().lock();
    let _ = screen
        .write_all(format!("{erase}{text}").as_bytes())
        .and_then(|()| screen.flush());
}

/// What erases a line of this many columns. A terminal that became narrower shows it on several rows.
fn erase(columns: usize, width: impl FnOnce() -> usize) -> String {
    if columns == 0 {
        return String::new();
    }
    let rows = columns.div_ceil(width().max(1));
    match rows {
        1 => "\r\x1b[J".into(),
        rows => format!("\x1b[{}A\r\x1b[J", rows - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_narrower_terminal_wraps_is_erased() {
        assert_eq!(erase(0, || 80), "");
        assert_eq!(erase(79, || 80), "\r\x1b[J");
        assert_eq!(erase(79, || 40), "\x1b[1A\r\x1b[J");
        assert_eq!(erase(79, || 20), "\x1b[3A\r\x1b[J");
    }
}
