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

/// Checks that a pattern, which matches only text, leaves out no file for its name.
///
/// # Errors
/// A file or folder would match if its name were UTF-8.
pub(crate) fn check_pattern(pattern: &str) -> Result<()> {
    let parts: Vec<&str> = pattern.split('/').collect();
    for (at, part) in parts.iter().enumerate() {
        let Ok(wanted) = glob::Pattern::new(part) else {
            continue;
        };
        let is_recursive = *part == "**";
        // Other parts match a name that is text.
        if !is_recursive && !part.contains(['*', '?', '[']) {
            continue;
        }
        // A recursive part stands for the folder itself and all below it.
        let above = (at..=at + usize::from(is_recursive)).map(|end| parts[..end].join("/"));
        let folders = above.flat_map(|above| match above.as_str() {
            "" => glob::glob("/"),
            above => glob::glob(above),
        });
        for folder in folders.flatten().flatten() {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            for path in entries.map(|entry| entry.path()) {
                let name = path.file_name().unwrap_or_default();
                let would_match = || match is_recursive {
                    true => path.is_dir(),
                    false => wanted.matches(&name.to_string_lossy()),
                };
                if name.to_str().is_none() && would_match() {
                    text(&path)?;
                }
            }
        }
    }
    Ok(())
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

    #[test]
    fn patterns_do_not_pass_over_names_that_are_not_text() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        let odd = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
        std::fs::create_dir_all(odd(b"a/b")).unwrap();
        std::fs::write(odd(b"a/b/x.csv"), "").unwrap();
        for pattern in ["**/*.csv", "*/b/*.csv", "a/?/x.csv"] {
            check_pattern(&format!("{root}/{pattern}")).unwrap();
        }
        for (name, [wrong, right]) in [
            (&b"a/b/\xff.csv"[..], ["a/*/*.csv", "a/*/*.txt"]),
            (b"a/b/\xfe.txt", ["**/*.txt", "a/b/x*"]),
            (b"a/\xff", ["a/**/*.gz", "a/b/*.gz"]),
        ] {
            if name.contains(&b'.') {
                std::fs::write(odd(name), "").unwrap();
            } else {
                std::fs::create_dir(odd(name)).unwrap();
            }
            check_pattern(&format!("{root}/{wrong}")).unwrap_err();
            check_pattern(&format!("{root}/{right}")).unwrap();
        }
    }
}
