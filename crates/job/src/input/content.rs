//! Recognizes what a source is by its first bytes, because names may be wrong.

use std::borrow::Cow;
use std::io::Read;

use super::compression::{Compression, Ignored};
use super::json::Scanner;
use crate::format::Format;
use crate::store::Location;
use crate::{Error, Result};

/// Enough to recognize every format, and the layout of text.
const SHOWN_BYTES: u64 = 64 << 10;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Compressed(Compression),
    Columnar(Format),
    /// A format that cannot be read: what it is, and what to do.
    Foreign(&'static str, &'static str),
    Text,
    Other,
}

/// Formats that cannot be read, by their first bytes.
const FOREIGN: [(&[u8], &str, &str); 12] = [
    (b"BZh", "a bzip2 file", "unpack it with bzip2 -dc"),
    (b"\xfd7zXZ\0", "an xz file", "unpack it with xz -dc"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it with lz4 -dc"),
    (b"\xff\x06\0\0sNaPpY", "a Snappy file", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it with 7z x"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it with unrar"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        "an Excel workbook or another Office document",
        "export the table as CSV",
    ),
    (b"PARE", "an encrypted Parquet file", "decrypt it"),
    (b"ORC", "an ORC file", "convert it to Parquet"),
    (b"Obj\x01", "an Avro file", "convert it to Parquet"),
    (
        b"SQLite format 3\0",
        "an SQLite database",
        "export the table as CSV",
    ),
    (b"%PDF-", "a PDF document", "extract its text"),
];

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let is_text = is_text(bytes);
        match bytes {
            [0x1f, 0x8b, ..] => Self::Compressed(Compression::Gzip),
            // A frame, or a skippable one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Self::Compressed(Compression::Zstd)
            }
            // A header of CSV may begin like that, but there is more.
            [b'P', b'A', b'R', b'1', rest @ ..] if !is_text || rest.is_empty() => {
                Self::Columnar(Format::Parquet)
            }
            // A file, or a stream, for which the reader reports what to do.
            [b'A', b'R', b'R', b'O', b'W', b'1', rest @ ..] if !is_text || rest.is_empty() => {
                Self::Columnar(Format::Arrow)
            }
            [0xff, 0xff, 0xff, 0xff, ..] => Self::Columnar(Format::Arrow),
            [b'P', b'K', 3 | 5, 4 | 6, ..] => zip(bytes),
            _ if bytes.get(257..262) == Some(b"ustar") => {
                Self::Foreign("a tar archive", "unpack it with tar -xf")
            }
            _ if is_text => Self::Text,
            _ => {
                let known = FOREIGN.iter().find(|(magic, ..)| bytes.starts_with(magic));
                known.map_or(Self::Other, |(_, what, fix)| Self::Foreign(what, fix))
            }
        }
    }
}

/// What a ZIP archive is: Office documents are such archives.
fn zip(bytes: &[u8]) -> Content {
    let has = |name: &[u8]| memchr::memmem::find(bytes, name).is_some();
    if has(b"[Content_Types].xml") || has(b"xl/") || has(b"mimetypeapplication/vnd.oasis") {
        Content::Foreign(
            "an Excel workbook or another Office document",
            "export the table as CSV",
        )
    } else {
        Content::Foreign("a ZIP archive", "unpack it with unzip")
    }
}

/// Whether bytes are text in some encoding: they have no control characters, or begin with the byte-order mark of UTF-16.
fn is_text(bytes: &[u8]) -> bool {
    let is_control = |b: &u8| matches!(b, 0..=8 | 14..=26 | 28..=31);
    let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    !bytes.is_empty() && (is_utf16 || !bytes.iter().any(is_control))
}

/// `text` without a byte-order mark; of UTF-16 only the ASCII characters, which show the format.
fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    match text {
        [0xff, 0xfe, rest @ ..] | [0xfe, 0xff, rest @ ..] => {
            rest.iter().copied().filter(|byte| *byte != 0).collect()
        }
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.into(),
        text => text.into(),
    }
}

/// The format of a text.
fn text_format(text: &[u8]) -> Format {
    let header = text.split(|b| *b == b'\n').next().unwrap_or_default();
    if is_json(text) {
        Format::Jsonl
    } else if header.contains(&b'\t') && !header.contains(&b',') {
        Format::Tsv
    } else {
        Format::Csv
    }
}

/// Whether a text is JSON: it begins with an array of objects, or with an object that does not end on its line or after which
/// there is nothing else on it but a comma or another object.
fn is_json(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    if let Some(rest) = text.strip_prefix(b"[") {
        return rest.trim_ascii_start().starts_with(b"{");
    }
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let mut scanner = Scanner::new(line);
    text.starts_with(b"{")
        && match scanner.members(|_, _| ()) {
            Ok(()) => matches!(scanner.rest().trim_ascii_end(), b"" | b"," | [b'{', ..]),
            Err(fault) => fault.is_end,
        }
}

