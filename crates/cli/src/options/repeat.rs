//! The command that repeats a run.

use std::path::Path;

use toml::Value;

use super::{RunOptions, given};
use shoal::dispatch::redact_url;
use shoal::job::store::is_url;

/// Options that do not change the results or how they are computed, or are settled when a run starts: what a plan chose is
/// given as batch size and concurrency.
const OMITTED: [&str; 6] = ["auto", "fresh", "json", "otlp", "quiet", "yes"];
/// Options whose value is a path or a URL.
const PATHS: [&str; 3] = ["cache-dir", "prices", "run-dir"];

/// The arguments of `shoal` that repeat the run of `inputs` from any folder. `None` where an option cannot be written as a
/// flag. They hold no secret: tokens come from the environment, and passwords and queries of URLs are left out.
pub(crate) fn arguments(inputs: &[String], options: &RunOptions) -> Option<Vec<String>> {
    let mut words = vec!["run".to_owned()];
    words.extend(inputs.iter().map(|input| path(input)));
    let mut table = given(options);
    if let Some(Value::String(output)) = table.remove("output") {
        words.extend(["-o".to_owned(), path(&output)]);
    }
    for (key, value) in table {
        if OMITTED.contains(&key.as_str()) {
            continue;
        }
        let value = match value {
            Value::Boolean(true) => {
                words.push(format!("--{key}"));
                continue;
            }
            Value::Boolean(false) => {
                words.push(format!("--{key}=false"));
                continue;
            }
            Value::String(text) if PATHS.contains(&key.as_str()) => path(&text),
            Value::String(text) if key == "model" && Path::new(&text).exists() => path(&text),
            Value::String(text) => public(&text),
            Value::Array(items) => list(&items)?,
            number => number.to_string(),
        };
        if value.is_empty() || value.starts_with('-') {
            words.push(format!("--{key}={value}"));
        } else {
            words.extend([format!("--{key}"), value]);
        }
    }
    words.push("--fresh".into());
    Some(words)
}

/// A list as it is written in a flag, which cannot have a comma in an item.
fn list(items: &[Value]) -> Option<String> {
    let items = items.iter().map(|item| item.as_str().map(public));
    let items: Vec<_> = items.collect::<Option<_>>()?;
    let is_plain = items.iter().all(|item| !item.contains(','));
    is_plain.then(|| items.join(","))
}

/// A path that means the same in every folder.
fn path(text: &str) -> String {
    if text == "-" || is_url(text) {
        return public(text);
    }
    std::path::absolute(text).map_or_else(|_| text.to_owned(), |path| path.display().to_string())
}

/// A URL without the parts that may be secret; any other text as it is.
fn public(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://").filter(|_| is_url(text)) else {
        return text.to_owned();
    };
    let is_http = matches!(scheme, "http" | "https");
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let shown = match authority.rsplit_once('@') {
        // abfss://container@account has no password.
        Some((user, host)) if is_http || user.contains(':') => {
            format!("{scheme}://…@{host}{}", &rest[authority.len()..])
        }
        _ => text.to_owned(),
    };
    // `?` is a wildcard in the URLs of other stores.
    if is_http { redact_url(&shown) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_every_option_that_counts() {
        let mut options = RunOptions::default();
        options.output.output = Some("out/".into());
        options.output.format = Some(shoal::job::format::OutputFormat::Parquet);
        options.task.scores = Some(true);
        options.task.normalize = Some(false);
        options.task.threshold = Some(0.3);
        options.task.prompt = Some(String::new());
        options.input.text_column = Some("-x".into());
        options.input.keep_columns = Some(vec!["a".into(), "b c".into()]);
        options.limits.max_time = Some("5m".parse().unwrap());
        options.limits.yes = Some(true);
        options.logging.quiet = Some(true);
        let words = arguments(&["/in.csv".into(), "-".into()], &options).unwrap();
        let here = std::env::current_dir().unwrap();
        let output = format!("{}/out/", here.display());
        let expected = [
            "run",
            "/in.csv",
            "-",
            "-o",
            &output,
            "--format",
            "parquet",
            "--keep-columns",
            "a,b c",
            "--max-time",
            "300s",
            "--normalize=false",
            "--prompt=",
            "--scores",
            "--text-column=-x",
            "--threshold",
            "0.3",
            "--fresh",
        ];
        assert_eq!(words, expected);
        options.input.keep_columns = Some(vec!["a,b".into()]);
        assert_eq!(arguments(&["/in.csv".into()], &options), None);
    }

    #[test]
    fn secrets_are_left_out() {
        for (url, shown) in [
            ("https://host/path?code=key", "https://host/path?…"),
            ("https://me:key@host/x", "https://…@host/x"),
            ("https://key@host", "https://…@host"),
            ("s3://id:key@bucket/x", "s3://…@bucket/x"),
            ("s3://bucket/part-?.csv", "s3://bucket/part-?.csv"),
            ("abfss://box@account/x", "abfss://box@account/x"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(public(url), shown);
        }
    }
}
