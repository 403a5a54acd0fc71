//! Finds out how a source of delimited text is written, from its first rows.

use super::rows::{Fields, fields};
use super::scan::scan;
use crate::dialect::{Dialect, DialectOptions, Symbol};
use crate::format::Format;
use crate::input::text::Span;
use crate::{Error, Result};

/// Number of rows from which the delimiter is detected.
const ROWS: usize = 100;
/// The delimiters that are detected.
pub(super) const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The first bytes of a source.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    pub(super) uri: &'a str,
    pub(super) bytes: &'a [u8],
    /// Whether these are all.
    pub(super) is_whole: bool,
}

/// A dialect, and what was detected about it that users may not expect.
pub(super) struct Sniffed {
    pub(super) dialect: Dialect,
    pub(super) notes: Vec<String>,
}

impl<'a> Sample<'a> {
    /// The rows without faults and their positions, at most `most`. A row that may be cut is left out.
    pub(super) fn rows(&self, dialect: &Dialect, most: usize) -> Vec<(Span, Fields)> {
        let mut rows = Vec::new();
        let mut bytes = self.bytes;
        let full = || Error::input(self.uri, "");
        // The error ends the scan, and a slice cannot fail.
        let _ = scan(&mut bytes, dialect, (0, 1), self.is_whole, &mut |span| {
            if span.fault.is_none() {
                let record = &self.bytes[span.start as usize..span.end as usize];
                rows.push((span, fields(record, dialect)));
            }
            if rows.len() < most {
                Ok(())
            } else {
                Err(full())
            }
        });
        rows
    }

    /// The sample after the line `sep=;`, with which spreadsheets name the delimiter, and that delimiter.
    pub(super) fn after_separator_line(self) -> (Self, Option<u8>) {
        let end = self.bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = self
            .bytes
            .split_at(end.map_or(self.bytes.len(), |end| end + 1));
        let line = line.trim_ascii_end();
        let line = line
            .strip_prefix(b"\"")
            .and_then(|line| line.strip_suffix(b"\""))
            .unwrap_or(line);
        // A delimiter may be white space.
        let bare = self.bytes.strip_prefix(b"sep=\t").map(|_| b'\t');
        let named = match line {
            [b's', b'e', b'p', b'=', delimiter] if delimiter.is_ascii_punctuation() => {
                Some(*delimiter)
            }
            b"sep=" => bare,
            _ => None,
        };
        match named {
            Some(_) => (
                Self {
                    bytes: rest,
                    ..self
                },
                named,
            ),
            None => (self, None),
        }
    }

    /// The dialect of a source of `format`, whose first line names the delimiter `named`.
    pub(super) fn sniff(
        &self,
        format: Format,
        options: &DialectOptions,
        named: Option<u8>,
    ) -> Result<Sniffed> {
        let own = match format {
            Format::Tsv => b'\t',
            _ => b',',
        };
        let dialect = |delimiter: Symbol| {
            let quote = match delimiter {
                // Tab-separated text is not quoted.
                Symbol::Byte(b'\t') if format == Format::Tsv => Symbol::None,
                _ => Symbol::Byte(b'"'),
            };
            Dialect {
                delimiter,
                quote: options.quote.unwrap_or(quote),
                escape: options.escape.unwrap_or(Symbol::None),
                skips_spaces: false,
            }
        };
        let given = options.delimiter.or(named.map(Symbol::Byte));
        let mut notes = Vec::new();
        let delimiter = match given {
            Some(delimiter) => delimiter,
            None => {
                let symbols = [options.quote, options.escape];
                let is_free = |byte: &u8| !symbols.contains(&Some(Symbol::Byte(*byte)));
                let candidates = CANDIDATES.into_iter().filter(is_free);
                let counts: Vec<_> = candidates
                    .map(|byte| Counts::new(byte, &self.rows(&dialect(Symbol::Byte(byte)), ROWS)))
                    .collect();
                choose(own, &counts)
                    .map_err(|reason| Error::input(self.uri, reason).adjustable("delimiter"))?
            }
        };
        if options.delimiter.is_none() {
            match delimiter {
                Symbol::Byte(byte) if byte != own => {
                    notes.push(format!("its columns are separated by a {}", name(byte)));
                }
                Symbol::None => notes.push("it has one column: each line is one value".into()),
                Symbol::Byte(_) => {
                    let rows = self.rows(&dialect(delimiter), ROWS);
                    notes.extend(uncommon(&rows).map(|byte| {
                        let byte = char::from(byte);
                        format!(
                            "it has one column, although each of its rows has the same number of {byte}; if that separates \
                             columns, set the delimiter to {byte}"
                        )
                    }));
                }
            }
        }
        let mut dialect = dialect(delimiter);
        if delimiter != Symbol::Byte(b' ') && self.is_padded(&dialect, options.header_row) {
            dialect.skips_spaces = true;
            notes.push("spaces after its delimiters are skipped".into());
        }
        check(&dialect)?;
        if options.quote.is_none() && dialect.quote == Symbol::None && self.looks_quoted(&dialect) {
            notes.push(
                "quotes are ordinary characters in it, though some values are quoted as in CSV; if that is meant, set the quote \
                 to \""
                    .into(),
            );
        }
        Ok(Sniffed { dialect, notes })
    }

