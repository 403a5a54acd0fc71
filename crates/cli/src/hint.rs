//! What the command adds to the library's errors: its own names for settings, and the command that continues.

use shoal::tasks::TaskError;
use shoal::{Error, Setting, job};

/// The error as the command prints it.
pub(crate) fn message(error: &Error) -> String {
    format!("{error}{}", hint(error).unwrap_or_default())
}

/// What to do about an error, in terms of the command.
fn hint(error: &Error) -> Option<String> {
    Some(match error {
        Error::Setting { setting, .. } => format!(" ({})", flag(*setting)),
        Error::CircuitOpen { run, .. } => {
            format!("; fix that, then `shoal resume {run}` continues")
        }
        Error::BadRecord { .. } => " (--on-error fail)".into(),
        Error::Foreign { .. } => {
            "; give the output and the backend yourself (-o, --backend, --url), or --trust if you know who created it".into()
        }
        Error::Unfinished { run, .. } => {
            format!("; `shoal resume {run}` processes them, `shoal status {run}` shows the progress")
        }
        Error::Budget { run, .. } => {
            format!(", and `shoal resume {run}` with a higher --max-cost continues")
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

/// The flag of a parameter of the job or a setting of its function.
fn parameter_flag(name: &str) -> String {
    match name {
        "output-format" => "--format".into(),
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
