//! Reads the first records of inputs before planning.

use std::io::Cursor;

use super::columns;
use super::found::Found;
use super::kind::Kind;
use super::read::oversized;
use super::row::Contents;
use super::schema::{Resolver, Schema};
use super::text::{Span, TextSlice, check_options, head_with_record, read_head};
use crate::record::Record;
use crate::spec::{Columns, Fault, Parameters};
use crate::{FunctionSpec, Result, writers};

/// Maximum number of files to sample, evenly distributed.
const MAX_FILES: usize = 32;

/// The columns of `found`, as planning would resolve them. Reads the first MiB of each source, or the first record if that is
/// longer.
///
/// # Errors
/// A source cannot be read, is malformed or lacks a column; all sources are empty; or the output format does not support
/// the function's columns.
pub fn look(found: &[Found], function: &FunctionSpec, parameters: &Parameters) -> Result<Columns> {
    writers::check(parameters.output_format, &function.output)?;
    check_options(found, parameters)?;
    let mut columns = Resolver::new(function, parameters);
    for found in found {
        match Kind::of(found.format) {
            Kind::Text(format) => {
                let mut stream = format.open(found, parameters.encoding)?;
                read_head(format, found, &mut stream, parameters, &mut columns)?;
            }
            Kind::Columnar(_) if found.location.meta()?.bytes == 0 => {}
            Kind::Columnar(format) => {
                let (mut schema, _) = format.head(&found.location)?;
                schema.add_partitions(&found.partitions);
                columns.add(&schema, &found.uri)?;
            }
        }
    }
    let places: Vec<_> = found.iter().map(|found| found.uri.as_str()).collect();
    columns.finish(&places.join(", "))
}

/// About `records` first records of `found`, the same number of each file. Bad records are skipped. Of a text file, only as
/// much is read as by [`look`].
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
        let mut rows = first_rows(file, &columns, parameters)?;
        let end = sample.len() + of_each;
        while sample.len() < end
            && let Some((_, content)) = rows.next().transpose()?
        {
            sample.extend(content.ok());
        }
    }
    Ok(sample)
}

/// The rows in the head of a source.
pub(super) fn first_rows(
    found: &Found,
    columns: &Columns,
    parameters: &Parameters,
) -> Result<Contents> {
    let in_path = |mut schema: Schema| {
        schema.add_partitions(&found.partitions);
        columns.with_partitions(&schema.partitions())
    };
    match Kind::of(found.format) {
        Kind::Text(format) => {
            let mut stream = format.open(found, parameters.encoding)?;
            let mut head = head_with_record(format, &mut stream, parameters)?;
            let Some(schema) = head.schema.take() else {
                return Ok(Box::new(std::iter::empty()));
            };
            stream.cut();
            let encoding = stream.encoding();
            let (bytes, start) = (stream.head().0.to_vec(), stream.position());
            let mut spans = Vec::new();
            format.scan(&mut stream, &head, None, &mut |span| {
                spans.push(span);
                Ok(())
            })?;
            let (uri, columns) = (found.uri.clone(), in_path(schema));
            let rows = move |span: Span| -> Result<Contents> {
                if span.fault == Some(Fault::Oversized) {
                    return Ok(oversized(span.line, span.end - span.start));
                }
                let bytes = &bytes[(span.start - start) as usize..(span.end - start) as usize];
                let slice = TextSlice {
                    uri: &uri,
                    bytes: Box::new(Cursor::new(bytes.to_vec())),
                    header: head.header.as_deref().unwrap_or_default(),
                    dialect: head.dialect.unwrap_or_default(),
                    encoding,
                    line: span.line,
                    fault: span.fault,
                };
                format.rows(slice, &columns)
            };
            Ok(Box::new(spans.into_iter().flat_map(move |span| {
                rows(span).unwrap_or_else(|e| Box::new(std::iter::once(Err(e))))
            })))
        }
        Kind::Columnar(_) if found.location.meta()?.bytes == 0 => Ok(Box::new(std::iter::empty())),
        Kind::Columnar(format) => {
            let opened = format.open(&found.location)?;
            let columns = in_path(columns::source_schema(opened.1.schema()));
            let rows = 0..opened.1.rows();
            format.rows(&found.location, opened, &columns, rows)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::function_spec::tests::classification;
    use crate::input::locate;

    /// Writes files, and returns their paths.
    fn write(folder: &Path, files: &[(&str, &str)]) -> Vec<String> {
        let write = |(name, content): &(&str, &str)| {
            let path = folder.join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        files.iter().map(write).collect()
    }

    #[test]
    fn columns_are_resolved_from_heads() {
        let folder = tempfile::tempdir().unwrap();
        let look_at = |files: &[(&str, &str)], text_column: Option<&str>| {
            let named = text_column.map(|name| ("text".to_owned(), name.to_owned()));
            let parameters = Parameters {
                columns: named.into_iter().collect(),
                ..Parameters::default()
            };
            let found = locate(&write(folder.path(), files), None, None)?;
            look(&found, &classification(), &parameters)
        };
        let csv = ("a.csv", "id,body\n1,good\n");
        assert_eq!(look_at(&[csv], None).unwrap().input("text"), Some("body"));
        let jsonl = ("b.jsonl", "{\"body\":\"good\"}\n");
        assert_eq!(look_at(&[csv, jsonl], None).unwrap_err().to_string(), {
            let place = folder.path().join("b.jsonl");
            format!(
                "failed to read input {}: there is no column \"id\" for the id; its columns are body",
                place.display()
            )
        });
        for (file, column, says) in [
            (csv, Some("text"), "no column \"text\""),
            (("c.jsonl", "1\n2\n"), None, "is a JSON object"),
            (("d.jsonl", ""), None, "no records"),
        ] {
            let error = look_at(&[file], column).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let missing = folder.path().join("missing.csv").display().to_string();
        let error = locate(&[missing], None, None).unwrap_err();
        assert!(error.to_string().contains("no such file"));
    }

    fn texts(files: &[(&str, &str)], records: usize) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let found = locate(&write(folder.path(), files), None, None).unwrap();
        let sample = sample(&found, &classification(), &Parameters::default(), records).unwrap();
        sample.iter().map(|r| r.text().to_owned()).collect()
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
        assert_eq!(texts(&[csv, jsonl], 4), ["a", "b\nb", "x", "y"]);
    }

    #[test]
    fn a_record_across_the_end_of_the_head_is_skipped() {
        let text = "word ".repeat(1000);
        let line = format!("{{\"id\":1,\"text\":\"{text}\"}}\n");
        let lines = line.repeat(2 * (1 << 20) / line.len());
        let found = texts(&[("a.jsonl", &lines)], 10_000);
        assert!(found.len() > 100 && found.iter().all(|found| *found == text));
        let rows = format!(
            "id,text\n{}",
            format!("1,\"{text}\"\n").repeat(2 * (1 << 20) / 5000)
        );
        let found = texts(&[("a.csv", &rows)], 10_000);
        assert!(found.len() > 100 && found.iter().all(|found| *found == text));
    }
}
