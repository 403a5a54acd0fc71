//! Finds the boundaries of records.
//!
//! A quoted field may span lines. If its quote turns out to be no delimiter of a field, because it is never closed, closed
//! too late or followed by text, the lines after it were read in vain: only the row with the quote is bad, and the lines
//! after it are read again as rows of their own. They are kept in memory until the field is closed, at most
//! [`MAX_RECORD_BYTES`]. Such a line has no other quote that is not closed at once, so no line is read more than a few times.

use super::parser::{NoFields, Parser, Step};
use crate::Result;
use crate::dialect::Dialect;
use crate::input::row::MAX_RECORD_BYTES;
use crate::input::stream::Stream;
use crate::input::text::Span;
use crate::spec::Fault;

/// Bytes in order.
pub(super) trait Source {
    /// The next bytes; empty at the end.
    fn fill(&mut self) -> Result<&[u8]>;
    /// Marks bytes of [`fill`](Self::fill) as read.
    fn consume(&mut self, bytes: usize);
}

impl Source for Stream {
    fn fill(&mut self) -> Result<&[u8]> {
        self.fill()
    }

    fn consume(&mut self, bytes: usize) {
        self.consume(bytes);
    }
}

impl Source for &[u8] {
    fn fill(&mut self) -> Result<&[u8]> {
        Ok(self)
    }

    fn consume(&mut self, bytes: usize) {
        *self = &self[bytes..];
    }
}

/// Calls `visit` with each record of `source`, whose next byte is at `position` and on `line`. A record ends where the next
/// one begins. `is_whole`: whether `source` ends with its last record; otherwise that is left out, as it may be cut.
pub(super) fn scan(
    source: &mut impl Source,
    dialect: &Dialect,
    (position, line): (u64, u64),
    is_whole: bool,
    visit: &mut dyn FnMut(Span) -> Result<()>,
) -> Result<()> {
    let mut parser = Parser::new(dialect, line);
    let mut input = Rewindable::new(source, position);
    let mut complete: Option<Span> = None;
    loop {
        let begin = loop {
            let bytes = input.fill()?;
            if bytes.is_empty() {
                break parser.skip_end();
            }
            let (read, begin) = parser.skip(bytes);
            input.consume(read);
            if begin.is_some() {
                break begin;
            }
        };
        let start = input.position - begin.unwrap_or(0) as u64;
        if let Some(mut span) = complete.take() {
            span.end = start;
            visit(span)?;
        }
        if begin.is_none() {
            return Ok(());
        }
        match record(&mut input, &mut parser, start, is_whole)? {
            End::Complete(span) => complete = Some(span),
            End::Input(_) if !is_whole => return Ok(()),
            End::Input(span) => return visit(span),
        }
    }
}

/// Where a record ends.
enum End {
    /// At its line break, or where the lines after it are read again.
    Complete(Span),
    /// At the end of the input.
    Input(Span),
}

/// Reads the record that begins at `start`.
fn record(
    input: &mut Rewindable<'_, impl Source>,
    parser: &mut Parser,
    start: u64,
    is_whole: bool,
) -> Result<End> {
    let line = parser.line();
    let mut line_after_mark = line;
    let bad = |end| Span {
        fault: Some(Fault::OpenQuote),
        ..Span::new(start, end, line)
    };
    loop {
        // Where the limit is noticed must not depend on the pieces in which the input arrives.
        let room = match input.mark {
            Some(_) => (start + MAX_RECORD_BYTES + 1 - input.position) as usize,
            None => usize::MAX,
        };
        let bytes = input.fill()?;
        let step = if bytes.is_empty() {
            if parser.finish(&mut NoFields) || !is_whole {
                return Ok(End::Input(Span::new(start, input.position, line)));
            }
            Step::StrayQuote
        } else {
            let (read, step) = parser.feed(&bytes[..bytes.len().min(room)], &mut NoFields);
            input.consume(read);
            step
        };
        match step {
            Step::Record => {
                input.mark = None;
                return Ok(End::Complete(Span::new(start, input.position, line)));
            }
            Step::QuotedLine => {
                input.set_mark();
                line_after_mark = parser.line();
            }
            Step::StrayQuote if input.mark.is_none() => {
                // The last line of the input.
                return Ok(End::Input(bad(input.position)));
            }
            Step::StrayQuote | Step::More => {}
        }
        let is_late = input.mark.is_some() && input.position - start > MAX_RECORD_BYTES;
        if step == Step::StrayQuote || is_late {
            input.rewind();
            parser.restart(line_after_mark);
            return Ok(End::Complete(bad(input.position)));
        }
    }
}

/// A source that can go back to a mark.
struct Rewindable<'a, S> {
    source: &'a mut S,
    /// The position of the next byte.
    position: u64,
    /// Bytes of the source that are read before it continues.
    kept: Vec<u8>,
    /// How many of them were read.
    read: usize,
    /// How many of them precede the mark.
    mark: Option<usize>,
}

impl<'a, S: Source> Rewindable<'a, S> {
    fn new(source: &'a mut S, position: u64) -> Self {
        Self {
            source,
            position,
            kept: Vec::new(),
            read: 0,
            mark: None,
        }
    }

    /// The next bytes; empty at the end.
    fn fill(&mut self) -> Result<&[u8]> {
        if self.read == self.kept.len() {
            let Some(mark) = self.mark.replace(0) else {
                self.mark = None;
                (self.kept, self.read) = (Vec::new(), 0);
                return self.source.fill();
            };
            self.kept.drain(..mark);
            self.read -= mark;
            let bytes = self.source.fill()?;
            self.kept.extend_from_slice(bytes);
            let taken = bytes.len();
            self.source.consume(taken);
        }
        Ok(&self.kept[self.read..])
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        if self.read < self.kept.len() {
            self.read += bytes;
        } else {
            self.source.consume(bytes);
        }
    }

    /// Sets the mark before the next byte.
    fn set_mark(&mut self) {
        self.mark = Some(self.read);
    }

    /// Goes back to the mark.
    fn rewind(&mut self) {
        if let Some(mark) = self.mark.take() {
            self.position -= (self.read - mark) as u64;
            self.read = mark;
        }
    }
}