    /// Whether all quotes would be around whole fields, if quotes had a meaning.
    fn looks_quoted(&self, dialect: &Dialect) -> bool {
        let dialect = Dialect {
            quote: Symbol::Byte(b'"'),
            ..*dialect
        };
        let (mut rows, mut has_quotes, mut bytes) = (0, false, self.bytes);
        let unsound = || Error::input(self.uri, "");
        let end = scan(&mut bytes, &dialect, (0, 1), self.is_whole, &mut |span| {
            let record = &self.bytes[span.start as usize..span.end as usize];
            rows += 1;
            if rows > ROWS {
                return Ok(());
            }
            has_quotes |= record.contains(&b'"');
            match span.fault.is_some() || fields(record, &dialect).has_stray_quote {
                true => Err(unsound()),
                false => Ok(()),
            }
        });
        end.is_ok() && has_quotes
    }

    /// Whether every name, or every value, after a delimiter starts with a space, and of the values some are quoted.
    fn is_padded(&self, dialect: &Dialect, has_header: bool) -> bool {
        let rows = self.rows(dialect, ROWS);
        let header = usize::from(has_header).min(rows.len());
        let (header, rows) = rows.split_at(header);
        fn after_delimiters(rows: &[(Span, Fields)]) -> impl Iterator<Item = &[u8]> {
            let fields = rows.iter().flat_map(|(_, row)| row.iter().skip(1));
            fields.filter(|field| !field.is_empty())
        }
        let are_padded = |rows: &[(Span, Fields)]| {
            let mut fields = after_delimiters(rows).peekable();
            fields.peek().is_some() && fields.all(|field| field[0] == b' ')
        };
        let is_quoted = |field: &[u8]| {
            let first = field.trim_ascii_start().first().copied();
            first.is_some() && first == dialect.quote.byte()
        };
        are_padded(header) || (are_padded(rows) && after_delimiters(rows).any(is_quoted))
    }
}

/// Fails if a character has two meanings.
pub(super) fn check(dialect: &Dialect) -> Result<()> {
    let symbols = [
        ("delimiter", dialect.delimiter),
        ("quote", dialect.quote),
        ("escape character", dialect.escape),
    ];
    for (index, (role, symbol)) in symbols.iter().enumerate() {
        for (other, same) in &symbols[index + 1..] {
            if symbol == same && *symbol != Symbol::None {
                return Err(Error::Parameter(format!(
                    "failed to read delimited text: {symbol} cannot be both the {role} and the {other}; change one of them"
                )));
            }
        }
    }
    Ok(())
}

/// How the first rows look with a delimiter.
struct Counts {
    byte: u8,
    /// The number of columns of the first row.
    columns: usize,
    /// The number of other rows; of those with as many columns as the first one; of those with more than one.
    rows: usize,
    equal: usize,
    several: usize,
    /// The share of all rows that have as many columns as the first one, and quotes around whole fields only.
    sound: f64,
}

