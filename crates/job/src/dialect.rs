//! How delimited text is written: its delimiter, quotes, escapes and header; and how text is encoded.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A character with a meaning in delimited text, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Symbol {
    /// No character has this meaning.
    None,
    /// An ASCII character that is not a line break.
    Byte(u8),
}

/// Characters with names, in options and messages.
const NAMED: [(&str, u8); 6] = [
    ("comma", b','),
    ("semicolon", b';'),
    ("tab", b'\t'),
    ("pipe", b'|'),
    ("colon", b':'),
    ("space", b' '),
];

impl Symbol {
    /// The character.
    pub fn byte(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Byte(byte) => Some(byte),
        }
    }
}

impl FromStr for Symbol {
    type Err = String;

    /// Reads a character, its name (`tab`, `comma`, `semicolon`, `pipe`, `colon`, `space`), `\t`, a code such as `\x01`, or
    /// `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let named = NAMED.iter().find(|(name, _)| *name == text);
        let code = text
            .strip_prefix("\\x")
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        let byte = match (named, text.as_bytes()) {
            (Some((_, byte)), _) => Some(*byte),
            (None, b"\\t") => Some(b'\t'),
            (None, [byte]) => Some(*byte),
            _ => code,
        };
        match byte {
            Some(byte) if byte.is_ascii() && !matches!(byte, b'\r' | b'\n' | 0) => {
                Ok(Self::Byte(byte))
            }
            _ => Err(format!(
                "{text:?} is not an ASCII character, `none`, or one of the names comma, semicolon, tab, pipe, colon and space"
            )),
        }
    }
}

impl TryFrom<String> for Symbol {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Symbol> for String {
    fn from(symbol: Symbol) -> Self {
        match symbol {
            Symbol::None => "none".into(),
            Symbol::Byte(byte) => char::from(byte).into(),
        }
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Byte(byte) => match NAMED.iter().find(|(_, named)| named == byte) {
                Some((name, _)) => f.write_str(name),
                None if byte.is_ascii_graphic() => write!(f, "{}", char::from(*byte)),
                None => write!(f, "\\x{byte:02x}"),
            },
        }
    }
}

/// What the user says about the delimited text of the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialectOptions {
    /// The delimiter of fields; detected from the first rows if `None`.
    #[serde(default)]
    pub delimiter: Option<Symbol>,
    /// The quote around fields; `"` if `None`, and none in tab-separated text.
    #[serde(default)]
    pub quote: Option<Symbol>,
    /// The character that makes the next one ordinary; none if `None`.
    #[serde(default)]
    pub escape: Option<Symbol>,
    /// Whether the first row names the columns. Without names, columns are called `column_1`, `column_2`, ….
    #[serde(default = "yes")]
    pub header_row: bool,
}

fn yes() -> bool {
    true
}

impl Default for DialectOptions {
    fn default() -> Self {
        Self {
            delimiter: None,
            quote: None,
            escape: None,
            header_row: true,
        }
    }
}

impl DialectOptions {
    /// Whether the user said nothing.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How a source of delimited text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// Between fields. `none`: a row has one field.
    pub delimiter: Symbol,
    /// Around fields.
    pub quote: Symbol,
    /// Before an ordinary character.
    pub escape: Symbol,
    /// Whether spaces after a delimiter are no part of the field.
    #[serde(default)]
    pub skips_spaces: bool,
}

impl Default for Dialect {
    /// CSV of RFC 4180.
    fn default() -> Self {
        Self {
            delimiter: Symbol::Byte(b','),
            quote: Symbol::Byte(b'"'),
            escape: Symbol::None,
            skips_spaces: false,
        }
    }
}

/// The encoding of a text, by its name or label in the Encoding Standard of WHATWG, such as `windows-1252`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Encoding(pub(crate) &'static encoding_rs::Encoding);

impl Encoding {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The name of an encoding, or of UTF-8 if it is `None`.
    pub(crate) fn name_of(encoding: Option<Self>) -> &'static str {
        encoding.map_or("UTF-8", Self::name)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The standard names some encodings that it only detects, to refuse them.
        let found = encoding_rs::Encoding::for_label_no_replacement(text.as_bytes());
        found.map(Self).ok_or_else(|| {
            format!(
                "{text:?} is not the name of an encoding, such as utf-8, utf-16le, windows-1252 or shift_jis"
            )
        })
    }
}

impl TryFrom<String> for Encoding {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Encoding> for String {
    fn from(encoding: Encoding) -> Self {
        encoding.name().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_characters_and_names() {
        for (text, byte) in [
            (",", b','),
            ("semicolon", b';'),
            ("tab", b'\t'),
            ("\\t", b'\t'),
            ("\t", b'\t'),
            ("\\", b'\\'),
            ("\\x01", 1),
        ] {
            assert_eq!(text.parse(), Ok(Symbol::Byte(byte)), "{text:?}");
        }
        assert_eq!("none".parse(), Ok(Symbol::None));
        for text in ["", "||", "§", "\n", "\\x0a", "\\xff", "\\x"] {
            assert!(text.parse::<Symbol>().is_err(), "{text:?}");
        }
        for symbol in [Symbol::None, Symbol::Byte(b'\t'), Symbol::Byte(b'\\')] {
            let json = serde_json::to_string(&symbol).unwrap();
            assert_eq!(serde_json::from_str::<Symbol>(&json).unwrap(), symbol);
        }
    }

    #[test]
    fn encodings_have_labels() {
        assert_eq!("latin1".parse::<Encoding>().unwrap().name(), "windows-1252");
        assert_eq!("UTF-16LE".parse::<Encoding>().unwrap().name(), "UTF-16LE");
        for text in ["", "latin-99", "hz-gb-2312"] {
            assert!(text.parse::<Encoding>().is_err(), "{text}");
        }
    }
}
