//! Folders of text files, read as JSON Lines. As in aclImdb, the subfolders `pos/` and `neg/` are labels.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::decode;
use super::delimited::parser::MARK;
use super::row::MAX_RECORD_BYTES;
use crate::dialect::Encoding;
use crate::record::write_json_string;
use crate::spec::Identity;
use crate::store::Location;
use crate::{Error, Result, file_name};

/// The columns of every text folder.
pub(super) const COLUMNS: [&str; 3] = ["id", "text", "label"];

/// The files of a folder as lines of JSON. The number of a file is that of its line. `encoding` applies to files without a
/// byte-order mark.
pub(super) fn open(location: &Location, encoding: Option<Encoding>) -> Result<Box<dyn Read>> {
    match location {
        Location::Local(folder) => Ok(Box::new(Lines {
            folder: folder.clone(),
            files: files(folder)?.into_iter(),
            encoding,
            line: Vec::new(),
            read: 0,
        })),
        Location::Remote(_) => Err(Error::input(
            location.uri(),
            "folders of text files must be local",
        )),
    }
}

struct Lines {
    folder: PathBuf,
    files: std::vec::IntoIter<PathBuf>,
    encoding: Option<Encoding>,
    line: Vec<u8>,
    /// Number of bytes of `line` that were read.
    read: usize,
}

impl Read for Lines {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.read == self.line.len()
            && let Some(path) = self.files.next()
        {
            let mut content = Vec::new();
            File::open(&path)
                // One byte more than allowed shows that a file is too long.
                .and_then(|file| file.take(MAX_RECORD_BYTES + 1).read_to_end(&mut content))
                .map_err(|e| {
                    io::Error::other(Error::storage("read", path.display().to_string(), e))
                })?;
            let encoding = decode::detect(&content, self.encoding).map_err(|reason| {
                io::Error::other(Error::input(path.display().to_string(), reason))
            })?;
            let content = match encoding {
                Some(encoding) => decode::decode(&content, encoding).into(),
                None => Cow::Borrowed(content.strip_prefix(MARK).unwrap_or(&content)),
            };
            self.line.clear();
            self.read = 0;
            json_line(
                &id(&self.folder, &path),
                &content,
                label(&path),
                &mut self.line,
            );
        }
        let read = (&self.line[self.read..]).read(out)?;
        self.read += read;
        Ok(read)
    }
}

/// The `.txt` files below `folder`, sorted by path.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fn walk(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<()> {
        let unreadable = Error::file("list", folder);
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            // Links to folders are not followed, because they may be cyclic.
            if path.is_dir() {
                if depth < 8 && !entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    walk(&path, depth + 1, found)?;
                }
            } else if path.extension().is_some_and(|extension| extension == "txt") {
                found.push(path);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, 0, &mut found)?;
    found.sort();
    if found.is_empty() {
        return Err(Error::input(
            folder.display().to_string(),
            "there are no .txt files in the folder; name data files, or use a pattern such as 'folder/*.csv' or 'folder/**/*.parquet'",
        ));
    }
    Ok(found)
}

/// The identity of the folder: names, lengths and modification times of its files.
pub(crate) fn identity(folder: &Path) -> Result<Identity> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for path in files(folder)? {
        let name = file_name::escaped(path.as_os_str());
        let file = Location::Local(path).meta()?;
        let modified = file.modified.unwrap_or_else(|| "0".into());
        bytes += file.bytes;
        hasher.update(format!("{name}\0{}\0{modified}\n", file.bytes).as_bytes());
    }
    Ok(Identity {
        bytes,
        etag: Some(hasher.finalize().to_hex().to_string()),
        ..Identity::default()
    })
}

/// The path below the folder, without its extension: `pos/0_9`.
fn id(folder: &Path, path: &Path) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path).with_extension("");
    let parts: Vec<_> = below.iter().map(file_name::escaped).collect();
    parts.join("/")
}

fn label(path: &Path) -> Option<&'static str> {
    match path.parent()?.file_name()?.to_str()? {
        "pos" => Some("positive"),
        "neg" => Some("negative"),
        _ => None,
    }
}

/// Invalid UTF-8 is kept in the JSON, so that reading the line reports it.
fn json_line(id: &str, text: &[u8], label: Option<&str>, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"id\":");
    write_json_string(id, line);
    line.extend_from_slice(b",\"text\":\"");
    for chunk in text.utf8_chunks() {
        let mut quoted = Vec::with_capacity(chunk.valid().len() + 2);
        write_json_string(chunk.valid(), &mut quoted);
        line.extend_from_slice(&quoted[1..quoted.len() - 1]);
        line.extend_from_slice(chunk.invalid());
    }
    line.extend_from_slice(b"\",\"label\":");
    match label {
        Some(label) => write_json_string(label, line),
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_ids_come_from_paths() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("pos/0_9.txt", "good"),
            ("neg/1_2.txt", "bad \"one\"\n"),
            ("x.csv", ""),
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let location = Location::Local(dir.path().to_owned());
        let mut lines = String::new();
        open(&location, None)
            .unwrap()
            .read_to_string(&mut lines)
            .unwrap();
        assert_eq!(
            lines,
            "{\"id\":\"neg/1_2\",\"text\":\"bad \\\"one\\\"\\n\",\"label\":\"negative\"}\n\
             {\"id\":\"pos/0_9\",\"text\":\"good\",\"label\":\"positive\"}\n"
        );
    }

    #[test]
    fn invalid_bytes_are_kept() {
        let mut line = Vec::new();
        json_line("a", b"x\xffy\"", None, &mut line);
        assert_eq!(
            line,
            b"{\"id\":\"a\",\"text\":\"x\xffy\\\"\",\"label\":null}\n"
        );
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            identity(dir.path())
                .unwrap_err()
                .to_string()
                .contains("no .txt files")
        );
    }
}
