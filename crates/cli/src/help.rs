//! The help of every command: `-h` fits on a screen, `--help` is complete.

use clap::{Arg, Command};

use super::options::is_bool;

/// What introduces the examples of a command, which are the first lines of its long help's end.
const EXAMPLES: &str = "Examples:\n";

/// The command with its short help derived from the long one: only the first example, and no lists of values.
pub(crate) fn complete(command: Command) -> Command {
    let mut options = 0;
    let command = command.mut_args(|arg| {
        let arg = with_values_in_long_help(arg);
        // Arguments without a name come first below their heading.
        let order = if arg.is_positional() { 0 } else { options + 1 };
        options += 1;
        arg.display_order(order)
    });
    with_short_example(command).mut_subcommands(complete)
}

/// The command whose short help ends with the first example of the long one.
fn with_short_example(command: Command) -> Command {
    let end = command.get_after_long_help().map(ToString::to_string);
    let examples = end.as_deref().and_then(|end| end.strip_prefix(EXAMPLES));
    match examples.and_then(|examples| examples.lines().next()) {
        Some(first) => {
            let (first, _comment) = first.split_once("  #").unwrap_or((first, ""));
            command.after_help(format!("Example:\n{}", first.trim_end()))
        }
        None => command,
    }
}

/// The option whose possible values are listed in the long help only.
fn with_values_in_long_help(arg: Arg) -> Arg {
    let values = arg.get_possible_values();
    if values.is_empty() || is_bool(&arg) || arg.is_hide_possible_values_set() {
        return arg;
    }
    let names: Vec<_> = values.iter().map(|value| value.get_name()).collect();
    let values = format!("[possible values: {}]", names.join(", "));
    let help = arg.get_long_help().or(arg.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    arg.hide_possible_values(true)
        .long_help(format!("{help}\n\n{values}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::heading;

    const HEADINGS: [&str; 7] = [
        heading::INPUT,
        heading::OUTPUT,
        heading::MODEL,
        heading::BACKEND,
        heading::LIMITS,
        heading::RUN_DIR,
        heading::LOGGING,
    ];

    /// Calls `check` with every command, the nested ones too, and with its name.
    fn each(command: &mut Command, name: &str, check: &mut dyn FnMut(&str, &mut Command)) {
        check(name, command);
        for one in command.get_subcommands_mut() {
            let name = format!("{name} {}", one.get_name());
            if one.get_name() != "help" {
                each(one, &name, check);
            }
        }
    }

    fn commands(check: &mut dyn FnMut(&str, &mut Command)) {
        let mut command = crate::args::command(&Default::default());
        command.build();
        each(&mut command, "shoal", check);
    }

    #[test]
    fn every_option_has_one_of_the_headings() {
        commands(&mut |name, command| {
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                let is_headed = arg
                    .get_help_heading()
                    .is_some_and(|h| HEADINGS.contains(&h));
                assert!(
                    is_headed || ["help", "version"].contains(&id),
                    "{name}: {id}"
                );
            }
        });
    }

    #[test]
    fn short_help_fits_on_a_screen_and_long_help_names_every_option() {
        commands(&mut |name, command| {
            let short = command.clone().term_width(80).render_help().to_string();
            assert!(short.lines().count() < 50, "{name}: {short}");
            assert!(short.contains("\nExample:\n  "), "{name}: {short}");
            assert!(
                short.lines().all(|line| line.chars().count() <= 80),
                "{name}: {short}"
            );
            let long = command.render_long_help().to_string();
            assert!(long.contains("\nExamples:\n  "), "{name}: {long}");
            assert!(!long.contains("[env:"), "{name}: {long}");
            for option in command.get_arguments().filter_map(|arg| arg.get_long()) {
                assert!(long.contains(&format!("--{option}")), "{name}: {option}");
            }
        });
    }
}
