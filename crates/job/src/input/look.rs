//! A first look at inputs: whether they can be read and have the columns that are asked for, before all of them is read.

use super::{Found, Stream, arrow, delimited, jsonl, parquet, text_folder};
use crate::format::Format;
use crate::spec::{Columns, Parameters};
use crate::{Error, FunctionSpec, Result, writers};

/// Which columns of `found` are what, as their heads tell: what planning would take them for. No more than the first MiB of
/// each is read.
///
/// # Errors
/// One of them cannot be read, is not what its format promises, or lacks a column; or there is nothing in any of them; or
/// the output's format cannot hold the function's columns.
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
                        "no line of its first MiB is a JSON object; is it JSON Lines? (--input-format)",
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
    fn heads_tell_the_columns_and_what_is_wrong() {
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
            (("c.jsonl", "1\n2\n"), None, "no line of its first MiB"),
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
