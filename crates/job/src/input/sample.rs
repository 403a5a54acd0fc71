//! Reads the first records of inputs before planning.

use std::io::Cursor;
use std::sync::Arc;

use super::arrow::{self, Index};
use super::{Found, Stream, delimited, jsonl, look, parquet, text_folder};
use crate::format::Format;
use crate::record::Record;
use crate::spec::{Columns, Parameters};
use crate::{Error, FunctionSpec, Result};

/// Maximum number of files to read, evenly distributed.
const MAX_FILES: usize = 32;

/// About `records` first records of `found`, the same number of each file. Bad records are skipped. At most the first MiB of
/// a text file is read.
///
/// # Errors
/// As [`look`].
pub fn sample(
    found: &[Found],
    function: &FunctionSpec,
    parameters: &Parameters,
    records: usize,
) -> Result<Vec<Record>> {
    let columns = look(found, function, parameters)?;
    let files = found.len().min(MAX_FILES);
    let of_each = records.div_ceil(files.max(1));
    let mut sample = Vec::new();
    for number in 0..files {
        let file = &found[number * found.len() / files];
        sample.extend(first_of(file, &columns, of_each)?);
    }
    Ok(sample)
}

fn first_of(found: &Found, columns: &Columns, most: usize) -> Result<Vec<Record>> {
    let failed = |e: std::io::Error| Error::storage("read", &found.uri, e);
    let mut records = Vec::new();
    match found.format {
        Format::Csv | Format::Tsv => {
            let stream = Stream::open(found, None)?;
            let delimiter = found.format.delimiter();
            let (header, _) = delimited::head(&stream, delimiter, &found.uri)?;
            let (bytes, whole) = stream.head();
            let bytes = Box::new(Cursor::new(bytes.to_vec()));
            let mut reader = delimited::Records::new(bytes, delimiter, &header, columns, 1)?;
            // Skips the header.
            reader.next().map_err(failed)?;
            while records.len() <= most
                && let Some((_, record)) = reader.next().map_err(failed)?
            {
                records.push(record.ok());
            }
            if !whole && records.len() <= most {
                // The head may end within the last record.
                records.pop();
            }
        }
        Format::Jsonl => {
            let stream = Stream::open(found, None)?;
            let (bytes, whole) = stream.head();
            let end = if whole {
                bytes.len()
            } else {
                memchr::memrchr(b'\n', bytes).unwrap_or(0)
            };
            records = first_lines(bytes[..end].to_vec(), columns, most).map_err(failed)?;
        }
        Format::TextFolder => {
            let crate::store::Location::Local(folder) = &found.location else {
                return Ok(Vec::new());
            };
            let mut lines = Vec::new();
            let mut seen = 0;
            let staged = text_folder::stage(folder, &mut lines, |_| {
                seen += 1;
                if seen < most {
                    Ok(())
                } else {
                    Err(Error::Cancelled)
                }
            });
            match staged {
                Ok(()) | Err(Error::Cancelled) => {}
                Err(error) => return Err(error),
            }
            records = first_lines(lines, columns, most).map_err(failed)?;
        }
        Format::Parquet => {
            let (_, rows) = parquet::head(&found.location)?;
            let mut reader =
                parquet::Records::new(&found.location, columns, 0..rows.min(most as u64))?;
            while let Some((_, record)) = reader.next()? {
                records.push(record.ok());
            }
        }
        Format::Arrow => {
            let index = Arc::new(Index::read(&found.location)?);
            let rows = 0..index.rows().min(most as u64);
            let mut reader = arrow::Records::new(&found.location, index, columns, rows)?;
            while let Some((_, record)) = reader.next()? {
                records.push(record.ok());
            }
        }
    }
    Ok(records.into_iter().flatten().take(most).collect())
}

fn first_lines(
    lines: Vec<u8>,
    columns: &Columns,
    most: usize,
) -> std::io::Result<Vec<Option<Record>>> {
    let mut reader = jsonl::Records::new(Box::new(Cursor::new(lines)), columns, 1);
    let mut records = Vec::new();
    while records.len() < most
        && let Some((_, record)) = reader.next()?
    {
        records.push(record.ok());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function_spec::tests::classification;
    use crate::input::locate;

    fn texts(files: &[(&str, &str)], records: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let inputs: Vec<_> = files
            .iter()
            .map(|(name, content)| {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, content).unwrap();
                path.to_str().unwrap().to_owned()
            })
            .collect();
        let found = locate(&inputs, None, None).unwrap();
        let sample = sample(&found, &classification(), &Parameters::default(), records);
        let sample = sample.unwrap();
        sample
            .iter()
            .map(|record| record.text().to_owned())
            .collect()
    }

    #[test]
    fn a_sample_takes_good_records_of_each_file() {
        let csv = ("a.csv", "id,text\n1,a\n2,\n3,\"b\nb\"\n4,c\n");
        let jsonl = (
            "b.jsonl",
            "{\"id\":1,\"text\":\"x\"}\nnonsense\n{\"id\":2,\"text\":\"y\"}\n",
        );
        assert_eq!(texts(&[csv], 100), ["a", "b\nb", "c"]);
        assert_eq!(texts(&[csv], 2), ["a", "b\nb"]);
        assert_eq!(texts(&[csv, jsonl], 4), ["a", "b\nb", "x"]);
    }

    #[test]
    fn a_record_across_the_end_of_the_head_is_skipped() {
        let text = "word ".repeat(1000);
        let line = format!("{{\"id\":1,\"text\":\"{text}\"}}\n");
        let lines = line.repeat(2 * super::super::HEAD_BYTES / line.len());
        let found = texts(&[("a.jsonl", &lines)], 10_000);
        assert!(found.len() > 100 && found.iter().all(|found| *found == text));
        let rows = format!(
            "id,text\n{}",
            format!("1,\"{text}\"\n").repeat(2 * super::super::HEAD_BYTES / 5000)
        );
        let found = texts(&[("a.csv", &rows)], 10_000);
        assert!(found.len() > 100 && found.iter().all(|found| *found == text));
    }
}
