//! File names that are not text. Plans are JSON, so they hold only names in UTF-8.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

use crate::{Error, Result};

/// The name, with bytes that are not UTF-8 as `\xNN`. Different names may look the same only if one contains such text.
pub fn escaped(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// The path as text.
///
/// # Errors
/// It is not UTF-8.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Error::Parameter(format!(
            "failed to use {}: the name is not UTF-8, so a plan cannot hold it; rename it",
            escaped(path.as_os_str())
        ))
    })
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn bytes_that_are_not_text_are_escaped() {
        let name = OsStr::from_bytes(b"caf\xc3\xa9/\xff\xfe.csv");
        assert_eq!(escaped(name), "café/\\xFF\\xFE.csv");
        let error = text(Path::new(name)).unwrap_err().to_string();
        assert!(error.contains("café/\\xFF\\xFE.csv"), "{error}");
        assert_eq!(text(Path::new("café")).unwrap(), "café");
    }
}