/// What the name of a source or an option says about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// By its extension.
    pub(super) named: Option<Format>,
    /// By an option.
    pub(super) forced: Option<Format>,
    pub(super) compression: Compression,
    /// Whether text of any format is accepted, as for standard input.
    pub(super) is_any_text: bool,
}

/// What the content of a source is.
pub(super) struct Recognized {
    pub(super) format: Format,
    pub(super) compression: Compression,
    /// What users may not expect, as in "it is …".
    pub(super) notes: Vec<String>,
}

/// The format and compression of the source at `location`, called `uri` in messages.
///
/// Content takes precedence over the name, unless only the name tells formats of text apart.
pub(super) fn recognize(uri: &str, location: &Location, expected: Expected) -> Result<Recognized> {
    let wrong = |reason: String| Error::input(uri, reason);
    let raw = shown(location, Compression::None).map_err(|e| unreadable(uri, e))?;
    let outer = Content::of(&raw);
    let (compression, shown) = match outer {
        Content::Compressed(compression) => {
            let shown = shown(location, compression).map_err(|e| unreadable(uri, e))?;
            (compression, shown)
        }
        // An empty file is a truncated one.
        _ if raw.is_empty() => (expected.compression, raw),
        Content::Other if expected.compression != Compression::None => {
            return Err(wrong(format!(
                "it is not a {} file, although its name says so, and not text either",
                match expected.compression {
                    Compression::Zstd => "zstd",
                    _ => "gzip",
                }
            )));
        }
        _ => (Compression::None, raw),
    };
    let content = Content::of(&shown);
    let shown = plain(&shown);
    let named = expected.forced.or(expected.named);
    let format = match content {
        Content::Foreign(what, fix) => {
            let inside = if compression == Compression::None {
                "it is"
            } else {
                "it contains"
            };
            return Err(wrong(format!(
                "{inside} {what}, which shoal does not read; {fix}"
            )));
        }
        Content::Compressed(_) if compression != Compression::None => {
            return Err(wrong("it is compressed twice; unpack it once".into()));
        }
        Content::Columnar(found) => match expected.forced {
            Some(forced) if forced != found => {
                let reason = format!("it is {}, not {}", kind(found), kind(forced));
                return Err(wrong(reason).adjustable("input-format"));
            }
            _ => found,
        },
        Content::Text if expected.forced.is_none() => match named {
            Some(Format::Csv | Format::Tsv) if is_json(&shown) => Format::Jsonl,
            Some(format) if !format.is_columnar() => format,
            None if !expected.is_any_text && !is_json(&shown) => return Err(unknown(uri)),
            _ => text_format(&shown),
        },
        _ => match named {
            Some(format) => format,
            None if expected.is_any_text => text_format(&shown),
            None => return Err(unknown(uri)),
        },
    };
    if format.is_columnar() && compression != Compression::None {
        return Err(wrong(format!(
            "{} has its own compression; unpack the file first",
            kind(format)
        )));
    }
    let named = expected
        .named
        .filter(|named| *named != format && expected.forced.is_none());
    let notes = named.map(|named| {
        format!(
            "it is {}, not {} as its name says",
            kind(format),
            kind(named)
        )
    });
    Ok(Recognized {
        format,
        compression,
        notes: notes.into_iter().collect(),
    })
}

fn unknown(uri: &str) -> Error {
    let reason = "its name has no known extension; set the input format to csv, tsv, jsonl, parquet or arrow";
    Error::input(uri, reason).adjustable("input-format")
}

/// A format in messages.
fn kind(format: Format) -> &'static str {
    match format {
        Format::Csv => "CSV",
        Format::Tsv => "TSV",
        Format::Jsonl => "JSON Lines",
        Format::Parquet => "Parquet",
        Format::Arrow => "Arrow IPC",
        Format::TextFolder => "a folder of text files",
    }
}

/// The first decompressed bytes. Damage behind them is reported when the source is read.
fn shown(location: &Location, compression: Compression) -> Result<Vec<u8>, std::io::Error> {
    let mut shown = Vec::new();
    let raw = location.open(None).map_err(std::io::Error::other)?;
    compression
        .decompress(raw, &Ignored::default())?
        .take(SHOWN_BYTES)
        .read_to_end(&mut shown)
        .or_else(|e| match compression {
            Compression::None => Err(e),
            _ => Ok(0),
        })?;
    Ok(shown)
}

fn unreadable(uri: &str, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::storage("read", uri, error),
    }
}
