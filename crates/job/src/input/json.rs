//! Finds values in JSON text. Only its structure is checked: words and strings may be anything that ends unambiguously, such
//! as `NaN` or a string with invalid UTF-8, because the values that are used are parsed later.

use std::fmt;

use super::delimited::parser::MARK;
use super::path;

/// A line without a byte-order mark, which concatenated files leave at its start.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(MARK).unwrap_or(line)
}

/// The first fault in the structure of JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed {
    /// The position in the text.
    at: usize,
    expected: &'static str,
    /// Whether the text ends there.
    pub(super) is_end: bool,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, expected, .. } = self;
        match self.is_end {
            true => write!(f, "it ends where {expected} is expected (byte {at})"),
            false => write!(f, "{expected} is expected at byte {at}"),
        }
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// Reads JSON text.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        let mut scanner = Self { text, at: 0 };
        scanner.skip_space();
        scanner
    }

    /// What was not read yet, without white space before it.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Checks that nothing is left.
    fn end(&self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.expected("the end of the line"),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Reads `byte` and the white space after it, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.at += 1;
            self.skip_space();
        }
        is_next
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T> {
        Err(Malformed {
            at: self.at,
            expected,
            is_end: self.at == self.text.len(),
        })
    }

    /// A string with its quotes.
    fn string(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return self.expected("a string");
        }
        self.at += 1;
        loop {
            match memchr::memchr2(b'"', b'\\', self.rest()) {
                Some(length) if self.text[self.at + length] == b'"' => {
                    self.at += length + 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(length) if self.at + length + 2 <= self.text.len() => self.at += length + 2,
                _ => {
                    self.at = self.text.len();
                    return self.expected("the end of a string");
                }
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<&'a [u8]> {
        let key = self.string()?;
        self.skip_space();
        match self.take(b':') {
            true => Ok(key),
            false => self.expected("a colon"),
        }
    }

    /// A value. The space after it is read too.
    pub(super) fn value(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        // The brackets that are to be closed. Recursion would be limited by the stack.
        let mut open = Vec::new();
        loop {
            let mut is_open = false;
            match self.peek() {
                Some(b'{') => {
                    self.take(b'{');
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        is_open = true;
                    }
                    open.push(b'}');
                }
                Some(b'[') => {
                    self.take(b'[');
                    is_open = self.peek() != Some(b']');
                    open.push(b']');
                }
                Some(b'"') => _ = self.string()?,
                _ => self.word()?,
            }
            while !is_open {
                let end = self.at;
                let Some(&close) = open.last() else {
                    self.skip_space();
                    return Ok(&self.text[start..end]);
                };
                self.skip_space();
                match self.peek() {
                    Some(byte) if byte == close => {
                        self.at += 1;
                        open.pop();
                    }
                    Some(b',') => {
                        self.take(b',');
                        if close == b'}' {
                            self.key()?;
                        }
                        is_open = true;
                    }
                    _ => return self.expected("a comma or a closing bracket"),
                }
            }
        }
    }

    /// A number, `true`, `null`, `NaN` …
    fn word(&mut self) -> Result<()> {
        let length = word_length(self.rest());
        if length == 0 {
            return self.expected("a value");
        }
        self.at += length;
        Ok(())
    }

    /// The members of an object: its keys, with their quotes, and values.
    pub(super) fn members(&mut self, mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<()> {
        if !self.take(b'{') {
            return self.expected("an object");
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            visit(key, self.value()?);
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("a comma or the end of the object");
            }
        }
    }

    /// The items of an array, until `visit` returns false.
    pub(super) fn items(&mut self, mut visit: impl FnMut(&'a [u8]) -> bool) -> Result<()> {
        if !self.take(b'[') {
            return self.expected("an array");
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            if !visit(self.value()?) || self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("a comma or the end of the array");
            }
        }
    }
}

/// The length of the word at the start of `text`.
fn word_length(text: &[u8]) -> usize {
    let is_part = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_');
    text.iter().take_while(is_part).count()
}

/// A value that Python writes and JSON does not have.
pub(super) fn is_not_finite(word: &[u8]) -> bool {
    matches!(word, b"NaN" | b"Infinity" | b"-Infinity")
}

