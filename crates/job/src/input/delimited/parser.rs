//! The state machine of delimited text. It gives the fields that the `csv` module of Python gives.

use crate::dialect::Dialect;

/// A byte-order mark. At the start of a record, where concatenated files leave it, it is no part of the text.
pub(in crate::input) const MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes the fields of a record.
pub(super) trait Sink {
    /// The next bytes of the current field.
    fn bytes(&mut self, bytes: &[u8]);
    /// The end of the current field.
    fn end_field(&mut self);
}

/// Ignores fields.
pub(super) struct NoFields;

impl Sink for NoFields {
    fn bytes(&mut self, _: &[u8]) {}
    fn end_field(&mut self) {}
}

/// Why [`Parser::feed`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It needs more input.
    More,
    /// The record is complete, with its line break.
    Record,
    /// The first line that a quoted field spans is complete. The field continues.
    QuotedLine,
    /// In a record whose quoted fields span lines, a quote is neither at the start nor at the end of a field.
    StrayQuote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a record, or within a byte-order mark there.
    Start,
    FieldStart,
    Field,
    /// After an escape character.
    Escaped,
    Quoted,
    QuotedEscaped,
    /// After a quote in a quoted field, which closes it unless another one follows.
    Closing,
}

/// Finds the records and fields of bytes that are fed piece by piece, wherever they are cut.
#[derive(Debug)]
pub(super) struct Parser {
    delimiter: Option<u8>,
    quote: Option<u8>,
    escape: Option<u8>,
    skips_spaces: bool,
    /// The bytes that are not always part of a field.
    special: [bool; 256],
    state: State,
    /// How many bytes of a byte-order mark were read before a record.
    mark: usize,
    line: u64,
    /// Whether a quoted field of the record contains a line break.
    spans_lines: bool,
    /// Whether the current quoted field does.
    field_spans_lines: bool,
    /// The last byte of a quoted field so far.
    last: u8,
    has_backslash: bool,
    has_stray_quote: bool,
}

impl Parser {
    /// A parser of text that starts on `line`.
    pub(super) fn new(dialect: &Dialect, line: u64) -> Self {
        let (delimiter, quote, escape) = (
            dialect.delimiter.byte(),
            dialect.quote.byte(),
            dialect.escape.byte(),
        );
        let mut special = [false; 256];
        let symbols = [delimiter, quote, escape].into_iter().flatten();
        for byte in symbols.chain([b'\r', b'\n']) {
            special[usize::from(byte)] = true;
        }
        Self {
            delimiter,
            quote,
            escape,
            skips_spaces: dialect.skips_spaces,
            special,
            state: State::Start,
            mark: 0,
            line,
            spans_lines: false,
            field_spans_lines: false,
            last: 0,
            has_backslash: false,
            has_stray_quote: false,
        }
    }

    /// The line of the next byte.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Continues before a record on `line`.
    pub(super) fn restart(&mut self, line: u64) {
        (self.state, self.mark, self.line) = (State::Start, 0, line);
    }

    /// Whether a quoted field of the last record seems to end at a quote that a backslash escapes.
    pub(super) fn has_backslash(&self) -> bool {
        self.has_backslash
    }

    /// Whether the last record has a quote that is neither at the start nor at the end of a field.
    pub(super) fn has_stray_quote(&self) -> bool {
        self.has_stray_quote
    }

    /// Skips line breaks, blank lines and byte-order marks before a record. Returns how many bytes were read, and, when a
    /// record begins, how many bytes before the next one it began.
    pub(super) fn skip(&mut self, input: &[u8]) -> (usize, Option<usize>) {
        for (at, byte) in input.iter().enumerate() {
            if *byte == MARK[self.mark] {
                self.mark = (self.mark + 1) % MARK.len();
            } else if self.mark > 0 || !matches!(byte, b'\r' | b'\n') {
                return (at, Some(self.mark));
            } else {
                self.line += u64::from(*byte == b'\n');
            }
        }
        (input.len(), None)
    }

