//! What the head of a JSON Lines source shows: its columns, or that it is JSON of another layout.

use std::collections::BTreeMap;

use arrow_schema::DataType;
use serde::de::IgnoredAny;

use super::compression::Compression;
use super::json::{Scanner, finite, key_name, pick, without_mark};
use super::locate::STDIN;
use super::schema::{Inside, Schema, Seen, SourceColumn};
use super::stream::Stream;
use super::text::{Head, encoding_note};
use crate::store::is_url;
use crate::{Error, Result};

/// Maximum number of columns and nested fields that are remembered.
const MAX_FIELDS: usize = 1 << 16;
/// Maximum depth of nested fields that are remembered.
const MAX_DEPTH: usize = 64;

pub(super) fn head(stream: &Stream) -> Result<Head> {
    let (bytes, is_whole) = stream.head();
    let mut found = Found {
        root: Node::default(),
        left: MAX_FIELDS,
    };
    let mut objects = 0;
    let mut lines = bytes.split(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = without_mark(line);
        let is_cut = lines.peek().is_none() && !is_whole;
        if !is_cut && pick(line, &[]).is_ok() {
            objects += 1;
            see(&mut found.root, &mut found.left, line, 0);
        }
    }
    if is_whole && bytes.trim_ascii().is_empty() {
        return Ok(Head::empty());
    }
    if let Some(reason) = other_layout(stream, objects) {
        return Err(Error::input(stream.uri(), reason));
    }
    Ok(Head {
        schema: (objects > 0).then(|| found.root.schema()),
        has_record: objects > 0,
        notes: stream
            .encoding()
            .is_none()
            .then(|| encoding_note(bytes.split(|b| *b == b'\n')))
            .flatten()
            .into_iter()
            .collect(),
        ..Head::default()
    })
}

struct Found {
    root: Node,
    /// The number of further fields that may be remembered.
    left: usize,
}

/// The values of a column in the head.
#[derive(Default)]
struct Node {
    seen: Seen,
    /// Whether values are neither null nor nested.
    has_scalars: bool,
    fields: BTreeMap<String, Node>,
    item: Option<Box<Node>>,
    /// Whether it may contain more.
    is_partial: bool,
}

/// Adds `value`, whose structure is sound, to what is known about a column at `depth`.
fn see(node: &mut Node, left: &mut usize, value: &[u8], depth: usize) {
    let mut scanner = Scanner::new(value);
    let first = scanner.rest().first();
    node.seen.texts |= first == Some(&b'"');
    node.seen.others |= !matches!(first, Some(b'"' | b'n'));
    node.has_scalars |= !matches!(first, Some(b'{' | b'[' | b'n'));
    if depth == MAX_DEPTH {
        node.is_partial = true;
        return;
    }
    // The structure of the value was checked.
    let _ = match first {
        Some(b'{') => scanner.members(|key, value| {
            let Some(name) = key_name(key) else { return };
            if !node.fields.contains_key(&name) {
                if *left == 0 {
                    node.is_partial = true;
                    return;
                }
                *left -= 1;
            }
            see(node.fields.entry(name).or_default(), left, value, depth + 1);
        }),
        Some(b'[') => scanner.items(|value| {
            see(node.item.get_or_insert_default(), left, value, depth + 1);
            true
        }),
        _ => Ok(()),
    };
}

impl Node {
    fn schema(self) -> Schema {
        let Inside {
            fields, is_partial, ..
        } = self.inside();
        Schema {
            columns: fields,
            is_typed: false,
            is_partial,
        }
    }

    fn inside(self) -> Inside {
        // Nulls and empty arrays may have any content elsewhere.
        let is_unknown = !self.has_scalars && self.fields.is_empty() && self.item.is_none();
        let fields = self.fields.into_iter();
        Inside {
            is_partial: self.is_partial || is_unknown,
            item: self.item.map(|item| Box::new(item.column(String::new()))),
            fields: fields.map(|(name, node)| node.column(name)).collect(),
        }
    }