/// An object or array with its numbers that are not finite as strings; `None` if there are none.
pub(super) fn finite(json: &[u8]) -> Option<Vec<u8>> {
    let (mut finite, mut copied, mut at) = (Vec::new(), 0, 0);
    while at < json.len() {
        let rest = &json[at..];
        let length = match rest[0] {
            b'"' => Scanner::new(rest).string().map_or(rest.len(), <[u8]>::len),
            b'-' | b'I' | b'N' => word_length(rest),
            _ => 1,
        };
        if is_not_finite(&rest[..length]) {
            finite.extend_from_slice(&json[copied..at]);
            finite.push(b'"');
            finite.extend_from_slice(&rest[..length]);
            finite.push(b'"');
            copied = at + length;
        }
        at += length;
    }
    (copied > 0).then(|| {
        finite.extend_from_slice(&json[copied..]);
        finite
    })
}

/// The name of a key, or `None` if it is no Unicode text.
pub(super) fn key_name(key: &[u8]) -> Option<String> {
    serde_json::from_slice(key).ok()
}

fn is_key(key: &[u8], name: &str) -> bool {
    let inner = &key[1..key.len() - 1];
    inner == name.as_bytes()
        || (inner.contains(&b'\\') && key_name(key).is_some_and(|key| key == name))
}

/// The values of the columns `names`, which may be [paths](path), of `line`, a JSON object. The last of duplicate keys counts.
pub(super) fn pick<'a>(line: &'a [u8], names: &[Option<&str>]) -> Result<Vec<Option<&'a [u8]>>> {
    let mut found = vec![Match::default(); names.len()];
    let mut scanner = Scanner::new(line);
    scanner.members(|key, value| {
        for (found, name) in found.iter_mut().zip(names) {
            if let Some(name) = name {
                found.see(key, value, name);
            }
        }
    })?;
    scanner.end()?;
    let found = found.into_iter().zip(names);
    Ok(found.map(|(found, name)| found.resolve((*name)?)).collect())
}

/// What an object has for a path.
#[derive(Debug, Clone, Copy, Default)]
struct Match<'a> {
    /// The value of the member that is named like the whole path.
    whole: Option<&'a [u8]>,
    /// The value of the member that is named like its first segment.
    first: Option<&'a [u8]>,
}

impl<'a> Match<'a> {
    fn see(&mut self, key: &[u8], value: &'a [u8], path: &str) {
        let (first, rest) = path::split(path);
        if is_key(key, path) {
            self.whole = Some(value);
        } else if rest.is_some() && is_key(key, first) {
            self.first = Some(value);
        }
    }