    /// At the end of the input before a record: as [`skip`](Self::skip).
    pub(super) fn skip_end(&self) -> Option<usize> {
        (self.mark > 0).then_some(self.mark)
    }

    /// Reads on in a record. Returns how many bytes were read.
    pub(super) fn feed(&mut self, input: &[u8], sink: &mut impl Sink) -> (usize, Step) {
        self.begin(sink);
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            let symbol = Some(byte);
            let is_break = matches!(byte, b'\r' | b'\n');
            match self.state {
                State::Field | State::Quoted if !self.special[usize::from(byte)] => {
                    let rest = &input[at..];
                    let run = rest
                        .iter()
                        .position(|byte| self.special[usize::from(*byte)]);
                    let run = &rest[..run.unwrap_or(rest.len())];
                    sink.bytes(run);
                    self.last = run[run.len() - 1];
                    at += run.len();
                    continue;
                }
                State::FieldStart | State::Field | State::Closing if is_break => {
                    sink.end_field();
                    self.line += u64::from(byte == b'\n');
                    self.state = State::Start;
                    return (at + 1, Step::Record);
                }
                State::Closing if symbol == self.quote => {
                    sink.bytes(&[byte]);
                    (self.state, self.last) = (State::Quoted, byte);
                }
                State::FieldStart | State::Closing | State::Field if symbol == self.delimiter => {
                    sink.end_field();
                    self.state = State::FieldStart;
                }
                State::FieldStart if symbol == self.quote => {
                    (self.state, self.field_spans_lines, self.last) = (State::Quoted, false, 0);
                }
                State::FieldStart | State::Field if symbol == self.escape => {
                    self.state = State::Escaped;
                }
                State::FieldStart if byte == b' ' && self.skips_spaces => {}
                State::Closing | State::Field if self.spans_lines => {
                    // Only a quote is special here.
                    return (at, Step::StrayQuote);
                }
                State::Start | State::FieldStart | State::Field | State::Closing => {
                    self.has_stray_quote |= self.state == State::Closing || symbol == self.quote;
                    self.has_backslash |=
                        self.state == State::Closing && self.last == b'\\' && self.escape.is_none();
                    sink.bytes(&[byte]);
                    self.state = State::Field;
                }
                State::Escaped => {
                    sink.bytes(&[byte]);
                    self.line += u64::from(byte == b'\n');
                    self.state = State::Field;
                }
                State::Quoted if symbol == self.quote => self.state = State::Closing,
                State::Quoted if symbol == self.escape => self.state = State::QuotedEscaped,
                State::Quoted | State::QuotedEscaped => {
                    sink.bytes(&[byte]);
                    (self.state, self.last) = (State::Quoted, byte);
                    self.line += u64::from(byte == b'\n');
                    if is_break {
                        self.spans_lines = true;
                        if !std::mem::replace(&mut self.field_spans_lines, true) {
                            return (at + 1, Step::QuotedLine);
                        }
                    }
                }
            }
            at += 1;
        }
        (at, Step::More)
    }

    /// Ends the last record at the end of the input. Returns false if a quote is open.
    pub(super) fn finish(&mut self, sink: &mut impl Sink) -> bool {
        self.begin(sink);
        match std::mem::replace(&mut self.state, State::Start) {
            State::Quoted | State::QuotedEscaped => return false,
            // As Python does.
            State::Escaped => sink.bytes(b"\n"),
            _ => {}
        }
        sink.end_field();
        true
    }

    fn begin(&mut self, sink: &mut impl Sink) {
        if self.state != State::Start {
            return;
        }
        self.state = State::FieldStart;
        (self.spans_lines, self.has_backslash, self.has_stray_quote) = (false, false, false);
        if self.mark > 0 {
            // The start of a byte-order mark was the start of a text.
            sink.bytes(&MARK[..self.mark]);
            (self.state, self.mark) = (State::Field, 0);
        }
    }
}