impl Counts {
    fn new(byte: u8, all: &[(Span, Fields)]) -> Self {
        let columns = all.first().map_or(0, |(_, first)| first.count());
        let rows = all.get(1..).unwrap_or_default();
        let is_equal = |fields: &Fields| fields.count() == columns;
        let count = |all: &[(Span, Fields)], is_meant: &dyn Fn(&Fields) -> bool| {
            all.iter().filter(|(_, fields)| is_meant(fields)).count()
        };
        let sound = count(all, &|fields| is_equal(fields) && !fields.has_stray_quote);
        Self {
            byte,
            columns,
            rows: rows.len(),
            equal: count(rows, &is_equal),
            several: count(rows, &|fields| fields.count() > 1),
            sound: sound as f64 / all.len().max(1) as f64,
        }
    }

    /// Whether most rows have as many columns as the first one.
    fn is_likely(&self) -> bool {
        2 * self.equal >= self.rows
    }
}

/// Chooses the delimiter. `own` is that of the format. The error is a reason.
fn choose(own: u8, counts: &[Counts]) -> Result<Symbol, String> {
    let in_header = || counts.iter().filter(|count| count.columns > 1);
    let own_count = in_header().find(|count| count.byte == own);
    let Some(best) = in_header().max_by(|a, b| {
        let rank = |count: &Counts| (count.byte == own, count.columns);
        a.sound.total_cmp(&b.sound).then(rank(a).cmp(&rank(b)))
    }) else {
        return one_column(own, counts);
    };
    match own_count {
        Some(own_count) if !best.is_likely() || own_count.sound >= best.sound => {
            Ok(Symbol::Byte(own))
        }
        None if !best.is_likely() => Err(format!(
            "what separates its columns is unclear: by a {} the first row has {} columns, and only {} of the next {} rows have \
             as many; set the delimiter, or none if each line is one value",
            name(best.byte),
            best.columns,
            best.equal,
            best.rows
        )),
        _ => Ok(Symbol::Byte(best.byte)),
    }
}

/// The first row has one column. Tab-separated text may contain any other delimiter.
fn one_column(own: u8, counts: &[Counts]) -> Result<Symbol, String> {
    if own == b'\t' {
        return Ok(Symbol::Byte(own));
    }
    // A title above the header, or prose: one is cut wrongly if it is taken for the other.
    if let Some(all) = counts
        .iter()
        .find(|count| count.rows > 0 && count.several == count.rows)
    {
        return Err(format!(
            "its first line has one column, but every other line has a {}; the first line must name the columns, separated \
             as in the others; if each line is one value, set the delimiter to none",
            name(all.byte)
        ));
    }
    match counts.iter().any(|count| count.several > 0) {
        true => Ok(Symbol::None),
        false => Ok(Symbol::Byte(own)),
    }
}

/// A punctuation mark that may separate columns: that of which all rows, which have one column, have the same number.
fn uncommon(rows: &[(Span, Fields)]) -> Option<u8> {
    let ((_, first), others) = rows.split_first()?;
    if first.count() != 1 || others.is_empty() {
        return None;
    }
    let count =
        |row: &Fields, byte: u8| row.iter().flatten().filter(|other| **other == byte).count();
    let is_in_words = |byte: u8| b"\"'_-.()".contains(&byte);
    (b'!'..=b'~')
        .filter(|byte| byte.is_ascii_punctuation() && !is_in_words(*byte))
        .find(|byte| {
            let columns = count(first, *byte);
            columns > 0 && others.iter().all(|(_, row)| count(row, *byte) == columns)
        })
}

/// The name of a delimiter in a sentence.
fn name(byte: u8) -> String {
    match byte {
        b',' => "comma".into(),
        b';' => "semicolon (;)".into(),
        b'\t' => "tab".into(),
        b'|' => "vertical bar (|)".into(),
        other => format!("{:?}", char::from(other)),
    }
}
