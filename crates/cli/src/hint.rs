//! What the command adds to the library's errors: its own names for settings, and the command that continues.

use shoal::tasks::TaskError;
use shoal::{Error, NoResults, Setting, job};

/// The error as the command prints it.
pub(crate) fn message(error: &Error) -> String {
    let message = format!("{error}{}", hint(error).unwrap_or_default());
    match shoal::credentials::advice(&message) {
        Some(advice) => format!("{message}\n→ {advice}"),
        None => message,
    }
}

/// What to do about an error, in terms of the command.
fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::Setting { setting, .. } => format!(" ({})", flag(*setting)),
        Error::CircuitOpen { run, .. } => {
            format!("; fix that, then `shoal resume {run}` continues")
        }
        Error::BadRecord { .. } => " (--on-error fail)".into(),
        Error::NoResults(no_results) => of_no_results(no_results),
        Error::Foreign { .. } => {
            "; give the output and the backend yourself (-o, --backend, --url), or --trust if you know who created it".into()
        }
        Error::Unfinished { run, .. } => {
            format!("; `shoal resume {run}` processes them, `shoal status {run}` shows the progress")
        }
        Error::Budget { run, .. } => {
            format!(", and `shoal resume {run}` with a higher --max-cost continues")
        }
        Error::NeedsConsent { .. } => {
            "; --yes accepts it, --backend sets another one".into()
        }
        Error::NeedsYes { .. } => "; --yes accepts that, --max-cost limits it".into(),
        Error::Unpriced { .. } => {
            "; --machine name=usd_per_hour:vcpus gives this machine a price, --max-time limits the time (--max-cost)".into()
        }
        Error::Prices(_) => " (--prices)".into(),
        Error::OutOfTime { run, .. } => {
            format!(" (--max-time, or --max-cost of a machine), and `shoal resume {run}` continues")
        }
        Error::Detached { run } => {
            format!("; `shoal status {run}` shows the progress, `shoal resume {run}` waits and collects")
        }
        Error::Cancelled { run } => {
            format!(", and the same command or `shoal resume {run}` continues")
        }
        Error::Job(job::Error::Adjustable { parameter, .. }) => format!(" (--{parameter})"),
        Error::Job(job::Error::Conflict { parameters, .. }) => {
            let flags: Vec<_> = parameters.iter().map(|name| parameter_flag(name)).collect();
            let changed = match flags.as_slice() {
                [] => String::new(),
                flags => format!(" ({})", flags.join(", ")),
            };
            format!("{changed}; --fresh starts over, --run-dir uses another directory")
        }
        Error::Platform { backend: "http", .. } => {
            " (--url; `shoal worker --http` starts a worker)".into()
        }
        #[cfg(feature = "aws")]
        Error::Deploy(error) => match error {
            shoal_aws::Error::Setting { setting, .. } => format!(" (--{setting})"),
            shoal_aws::Error::Bootstrap { .. } => " (--bootstrap, --arch)".into(),
            shoal_aws::Error::TooLarge { .. } => " (--model-path s3://BUCKET/KEY)".into(),
            shoal_aws::Error::Foreign { .. } => " (--name)".into(),
            _ => return None,
        },
        Error::Runner(TaskError::NoEffect { option, .. } | TaskError::Value { option, .. }) => {
            format!(" (--{option})")
        }
        _ => return None,
    })
}

/// What may be wrong if no record has a result, and how the run continues if it stopped.
fn of_no_results(error: &NoResults) -> String {
    let letter: serde_json::Value = serde_json::from_str(&error.dead_letter).unwrap_or_default();
    let reason = letter["reason"].as_str().unwrap_or_default();
    let causes = [
        ("is not valid ", "; what is its encoding? (--encoding)"),
        ("not a JSON object", "; is it JSON Lines? (--input-format)"),
        (
            ", the header has ",
            "; what separates and quotes its fields? (--delimiter, --quote, --escape)",
        ),
        ("the text ", "; which column has the text? (--text-column)"),
    ];
    let cause = causes.iter().find(|(part, _)| reason.contains(part));
    let cause = cause.map_or("", |(_, question)| question);
    match error.is_stopped {
        true => format!(
            "{cause}; `shoal resume {} --on-error skip` processes the other records too",
            error.run
        ),
        false => cause.to_owned(),
    }
}