    /// The value at the end of `path`. A loop, because the path and the text may be deeper than the stack.
    fn resolve(mut self, mut path: &str) -> Option<&'a [u8]> {
        loop {
            if self.whole.is_some() {
                return self.whole;
            }
            let mut value = self.first?;
            let mut rest = path::split(path).1?;
            while value.first() == Some(&b'[') {
                let (segment, after) = path::split(rest);
                let mut left = path::index(segment)?;
                let mut item = None;
                // Its structure was checked already.
                let checked = Scanner::new(value).items(|value| {
                    item = (left == 0).then_some(value);
                    left = left.saturating_sub(1);
                    item.is_none()
                });
                checked.ok()?;
                value = item?;
                match after {
                    Some(after) => rest = after,
                    None => return Some(value),
                }
            }
            self = Self::default();
            let mut scanner = Scanner::new(value);
            let members = scanner.members(|key, value| self.see(key, value, rest));
            members.ok()?;
            path = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(line: &str, name: &str) -> Option<String> {
        let values = pick(line.as_bytes(), &[Some(name), None]).unwrap();
        assert_eq!(values[1], None);
        values[0].map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let line = r#" { "a" : {"b": [ 1 , {"c": "x"}, [2, [3]] ], "1": 4} , "d":null } "#;
        for (path, value) in [
            ("a.b.0", Some("1")),
            ("a.b.1.c", Some("\"x\"")),
            ("a.b.1", Some("{\"c\": \"x\"}")),
            ("a.b.2.1.0", Some("3")),
            ("a.1", Some("4")),
            ("d", Some("null")),
            ("d.e", None),
            ("a.b.3", None),
            ("a.b.c", None),
            ("a.b.+1", None),
            ("a.b.99999999999999999999", None),
            ("a.b.0.c", None),
            ("a.", None),
            (".a", None),
            ("", None),
        ] {
            assert_eq!(picked(line, path).as_deref(), value, "{path}");
        }
    }

    #[test]
    fn literal_names_win_at_each_level() {
        let line = r#"{"a":{"b":1,"b.c":2,"b":{"c":3}},"a.b":4,"x":{"y.z":5,"y":{"z":6}}}"#;
        assert_eq!(picked(line, "a.b").as_deref(), Some("4"));
        assert_eq!(picked(line, "a.b.c").as_deref(), Some("2"));
        assert_eq!(picked(line, "x.y.z").as_deref(), Some("5"));
    }

    #[test]
    fn the_last_of_duplicate_keys_counts() {
        assert_eq!(picked(r#"{"a":1,"\u0061":2}"#, "a").as_deref(), Some("2"));
        let line = r#"{"a":{"b":1},"a":{"c":2}}"#;
        assert_eq!(picked(line, "a.b"), None);
        assert_eq!(picked(line, "a.c").as_deref(), Some("2"));
    }

    #[test]
    fn other_values_need_a_structure_only() {
        for other in [
            "NaN",
            "-Infinity",
            "[1, {\"b\": None}]",
            "\"\\q \u{1} \\ud800\"",
            "{}",
            "[ ]",
            "[[], {}]",
        ] {
            let line = format!("{{\"x\": {other}, \"a\": 1}}");
            assert_eq!(picked(&line, "a").as_deref(), Some("1"), "{line}");
        }
        let line = b"{\"\xff\": \"\xff\", \"a\": 1}";
        assert_eq!(pick(line, &[Some("a")]).unwrap(), [Some(&b"1"[..])]);
    }

    #[test]
    fn faults_in_the_structure_are_located() {
        for (line, says) in [
            ("", "it ends where an object is expected (byte 0)"),
            ("[1]", "an object is expected at byte 0"),
            (
                "{\"a\":1",
                "it ends where a comma or the end of the object is expected (byte 6)",
            ),
            ("{\"a\":1,}", "a string is expected at byte 7"),
            ("{\"a\" 1}", "a colon is expected at byte 5"),
            ("{\"a\":}", "a value is expected at byte 5"),
            (
                "{\"a\":\"x",
                "it ends where the end of a string is expected (byte 7)",
            ),
            (
                "{\"a\":\"x\\",
                "it ends where the end of a string is expected (byte 8)",
            ),
            (
                "{\"a\":[1}",
                "a comma or a closing bracket is expected at byte 7",
            ),
            ("{\"a\":[,1]}", "a value is expected at byte 6"),
            ("{\"a\":[1,]}", "a value is expected at byte 8"),
            ("{\"a\":{\"b\":{},}}", "a string is expected at byte 13"),
            ("{\"a\":1}, ", "the end of the line is expected at byte 7"),
            ("{'a':1}", "a string is expected at byte 1"),
        ] {
            let error = pick(line.as_bytes(), &[]).unwrap_err();
            assert_eq!(error.to_string(), says, "{line}");
        }
    }

    #[test]
    fn nesting_is_not_limited_by_the_stack() {
        const DEPTH: usize = 1_000_000;
        let nested = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
        let line = format!("{{\"x\":{nested},\"a\":1}}");
        assert_eq!(picked(&line, "a").as_deref(), Some("1"));
        // The outermost levels only: each is scanned to its end.
        let path = "x".to_owned() + &".0".repeat(100);
        let found = picked(&line, &path).unwrap();
        assert_eq!(found.len(), 2 * (DEPTH - 100));
        let objects = "{\"a\":".repeat(1000) + "7" + &"}".repeat(1000);
        let path = "a".to_owned() + &".a".repeat(999);
        assert_eq!(picked(&objects, &path).as_deref(), Some("7"));
        assert!(pick(&b"[".repeat(DEPTH), &[]).is_err());
    }
}
