//! Folders of text files. As in aclImdb, the subfolders `pos/` and `neg/` are labels.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use arrow_schema::DataType;

use super::MAX_RECORD_BYTES;
use super::schema::{Schema, SourceColumn};
use super::span::Span;
use crate::record::write_json_string;
use crate::spec::Identity;
use crate::{Error, Result};

/// The columns of every text folder.
pub(crate) fn schema() -> Schema {
    let columns = ["id", "text", "label"]
        .map(|name| SourceColumn {
            name: name.into(),
            is_text: true,
            data_type: DataType::Utf8,
        })
        .to_vec();
    Schema { columns }
}

/// The `.txt` files below `folder`, sorted by path.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fn walk(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<()> {
        let unreadable = |e| Error::storage("list", folder.display().to_string(), e);
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
            "there are no .txt files in the folder; name data files, or use a pattern such as 'folder/*.csv'",
        ));
    }
    Ok(found)
}

/// The identity of the folder: names, lengths and modification times of its files.
pub(crate) fn identity(folder: &Path) -> Result<Identity> {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    for path in files(folder)? {
        let meta = path
            .metadata()
            .map_err(|e| Error::storage("read", path.display().to_string(), e))?;
        let modified = meta
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.map_or(0, |since| since.as_nanos());
        bytes += meta.len();
        hasher.update(format!("{}\0{}\0{modified}\n", path.display(), meta.len()).as_bytes());
    }
    let etag = Some(hasher.finalize().to_hex().to_string());
    Ok(Identity {
        bytes,
        modified: None,
        etag,
        digest: None,
    })
}

/// Writes the folder as JSON Lines, and calls `visit` with the position of each line.
pub(crate) fn stage(
    folder: &Path,
    out: &mut impl Write,
    mut visit: impl FnMut(Span) -> Result<()>,
) -> Result<()> {
    let mut content = Vec::new();
    let mut line = Vec::new();
    let mut start = 0;
    for (index, path) in files(folder)?.iter().enumerate() {
        content.clear();
        File::open(path)
            // One byte more than allowed shows that a file is too long.
            .and_then(|file| file.take(MAX_RECORD_BYTES + 1).read_to_end(&mut content))
            .map_err(|e| Error::storage("read", path.display().to_string(), e))?;
        line.clear();
        json_line(&id(folder, path), &content, label(path), &mut line);
        out.write_all(&line)
            .map_err(|e| Error::storage("stage", path.display().to_string(), e))?;
        let end = start + line.len() as u64;
        visit(Span::new(start, end, index as u64 + 1))?;
        start = end;
    }
    Ok(())
}

/// The path below the folder, without its extension: `pos/0_9`.
fn id(folder: &Path, path: &Path) -> String {
    let below = path.strip_prefix(folder).unwrap_or(path).with_extension("");
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
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
        let mut out = Vec::new();
        let mut spans = Vec::new();
        stage(dir.path(), &mut out, |span| {
            spans.push(span);
            Ok(())
        })
        .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"id\":\"neg/1_2\",\"text\":\"bad \\\"one\\\"\\n\",\"label\":\"negative\"}\n\
             {\"id\":\"pos/0_9\",\"text\":\"good\",\"label\":\"positive\"}\n"
        );
        assert_eq!(spans[1].line, 2);
        assert_eq!(spans[1].start, spans[0].end);
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
