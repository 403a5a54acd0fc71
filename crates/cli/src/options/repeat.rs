//! The command that repeats a run.

use std::path::Path;

use clap::{ArgMatches, Args, Command};

use super::{RunOptions, is_bool};
use shoal::dispatch::redact_url;
use shoal::job::store::is_url;

/// Options that do not change the results or how they are computed, or are settled when a run starts: what a plan chose is
/// given as backend, batch size and concurrency.
const OMITTED: [&str; 7] = ["auto", "detach", "fresh", "json", "otlp", "quiet", "yes"];
/// Options whose value is a path or a URL.
const PATHS: [&str; 4] = ["cache-dir", "output", "prices", "run-dir"];

/// The arguments of `shoal` that repeat the run of `inputs` from any folder. `given` has the options, `chosen` those that a
/// plan chose; those without a value are left out. They hold no secret: tokens come from the environment, and passwords and queries of URLs are left out.
pub(crate) fn arguments(
    inputs: &[String],
    given: &ArgMatches,
    chosen: &[(&str, Option<String>)],
) -> Vec<String> {
    let mut words = vec!["run".to_owned()];
    words.extend(inputs.iter().map(|input| path(input)));
    let known = RunOptions::augment_args(Command::new("run"));
    for option in known.get_arguments() {
        let name = option.get_long().expect("every option has a flag");
        if OMITTED.contains(&name) {
            continue;
        }
        let shown = |value: &str| match name {
            name if PATHS.contains(&name) => path(value),
            "model" if Path::new(value).exists() => path(value),
            _ => public(value),
        };
        let chosen = chosen.iter().find(|(option, _)| *option == name);
        let values: Vec<_> = match (chosen, given.get_raw(option.get_id().as_str())) {
            (Some((_, Some(value))), _) => vec![value.clone()],
            (Some((_, None)), _) => continue,
            (_, Some(raw)) => raw.map(|value| shown(&value.to_string_lossy())).collect(),
            _ => continue,
        };
        let value = values.join(",");
        let is_bool = is_bool(option);
        match value.as_str() {
            "true" if is_bool => words.push(format!("--{name}")),
            value if is_bool || value.is_empty() || value.starts_with('-') => {
                words.push(format!("--{name}={value}"));
            }
            _ => words.extend([format!("--{name}"), value]),
        }
    }
    words.push("--fresh".into());
    words
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
    use super::super::FileOptions;
    use super::*;

    fn repeated(line: &[&str], chosen: &[(&str, Option<String>)]) -> Vec<String> {
        let line = ["shoal", "run", "/in.csv", "-"].iter().chain(line);
        let matches = crate::args::command(&FileOptions::new()).get_matches_from(line);
        let run = matches.subcommand_matches("run").unwrap();
        arguments(&["/in.csv".into(), "-".into()], run, chosen)
    }

    #[test]
    fn the_command_has_every_option_that_counts() {
        let words = repeated(
            &[
                "-o=out/",
                "--format=parquet",
                "--scores",
                "--normalize=false",
                "--threshold=0.3",
                "--prompt=",
                "--text-column=-x",
                "--keep-columns=a,b c",
                "--keep-columns=\"d,e\"",
                "--url=http://a,http://b?key",
                "--max-time=5m",
                "--yes",
                "--quiet",
                "--auto",
                "--concurrency=3",
                "--max-cost=2",
            ],
            &[("batch-size", Some("7".into())), ("max-cost", None)],
        );
        let here = std::env::current_dir().unwrap();
        let expected = [
            "run",
            "/in.csv",
            "-",
            "--text-column=-x",
            "--keep-columns",
            "a,b c,\"d,e\"",
            "--scores",
            "--threshold",
            "0.3",
            "--prompt=",
            "--normalize=false",
            "--output",
            &format!("{}/out/", here.display()),
            "--format",
            "parquet",
            "--batch-size",
            "7",
            "--concurrency",
            "3",
            "--url",
            "http://a,http://b?…",
            "--max-time",
            "5m",
            "--fresh",
        ];
        assert_eq!(words, expected);
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
