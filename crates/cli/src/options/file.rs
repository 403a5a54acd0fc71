//! `shoal.toml`: the values of options that no flag and no variable gives.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use clap::Command;
use toml::{Table, Value};

use shoal::{Error, Result};

/// The file that is read unless another one is named.
const FILE: &str = "shoal.toml";

/// Options of the file, each with its values as they are written after its flag.
pub(crate) type FileOptions = BTreeMap<String, Vec<String>>;

/// The options of a file, which may be all those that `run` has.
pub(crate) fn read(path: Option<&Path>, run: &Command) -> Result<FileOptions> {
    let is_named = path.is_some();
    let path = path.unwrap_or(Path::new(FILE));
    let failed = |reason: &dyn std::fmt::Display| {
        let path = path.display();
        Error::Settings(format!("failed to read settings from {path}: {reason}"))
    };
    let table: Table = match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|e| failed(&e))?,
        Err(e) if e.kind() == ErrorKind::NotFound && !is_named => Table::new(),
        Err(e) => return Err(failed(&e)),
    };
    let run = run.clone().no_binary_name(true);
    let run = run.mut_args(|arg| arg.env(None::<&str>).required(false));
    let mut options = FileOptions::new();
    for (key, value) in table {
        let known = |arg: &clap::Arg| arg.get_long() == Some(&key) && key != "config";
        if !run.get_arguments().any(known) {
            return Err(failed(&format!("there is no option {key}")));
        }
        let values = words(value).ok_or_else(|| failed(&format!("{key} has the wrong type")))?;
        let flags = values.iter().map(|value| format!("--{key}={value}"));
        if let Err(error) = run.clone().try_get_matches_from(flags) {
            let text = error.render().to_string();
            let reason = text.split("\n\n").next().unwrap_or_default();
            return Err(failed(&reason.trim_start_matches("error: ")));
        }
        options.insert(key, values);
    }
    Ok(options)
}

/// The values as they are written after a flag; in a list, items with a comma are quoted as in CSV.
fn words(value: Value) -> Option<Vec<String>> {
    Some(match value {
        Value::String(text) => vec![text],
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => vec![value.to_string()],
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
            let mut line = csv::Writer::from_writer(Vec::new());
            line.write_record(items?).ok()?;
            let line = String::from_utf8(line.into_inner().ok()?).ok()?;
            vec![line.trim_end().to_owned()]
        }
        Value::Datetime(_) | Value::Table(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<FileOptions> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, text).unwrap();
        let command = crate::args::command(&FileOptions::new());
        read(Some(&file), command.find_subcommand("run").unwrap())
    }

    #[test]
    fn options_of_another_type_or_name_are_refused_by_name() {
        for (text, says) in [
            ("batchsize = 1", "no option batchsize"),
            ("batch-size = 'x'", "'--batch-size <N>'"),
            ("batch-size = { x = 1 }", "batch-size has the wrong type"),
            ("max-time = '5 days'", "'--max-time <TIME>'"),
            ("input-format = 'text-folder'", "csv, tsv"),
            ("config = 'x'", "no option config"),
            ("batch-size = ", "a.toml"),
        ] {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn values_are_written_as_after_flags() {
        let text = "batch-size = 9\nscores = true\nmax-cost = 0.5\nkeep-columns = ['a', 'b, c']";
        let expected = [
            ("batch-size", "9"),
            ("keep-columns", "a,\"b, c\""),
            ("max-cost", "0.5"),
            ("scores", "true"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), vec![value.to_owned()]));
        assert_eq!(read_text(text).unwrap(), FileOptions::from(expected));
    }
}
