//! `shoal.toml`, and how flags and variables override it.

use std::io::ErrorKind;
use std::path::Path;

use clap::{Args, Command};
use toml::Table;

use super::{RunOptions, given};
use shoal::{Error, Result};

/// The file that is read unless another one is named.
const FILE: &str = "shoal.toml";

/// `options`, which come from flags and variables, over those of the file.
pub(crate) fn merge(options: &RunOptions, file: Option<&Path>) -> Result<RunOptions> {
    let mut table = read(file)?;
    table.extend(given(options));
    // Each was parsed before.
    table
        .try_into()
        .map_err(|e| Error::Settings(format!("failed to read the options: {e}")))
}

fn read(path: Option<&Path>) -> Result<Table> {
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
    let known = RunOptions::augment_args(Command::new("run"));
    for (key, value) in &table {
        if !known.get_arguments().any(|arg| arg.get_long() == Some(key)) {
            return Err(failed(&format!("there is no option {key}")));
        }
        let one = Table::from_iter([(key.clone(), value.clone())]);
        one.try_into::<RunOptions>()
            .map_err(|e| failed(&format!("{key}: {e}")))?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        std::fs::write(&file, text).unwrap();
        read(Some(&file))
    }

    #[test]
    fn options_of_another_type_or_name_are_refused_by_name() {
        for (text, says) in [
            ("batchsize = 1", "no option batchsize"),
            ("batch-size = 'x'", "batch-size: "),
            ("max-time = '5 days'", "max-time: "),
            ("input-format = 'text-folder'", "csv, tsv"),
            ("config = 'x'", "no option config"),
            ("batch-size = ", "a.toml"),
        ] {
            let error = read_text(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn flags_override_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shoal.toml");
        std::fs::write(&file, "batch-size = 9\nscores = true\nmax-cost = 2").unwrap();
        let mut options = RunOptions::default();
        options.batches.batch_size = Some(7);
        options.task.threshold = Some(f64::NAN);
        let merged = merge(&options, Some(&file)).unwrap();
        assert_eq!(merged.batches.batch_size, Some(7));
        assert_eq!(merged.task.scores, Some(true));
        assert_eq!(merged.limits.max_cost, Some(2.0));
        assert!(merged.task.threshold.unwrap().is_nan());
        assert_eq!(merged.logging.quiet, None);
    }
}
