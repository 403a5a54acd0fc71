//! Results on a terminal.

use std::io::{self, Write};

/// The first byte of a control character from U+0080 to U+009F in UTF-8. The second is one of `0x80..=0x9f`.
const C1: u8 = 0xc2;

/// Writes to a terminal with `?` in place of control characters other than line breaks and tabs, because results contain
/// text from inputs, and a terminal executes them.
#[derive(Debug)]
pub(crate) struct Terminal<W> {
    out: W,
    /// Whether the last byte was [`C1`], which is not written before the next byte is known.
    is_open: bool,
}

impl<W: Write> Terminal<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            is_open: false,
        }
    }
}

impl<W: Write> Write for Terminal<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let mut shown = Vec::with_capacity(content.len() + 1);
        for byte in content {
            match (std::mem::take(&mut self.is_open), *byte) {
                (true, 0x80..=0x9f) => shown.push(b'?'),
                (was_open, byte) => {
                    if was_open {
                        shown.push(C1);
                    }
                    match byte {
                        C1 => self.is_open = true,
                        b'\n' | b'\t' => shown.push(byte),
                        0..0x20 | 0x7f => shown.push(b'?'),
                        _ => shown.push(byte),
                    }
                }
            }
        }
        self.out.write_all(&shown)?;
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_open) {
            self.out.write_all(&[C1])?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_however_they_are_written() {
        let content = "a\u{1b}[31m\tb\r\n\u{9b}1m é \u{7f}© \u{85}".as_bytes();
        for size in [1, 2, 3, content.len()] {
            let mut terminal = Terminal::new(Vec::new());
            for chunk in content.chunks(size) {
                terminal.write_all(chunk).unwrap();
            }
            terminal.flush().unwrap();
            let shown = String::from_utf8(terminal.out).unwrap();
            assert_eq!(shown, "a?[31m\tb?\n?1m é ?© ?");
        }
    }
}