    fn column(self, name: String) -> SourceColumn {
        let is_text = self.seen.texts && !self.seen.others;
        SourceColumn {
            inside: self.inside(),
            ..SourceColumn::untyped(name, is_text, DataType::Null)
        }
    }
}

/// Why the source is not JSON Lines and how to convert it, if its head is JSON of another layout. `objects` is the number of
/// lines in the head that are objects.
fn other_layout(stream: &Stream, objects: usize) -> Option<String> {
    let (bytes, is_whole) = stream.head();
    let text = bytes.trim_ascii_start();
    let convert = |command: &str| format!("convert it with {}", on(stream, command));
    if let Some(rest) = text.strip_prefix(b"[") {
        let is_array = matches!(rest.trim_ascii_start().first(), Some(b'{' | b']'));
        let reason = "it is a JSON array, not JSON Lines, which has one object per line";
        return is_array.then(|| format!("{reason}; {}", convert("jq -c '.[]'")));
    }
    if !text.starts_with(b"{") {
        return None;
    }
    let mut scanner = Scanner::new(text);
    let value = scanner.value().ok()?;
    let rest = scanner.rest();
    let finite = finite(value);
    if value.contains(&b'\n')
        // A line break within a string is a fault of this line only.
        && serde_json::from_slice::<IgnoredAny>(finite.as_deref().unwrap_or(value)).is_ok()
    {
        let filter = match rows(value) {
            Some(name) if is_whole && rest.is_empty() => format!(".[\"{name}\"][]"),
            _ => ".".to_owned(),
        };
        let reason =
            "its objects extend over several lines, but JSON Lines has one object per line";
        return Some(format!(
            "{reason}; {}",
            convert(&format!("jq -c '{filter}'"))
        ));
    }
    let first_line = text.split(|b| *b == b'\n').next()?.trim_ascii_end();
    let is_first_only = value.len() == first_line.len();
    if is_first_only {
        return None;
    }
    if first_line.len() == value.len() + 1 && first_line.ends_with(b",") {
        let lines = bytes.split(|b| *b == b'\n');
        let commas = lines
            .filter(|line| line.trim_ascii_end().ends_with(b"},"))
            .count();
        let reason = "its lines end with commas, but JSON Lines has none between its objects";
        return (commas >= objects)
            .then(|| format!("{reason}; {}", convert("sed 's/,[[:space:]]*$//'")));
    }
    let reason = "its first line has several objects, but JSON Lines has one object per line";
    (objects == 0 && rest.starts_with(b"{")).then(|| format!("{reason}; {}", convert("jq -c .")))
}

/// The first member of an object that is an array of objects.
fn rows(object: &[u8]) -> Option<String> {
    let mut found = None;
    let members = Scanner::new(object).members(|key, value| {
        let rows = value.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
        if found.is_none() && rows.is_some_and(|rows| rows.starts_with(b"{")) {
            found = key_name(key);
        }
    });
    let is_plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    members.ok().and(found).filter(is_plain)
}

/// The shell command that applies `command` to the source.
fn on(stream: &Stream, command: &str) -> String {
    let place = stream.uri();
    if place == STDIN {
        return format!("`{command}` before it reaches standard input");
    }
    let quoted = match is_url(place) {
        // Downloaded first.
        true => "IN".to_owned(),
        false => quoted(place),
    };
    match stream.compression() {
        Compression::None => format!("`{command} {quoted} > OUT.jsonl`"),
        Compression::Gzip => format!("`gzip -dc {quoted} | {command} > OUT.jsonl`"),
        Compression::Zstd => format!("`zstd -dc {quoted} | {command} > OUT.jsonl`"),
    }
}

/// A path as a shell reads it.
fn quoted(path: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+=:,@%".contains(&b);
    match path.bytes().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}
