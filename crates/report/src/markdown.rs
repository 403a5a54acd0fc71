//! Reports as Markdown: everything except the plots.

use std::fmt::Write;

use crate::page::{Block, Page, Table};

pub(crate) fn render(page: &Page<'_>) -> String {
    let mut text = format!(
        "# {} {}\n\n{}\n",
        page.kind,
        plain(&page.title),
        plain(&page.lead)
    );
    if !page.tiles.is_empty() {
        text += "\n| | | |\n|---|---:|---|\n";
    }
    for tile in &page.tiles {
        let basis = tile
            .basis
            .map(|basis| format!(" ({basis})"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "| {} | {}{basis} | {} |",
            plain(tile.name),
            plain(&tile.value),
            plain(&tile.note)
        );
    }
    for section in &page.sections {
        let _ = write!(text, "\n## {}\n", section.title);
        if let Some(basis) = section.basis {
            let _ = write!(text, "\n*{basis}*\n");
        }
        for block in &section.blocks {
            write_block(&mut text, block);
        }
    }
    text
}

fn write_block(text: &mut String, block: &Block<'_>) {
    let _ = match block {
        Block::Text(paragraph) => write!(text, "\n{}\n", plain(paragraph)),
        Block::List(items) => {
            text.push('\n');
            items
                .iter()
                .try_for_each(|item| writeln!(text, "- {}", plain(item)))
        }
        Block::Table(table) | Block::Folded(_, table) => write_table(text, table),
        Block::Figure(figure) => write!(text, "\n{}\n", plain(&figure.description)),
        Block::Command(command) => write_command(text, command),
    };
}

fn write_table(text: &mut String, table: &Table) -> std::fmt::Result {
    write!(text, "\n{}\n\n|", plain(&table.caption))?;
    for column in &table.columns {
        write!(text, " {} |", plain(&column.name))?;
    }
    text.push_str("\n|");
    for column in &table.columns {
        text.push_str(if column.is_number { "---:|" } else { "---|" });
    }
    text.push('\n');
    for row in table.rows.iter().chain(&table.total) {
        text.push('|');
        for cell in row {
            write!(text, " {} |", plain(cell))?;
        }
        text.push('\n');
    }
    Ok(())
}

/// The fence is longer than any in the command.
fn write_command(text: &mut String, command: &str) -> std::fmt::Result {
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat((longest + 1).max(3));
    write!(text, "\n{fence}\n{command}\n{fence}\n")
}

/// Text on one line, without characters that Markdown or HTML would interpret.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => plain.extend(['\\', letter]),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '&' => plain.push_str("&amp;"),
            letter if letter.is_control() => plain.push(' '),
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_not_interpreted() {
        assert_eq!(plain("a|b\n<script>`x`"), "a\\|b &lt;script&gt;\\`x\\`");
        let mut text = String::new();
        write_command(&mut text, "echo ```").unwrap();
        assert_eq!(text, "\n````\necho ```\n````\n");
    }
}
