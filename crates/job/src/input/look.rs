//! Checks the heads of inputs before they are read completely.

use super::{Found, Stream, arrow, delimited, jsonl, parquet, text_folder};
use crate::format::Format;
use crate::spec::{Columns, Parameters};
use crate::{Error, FunctionSpec, Result, writers};

/// The columns of `found`, as planning would resolve them. Reads at most the first MiB of each source.
///
/// # Errors
/// A source cannot be read, is malformed or lacks a column; all sources are empty; or the output format does not support
/// the function's columns.
pub fn look(found: &[Found], function: &FunctionSpec, parameters: &Parameters) -> Result<Columns> {
    writers::check(parameters.output_format, &function.output)?;
    let mut columns: Option<Columns> = None;
    for found in found {
        let place = found.uri.as_str();
        found.location.meta()?;
        let schema = match found.format {
            Format::Csv | Format::Tsv => {
                let stream = Stream::open(found, None)?;
                Some(delimited::head(&stream, found.format.delimiter(), place)?.1)
            }
            Format::Jsonl => {
                let stream = Stream::open(found, None)?;
                let schema = jsonl::head(&stream);
                if schema.is_none() && !stream.head().0.trim_ascii().is_empty() {
                    return Err(Error::input(
                        place,
                        "no line in its first MiB is a JSON object; check that its format is JSON Lines",
                    ));
                }
                schema
            }
            Format::Parquet => Some(parquet::head(&found.location)?.0),
            Format::Arrow => Some(arrow::head(&found.location)?.0),
            Format::TextFolder => Some(text_folder::schema()),
        };
        match (schema, &columns) {
            (None, _) => {}
            (Some(schema), Some(columns)) => schema.check(columns, place)?,
            (Some(schema), None) => columns = Some(schema.resolve(function, parameters, place)?),
        }
    }
    columns.ok_or_else(|| {
        let places: Vec<_> = found.iter().map(|found| found.uri.as_str()).collect();
        Error::input(places.join(", "), "there are no records in it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function_spec::tests::classification;
    use crate::input::locate;

    #[test]
    fn columns_are_resolved_from_heads() {
        let folder = tempfile::tempdir().unwrap();
        let look_at = |files: &[(&str, &str)], text_column: Option<&str>| {
            let inputs: Vec<_> = files
                .iter()
                .map(|(name, content)| {
                    let path = folder.path().join(name);
                    std::fs::write(&path, content).unwrap();
                    path.to_str().unwrap().to_owned()
                })
                .collect();
            let parameters = Parameters {
                columns: text_column
                    .map(|name| ("text".to_owned(), name.to_owned()))
                    .into_iter()
                    .collect(),
                ..Parameters::default()
            };
            look(
                &locate(&inputs, None, None)?,
                &classification(),
                &parameters,
            )
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
            (("c.jsonl", "1\n2\n"), None, "no line in its first MiB"),
            (("d.jsonl", ""), None, "no records"),
        ] {
            let error = look_at(&[file], column).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let missing = [folder
            .path()
            .join("missing.csv")
            .to_str()
            .unwrap()
            .to_owned()];
        let found = locate(&missing, None, None)
            .and_then(|f| look(&f, &classification(), &Parameters::default()));
        assert!(found.unwrap_err().to_string().contains("no such file"));
    }
}
