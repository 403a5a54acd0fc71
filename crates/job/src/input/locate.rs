//! Expands inputs to sources, and detects their formats.

use std::path::{Path, PathBuf};

use super::compression::Compression;
use super::content::{Expected, Recognized, recognize};
use super::found::Found;
use super::partitions::partitions;
use crate::format::Format;
use crate::store::{Location, is_url};
use crate::{Error, Result, file_name};

/// The name of standard input.
pub(super) const STDIN: &str = "-";

/// A copy of standard input, which can be read only once.
#[derive(Debug, Clone)]
pub struct Spool {
    /// The copy.
    pub path: PathBuf,
    /// BLAKE3 of its content, in hexadecimal.
    pub digest: String,
}

/// The sources behind `inputs`: paths, folders, globs, URLs, and `-`, which stands for `spool`.
///
/// `format` overrides the format that is detected from names and content.
///
/// # Errors
/// A source does not exist, or its format cannot be detected.
///
/// # Panics
/// `-` is among the inputs and there is no `spool`.
pub fn locate(
    inputs: &[String],
    format: Option<Format>,
    spool: Option<&Spool>,
) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for input in inputs {
        if input == STDIN {
            let spool = spool.expect("standard input is copied before it is located");
            let location = Location::Local(spool.path.clone());
            let recognized = sniff(&location, format)?;
            found.push(Found {
                uri: STDIN.into(),
                location,
                format: recognized.format,
                compression: recognized.compression,
                notes: recognized.notes,
                partitions: Vec::new(),
                spooled: true,
            });
        } else {
            for location in expand(input)? {
                found.push(describe(location, format)?);
            }
        }
    }
    Ok(found)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

fn expand(input: &str) -> Result<Vec<Location>> {
    if is_url(input) {
        return if has_wildcard(input) {
            some(input, Location::glob(input)?)
        } else {
            Ok(vec![Location::parse(input)?])
        };
    }
    // A file may be called `a[1].csv`.
    if Path::new(input).exists() || !has_wildcard(input) {
        return Ok(vec![Location::Local(absolute(Path::new(input))?)]);
    }
    let pattern = absolute(Path::new(input))?;
    let paths = glob::glob(file_name::text(&pattern)?)
        .map_err(|e| Error::input(input, format!("the pattern is malformed: {e}")))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::storage("list", input, e))?;
    file_name::check_pattern(file_name::text(&pattern)?)?;
    some(input, paths.into_iter().map(Location::Local).collect())
}

fn some(pattern: &str, found: Vec<Location>) -> Result<Vec<Location>> {
    if found.is_empty() {
        return Err(Error::input(pattern, "no file matches the pattern"));
    }
    Ok(found)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::file("find", path))
}

fn describe(location: Location, format: Option<Format>) -> Result<Found> {
    if let Location::Local(path) = &location {
        file_name::text(path)?;
    }
    let uri = location.uri();
    let is_folder = matches!(&location, Location::Local(path) if path.is_dir());
    if let Location::Local(path) = &location
        && !is_folder
        && path.exists()
        && !path.is_file()
    {
        return Err(Error::input(
            uri,
            "it is a pipe, a device or a socket, which can be read only once; use `-` as the input, and redirect it to \
             standard input",
        ));
    }
    if is_folder {
        return Ok(Found {
            uri,
            location,
            format: Format::TextFolder,
            compression: Compression::None,
            partitions: Vec::new(),
            notes: Vec::new(),
            spooled: false,
        });
    }
    let name = location.path().to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.') {
        Some((stem, "gz")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (name.as_str(), Compression::None),
    };
    let extension = stem.rsplit_once('.').map(|(_, extension)| extension);
    let expected = Expected {
        named: extension.and_then(Format::of_extension),
        forced: format,
        compression,
        is_any_text: false,
    };
    let recognized = recognize(&uri, &location, expected)?;
    Ok(Found {
        uri,
        partitions: partitions(&location),
        location,
        format: recognized.format,
        compression: recognized.compression,
        notes: recognized.notes,
        spooled: false,
    })
}