/// The flag of a parameter of the job or a setting of its function.
fn parameter_flag(name: &str) -> String {
    match name {
        "output-format" => "--format".into(),
        "error-column" => "--on-error".into(),
        "header-row" => "--no-header".into(),
        other => format!("--{other}"),
    }
}

/// The flag of a setting.
pub(crate) fn flag(setting: Setting) -> String {
    match setting {
        Setting::Machine => "--machine name=usd_per_hour:vcpus".into(),
        Setting::Output => "-o".into(),
        Setting::Token => "SHOAL_TOKEN or --token-file".into(),
        Setting::WorkerCount => "--of or --workers".into(),
        Setting::WorkerIndex => "--index and --of".into(),
        other => format!("--{}", other.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_flags() -> Vec<String> {
        let command = crate::args::command(&Default::default());
        let all: Vec<_> = command
            .get_subcommands()
            .flat_map(|one| {
                one.get_arguments()
                    .chain(one.get_subcommands().flat_map(|one| one.get_arguments()))
            })
            .filter_map(|argument| argument.get_long())
            .collect();
        all.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_flag_exists() {
        let all = all_flags();
        for setting in Setting::ALL {
            let words = flag(*setting);
            let words = words.split([' ', '=']);
            let flags: Vec<_> = words.filter_map(|word| word.strip_prefix("--")).collect();
            assert!(
                flags
                    .iter()
                    .all(|flag| all.iter().any(|known| known == flag)),
                "{flags:?}"
            );
        }
    }

    #[test]
    fn every_parameter_of_a_job_has_a_flag() {
        let all = all_flags();
        let parameters = serde_json::to_value(job::spec::Parameters::default()).unwrap();
        let parameters = parameters.as_object().unwrap().keys();
        let of_function = ["precision", "max_tokens", "scores", "threshold", "prompt"];
        let roles = ["text_column", "label_column"];
        for name in parameters
            .map(String::as_str)
            .chain(of_function)
            .chain(roles)
        {
            // One entry for each role, tested above.
            if name == "columns" {
                continue;
            }
            let flag = parameter_flag(&name.replace('_', "-"));
            let flag = flag.strip_prefix("--").unwrap().to_owned();
            assert!(all.contains(&flag), "{flag}");
        }
    }

    #[test]
    fn a_run_without_results_names_the_likely_cause() {
        let error = |reason: &str, is_stopped| {
            let dead_letter = serde_json::json!({ "reason": reason }).to_string();
            message(&Error::NoResults(NoResults {
                run: "mine".into(),
                records: 7,
                is_stopped,
                file: "failed.jsonl".into(),
                dead_letter,
            }))
        };
        for (reason, flag) in [
            ("the text is not valid UTF-8 (byte 3)", "--encoding"),
            (
                "the line is not a JSON object: expected value",
                "--input-format",
            ),
            ("the row has 3 columns, the header has 2", "--delimiter"),
            ("the text is not a string but an array", "--text-column"),
            ("the text is null", "--text-column"),
        ] {
            let message = error(reason, false);
            assert!(message.contains(flag), "{message}");
            assert!(!message.contains("resume"), "{message}");
        }
        let message = error("it crashes its function", true);
        assert!(
            message
                .ends_with("`shoal resume mine --on-error skip` processes the other records too"),
            "{message}"
        );
    }

    #[test]
    fn errors_name_the_flag_and_what_continues() {
        let error = Error::Setting {
            setting: Setting::Concurrency,
            reason: "it must be at least 1".into(),
        };
        assert_eq!(
            message(&error),
            "failed to use the concurrency: it must be at least 1 (--concurrency)"
        );
        let error = Error::Cancelled { run: "mine".into() };
        assert!(message(&error).ends_with("`shoal resume mine` continues"));
    }
}