/// Detects the format of standard input, of which `location` is a copy.
fn sniff(location: &Location, format: Option<Format>) -> Result<Recognized> {
    let expected = Expected {
        named: None,
        forced: format,
        compression: Compression::None,
        is_any_text: true,
    };
    recognize(STDIN, location, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_folder(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(dir.path().join(file), "text\nx\n").unwrap();
        }
        dir
    }

    fn locate_one(dir: &tempfile::TempDir, name: &str) -> Result<Vec<Found>> {
        locate(
            &[dir.path().join(name).to_string_lossy().into_owned()],
            None,
            None,
        )
    }

    #[test]
    fn format_and_compression_are_detected_from_names() {
        let dir = in_folder(&["a.CSV", "b.tsv.gz", "c.ndjson.zst", "e[1].csv", "x.txt"]);
        for name in ["b.tsv.gz", "c.ndjson.zst"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let one = |name: &str| {
            let found = locate_one(&dir, name).unwrap();
            (found[0].format, found[0].compression)
        };
        assert_eq!(one("a.CSV"), (Format::Csv, Compression::None));
        assert_eq!(one("b.tsv.gz"), (Format::Tsv, Compression::Gzip));
        assert_eq!(one("c.ndjson.zst"), (Format::Jsonl, Compression::Zstd));
        // Nothing in their content contradicts these names.
        for (name, format) in [
            ("d.parquet", Format::Parquet),
            ("d.arrow", Format::Arrow),
            ("d.feather", Format::Arrow),
        ] {
            std::fs::write(dir.path().join(name), [0; 8]).unwrap();
            assert_eq!(one(name), (format, Compression::None));
        }
        assert_eq!(one("e[1].csv"), (Format::Csv, Compression::None));
        assert!(
            locate_one(&dir, "x.txt")
                .unwrap_err()
                .to_string()
                .contains("set the input format")
        );
    }

    #[test]
    fn globs_are_sorted_and_must_match() {
        let dir = in_folder(&["b.csv", "a.csv", "c.tsv"]);
        let found = locate_one(&dir, "*.csv").unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|f| f.uri.rsplit('/').next().unwrap())
            .collect();
        assert_eq!(names, ["a.csv", "b.csv"]);
        assert!(
            locate_one(&dir, "*.jsonl")
                .unwrap_err()
                .to_string()
                .contains("no file matches")
        );
    }

    #[test]
    fn formats_of_streams_are_detected() {
        let dir = tempfile::tempdir().unwrap();
        let sniffed = |content: &[u8]| {
            let path = dir.path().join("spool");
            std::fs::write(&path, content).unwrap();
            let found = sniff(&Location::Local(path), None).unwrap();
            assert!(found.notes.is_empty());
            (found.format, found.compression)
        };
        assert_eq!(
            sniffed(b" \n{\"text\":1}"),
            (Format::Jsonl, Compression::None)
        );
        assert_eq!(
            sniffed(b"\xef\xbb\xbf{\"text\":1}"),
            (Format::Jsonl, Compression::None)
        );
        assert_eq!(
            sniffed(b"\xff\xfe{\0\"\0"),
            (Format::Jsonl, Compression::None)
        );
        assert_eq!(sniffed(b"id\ttext\n"), (Format::Tsv, Compression::None));
        assert_eq!(sniffed(b"id,text\n"), (Format::Csv, Compression::None));
        assert_eq!(
            sniffed(b"PAR1\x15\x04.."),
            (Format::Parquet, Compression::None)
        );
        assert_eq!(sniffed(b"ARROW1\0\0"), (Format::Arrow, Compression::None));
        assert_eq!(
            sniffed(b"\xff\xff\xff\xff"),
            (Format::Arrow, Compression::None)
        );
        let zst = zstd::encode_all(&b"{\"text\":1}"[..], 1).unwrap();
        assert_eq!(sniffed(&zst), (Format::Jsonl, Compression::Zstd));
    }
}
