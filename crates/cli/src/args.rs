//! The command line. Options that several subcommands share are in [`options`](super::options).

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

#[cfg(feature = "aws")]
use super::deploy::{DeployTarget, DestroyTarget};
use super::options::{FileOptions, heading, is_bool, read};
use super::{
    bench, compare, doctor, export, pack, plan, report, resume, run, status, watch, worker,
};
use super::{help, usage};
use shoal::job::file_name;
use shoal::log::{self, Format, Level};
use shoal::{Error, Result};

const EXAMPLES: &str = "\
Examples:
  shoal run reviews.csv -o labels.csv
  shoal plan reviews.csv
  shoal doctor

Exit codes:
  0    success; bad records may be in failed.jsonl
  1    a bug in shoal
  2    wrong flags or settings
  3    the input is missing, damaged, or lacks a column
  4    the model is missing, damaged or not supported
  5    the system refused to read or write: disk full, permission, network
  6    the run directory holds another job, is in use, damaged or missing, or belongs to another user
  7    a bad record, and --on-error fail
  8    the platform that runs functions is not set up, refuses calls, or keeps throttling them
  9    the cost or time limit was reached; finished batches are kept
  10   no record has a result; failed.jsonl has the reasons
  130  stopped by Ctrl-C or a signal; the same command resumes the run";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  shoal completions bash > ~/.local/share/bash-completion/completions/shoal
  shoal completions zsh > ~/.zfunc/_shoal";

const MAN_EXAMPLES: &str = "\
Examples:
  shoal man | man -l -
  shoal man ~/.local/share/man/man1";

#[cfg(feature = "aws")]
const DEPLOY_EXAMPLES: &str = "\
Examples:
  shoal deploy aws --store s3://my-bucket/shoal --dry-run";

#[cfg(feature = "aws")]
const DESTROY_EXAMPLES: &str = "\
Examples:
  shoal destroy aws --dry-run";

/// Run a transformer over a data set, divided into batches that are processed in parallel.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, after_long_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) log: LogArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Process every record of the inputs, or resume an earlier run
    ///
    /// The same command resumes the run that it started before, where it was stopped.
    Run(Box<run::RunArgs>),
    /// Predict the time and cost of a job
    Plan(Box<plan::PlanArgs>),
    /// Compare one function for all batches with one per batch
    ///
    /// It does so over several batch sizes: the paper's experiment.
    Compare(Box<compare::CompareArgs>),
    /// Check what a run will need, and say how to fix what fails
    Doctor(Box<doctor::DoctorArgs>),
    /// List the runs of this machine, or remove some
    Runs(status::RunsArgs),
    /// Report the time and cost of a run, as a page or as data
    Report(report::ReportArgs),
    /// Show the progress of a run
    Status(status::StatusArgs),
    /// Watch a run in the terminal
    Watch(watch::WatchArgs),
    /// Resume a run by its name
    #[command(after_long_help = resume::RESUME_EXAMPLES)]
    Resume(Box<resume::ResumeArgs>),
    /// Retry the records of a run that crashed their function
    #[command(after_long_help = resume::RETRY_EXAMPLES)]
    Retry(Box<resume::ResumeArgs>),
    /// Write the output of a run whose batches are all done
    Collect(resume::CollectArgs),
    /// Process batches of runs that are dispatched elsewhere
    Worker(Box<worker::WorkerArgs>),
    /// Print a job file for Kubernetes, Slurm or AWS Batch
    ///
    /// It makes the platform start the workers of a planned run.
    Export(export::ExportArgs),
    /// Pack a model into one file that opens at once
    Pack(Box<pack::PackArgs>),
    /// Deploy the functions that run jobs in the cloud
    #[cfg(feature = "aws")]
    #[command(after_long_help = DEPLOY_EXAMPLES)]
    Deploy {
        /// The platform
        #[command(subcommand)]
        target: DeployTarget,
    },
    /// Delete what `deploy` created
    #[cfg(feature = "aws")]
    #[command(after_long_help = DESTROY_EXAMPLES)]
    Destroy {
        /// The platform
        #[command(subcommand)]
        target: DestroyTarget,
    },
    /// Time the engine, and compare it with the peak of this machine
    ///
    /// By length and micro-batch, or on given token ids.
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        #[arg(help_heading = heading::OUTPUT)]
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write one for each command
    #[command(after_long_help = MAN_EXAMPLES)]
    Man {
        /// Folder for one page per command
        #[arg(help_heading = heading::OUTPUT)]
        folder: Option<PathBuf>,
    },
}

/// How every command logs.
#[derive(Debug, Args)]
#[command(next_help_heading = heading::LOGGING)]
pub(crate) struct LogArgs {
    /// Format of the log on standard error; with json, each message is a JSON object on one line [default: text]
    #[arg(long, global = true, hide_short_help = true, value_name = "text|json", env = log::FORMAT, value_parser = |text: &str| log::named(text, &Format::ALL))]
    log_format: Option<Format>,

    /// Lowest level that is logged: error, warn, info, debug or trace [default: none for a command, but info with
    /// --log-format; for a worker, info, and warn on a terminal]
    #[arg(long, global = true, hide_short_help = true, value_name = "LEVEL", env = log::LEVEL, value_parser = |text: &str| log::named(text, &log::LEVELS))]
    log_level: Option<Level>,
}

impl Cli {
    /// Reads the command line, the variables and `shoal.toml`, and starts logging. clap answers `--help` and wrong flags
    /// itself, with exit codes 0 and 2.
    pub(crate) fn start() -> Result<(Self, ArgMatches)> {
        let none = FileOptions::new();
        let file = file_options();
        let mut command = &command(file.as_ref().unwrap_or(&none));
        let matches = match command.clone().try_get_matches() {
            Ok(matches) => matches,
            Err(e) if e.kind() == ErrorKind::InvalidUtf8 => return Err(not_text(e)),
            Err(e) => {
                let words = std::env::args_os().skip(1);
                let words: Vec<_> = words.map(|word| word.to_string_lossy().into()).collect();
                usage::explained(e, &words).exit()
            }
        };
        let cli = Self::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
        cli.start_log();
        let mut given = &matches;
        while let Some((name, subcommand)) = given.subcommand() {
            command = command.find_subcommand(name).expect("clap found it");
            given = subcommand;
        }
        // Commands without shared options do not need the file.
        if command.get_arguments().any(|arg| arg.get_id() == CONFIG) {
            file?;
        }
        Ok((cli, matches))
    }

    /// Whether long waits are reported: not if the user wants no messages, and not by a worker of another process.
    pub(crate) fn reports_waits(&self, given: &ArgMatches) -> bool {
        let options = given.subcommand().map(|(_, options)| options);
        let quiet = options.and_then(|options| options.try_get_one::<bool>("quiet").ok()?);
        let is_child = matches!(&self.command, Command::Worker(args) if args.stdio);
        !is_child && quiet != Some(&true)
    }

    fn start_log(&self) {
        let is_terminal = std::io::stderr().is_terminal();
        let level = self.log.log_level.or(match &self.command {
            _ if self.log.log_format.is_some() => Some(Level::INFO),
            // The run that started it reports its failures.
            Command::Worker(args) if args.stdio => None,
            Command::Worker(_) if is_terminal => Some(Level::WARN),
            Command::Worker(_) => Some(Level::INFO),
            _ => None,
        });
        log::start(self.log.log_format.unwrap_or(Format::Text), level);
    }
}

/// The error for an argument that is not UTF-8.
fn not_text(error: clap::Error) -> Error {
    let Some(word) = std::env::args_os().find(|word| word.to_str().is_none()) else {
        // It is the value of a variable.
        error.exit()
    };
    Error::Settings(format!(
        "failed to read the argument {}: it is not UTF-8; rename the file",
        file_name::escaped(&word)
    ))
}

/// The option that names the file of options.
const CONFIG: &str = "config";

/// The options of the file. clap needs them as defaults, so the command line is searched for its name before it is parsed.
fn file_options() -> Result<FileOptions> {
    let none = FileOptions::new();
    let mut file = std::env::var_os("SHOAL_CONFIG").map(PathBuf::from);
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--");
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        if word == "--stdio" {
            // The run that starts such a worker passes its options on.
            return Ok(none);
        } else if word == "--config" {
            file = words.next().map(PathBuf::from);
        } else if let Some(path) = word.strip_prefix("--config=") {
            file = Some(path.into());
        }
    }
    let command = command(&none);
    read(
        file.as_deref(),
        command.find_subcommand("run").expect("it exists"),
    )
}

/// The command, with the options of the file as defaults. Every option of a group in [`options`](super::options) gets its
/// variable, `SHOAL_` and its name; those that are true or false need no value.
pub(crate) fn command(file: &FileOptions) -> clap::Command {
    help::complete(unexplained(file))
}

fn unexplained(file: &FileOptions) -> clap::Command {
    let command = Cli::command().mut_args(|arg| arg.hide_env(true));
    let command = command.mut_subcommands(|subcommand| with_shared(subcommand, file));
    command.mut_subcommand("pack", |pack| {
        let of_check = ids(&pack, |group| {
            matches!(group, "InputOptions" | "TaskOptions")
        });
        pack.mut_args(
            |arg| match of_check.contains(arg.get_id()) && arg.get_id() != "task" {
                true => arg.requires("check"),
                false => arg,
            },
        )
    })
}

/// A subcommand whose shared options have their variables and the values of the file.
fn with_shared(command: clap::Command, file: &FileOptions) -> clap::Command {
    let shared = ids(&command, |group| group.ends_with("Options"));
    // A run resumes on its own backend.
    let is_resumed = matches!(command.get_name(), "resume" | "retry");
    let of_run = ids(&command, |group| is_resumed && group == "BackendOptions");
    let mut reads_file = false;
    let command = command.mut_args(|arg| {
        let mut arg = arg.hide_env(true);
        let Some(name) = arg.get_long().map(str::to_owned) else {
            return arg;
        };
        if arg.get_action().takes_values() {
            // So that the error is about the number.
            arg = arg.allow_negative_numbers(true);
        }
        let variable = format!("SHOAL_{}", name.to_uppercase().replace('-', "_"));
        if shared.contains(arg.get_id()) {
            arg = arg.env(variable.clone());
            if is_bool(&arg) {
                arg = arg
                    .num_args(0..=1)
                    .default_missing_value("true")
                    .require_equals(true)
                    .value_name("BOOL")
                    .hide_possible_values(true);
            }
        }
        if arg.get_env().is_none_or(|name| name != variable.as_str()) {
            return arg;
        }
        reads_file = true;
        // Flags without values have no default to hide.
        let has_values = arg.get_action().takes_values();
        match file.get(&name) {
            Some(values) if !of_run.contains(arg.get_id()) => arg
                .required(false)
                .default_values(values.clone())
                .hide_default_value(has_values),
            _ => arg,
        }
    });
    let command = command.mut_subcommands(|subcommand| with_shared(subcommand, file));
    if !reads_file {
        return command;
    }
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .help("Read options from this file instead of ./shoal.toml")
        .env("SHOAL_CONFIG")
        .hide_env(true)
        .hide_short_help(true)
        .help_heading(heading::RUN_DIR);
    command.arg(config)
}

/// The options of the groups of a command that `is_meant` accepts.
fn ids(command: &clap::Command, is_meant: impl Fn(&str) -> bool) -> Vec<clap::Id> {
    let groups = command.get_groups();
    let meant = groups.filter(|group| is_meant(group.get_id().as_str()));
    meant.flat_map(|group| group.get_args().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_file() -> clap::Command {
        command(&FileOptions::new())
    }

    #[test]
    fn the_arguments_are_sound() {
        no_file().debug_assert();
    }

    /// A value for the option.
    fn value(name: &str) -> &'static str {
        match name {
            "input-format" => "tsv",
            "delimiter" => "semicolon",
            "quote" => "none",
            "escape" => "\\",
            "encoding" => "latin1",
            "format" => "arrow",
            "precision" => "f32",
            "isa" => "portable",
            "task" => "feature-extraction",
            "backend" => "step-functions",
            "children" => "express",
            "on-error" => "fail",
            "machine" => "m=0.1:2",
            "max-time" => "5m",
            "store" => "s3://bucket/shoal",
            "auto" | "detach" | "fresh" | "json" | "no-header" | "normalize" | "quiet"
            | "scores" | "yes" => "true",
            _ => "3",
        }
    }

    #[test]
    fn every_option_of_run_is_a_variable_a_key_and_explained() {
        let command = no_file();
        let run = command.find_subcommand("run").unwrap();
        for option in run.get_arguments().filter(|a| a.get_long().is_some()) {
            let name = option.get_long().unwrap();
            assert!(option.get_help().is_some(), "{name}");
            let variable = format!("SHOAL_{}", name.to_uppercase().replace('-', "_"));
            let found = option.get_env().and_then(|name| name.to_str());
            assert_eq!(found, Some(variable.as_str()), "{name}");
            if name == CONFIG {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("shoal.toml");
            std::fs::write(&path, format!("{name} = {:?}", value(name))).unwrap();
            let file = read(Some(&path), run).unwrap();
            let matches = super::command(&file).get_matches_from(["shoal", "run", "in.csv"]);
            let run = matches.subcommand_matches("run").unwrap();
            let raw: Vec<_> = run.get_raw(option.get_id().as_str()).unwrap().collect();
            assert_eq!(raw, [value(name)], "{name}");
        }
    }

    /// The value of an option of a command line, with `shoal.toml` that gives the option of this name.
    fn of_file(line: &str, name: &str) -> Option<String> {
        let file = FileOptions::from([(name.to_owned(), vec![value(name).to_owned()])]);
        let matches = command(&file).get_matches_from(line.split(' '));
        let mut innermost = &matches;
        while let Some((_, subcommand)) = innermost.subcommand() {
            innermost = subcommand;
        }
        let mut raw = innermost.get_raw(&name.replace('-', "_"))?;
        raw.next().map(|value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn every_command_reads_the_options_that_it_shares_with_run_from_the_file() {
        for (line, names) in [
            ("shoal doctor", "batch-size backend store model"),
            (
                "shoal plan x",
                "text-column model precision isa threshold max-cost prices",
            ),
            (
                "shoal compare x",
                "text-column model isa backend max-cost prices store quiet",
            ),
            (
                "shoal resume x",
                "cache-dir max-time on-error prices quiet json otlp",
            ),
            ("shoal retry x", "isa max-cost speculation-budget yes"),
            ("shoal collect x", "quiet json"),
            ("shoal bench", "model precision isa cache-dir"),
            ("shoal pack x -o x", "precision isa text-column max-tokens"),
            ("shoal worker --http", "model precision isa cache-dir"),
            ("shoal report x", "prices"),
            ("shoal watch x", "prices"),
            #[cfg(feature = "aws")]
            ("shoal deploy aws", "store"),
            #[cfg(feature = "aws")]
            ("shoal deploy aws --store s3://bucket/x", "model precision"),
            #[cfg(feature = "aws")]
            ("shoal destroy aws", "store"),
        ] {
            for name in names.split(' ') {
                assert_eq!(
                    of_file(line, name).as_deref(),
                    Some(value(name)),
                    "{line}: {name}"
                );
            }
        }
    }

    #[test]
    fn a_run_resumes_on_its_own_backend_whatever_the_file_says() {
        for name in ["backend", "concurrency", "function"] {
            assert_eq!(of_file("shoal resume x", name), None, "{name}");
        }
        assert_eq!(
            of_file("shoal resume x --function f", "function"),
            Some("f".into())
        );
    }

    #[test]
    fn a_flag_that_contradicts_the_file_wins() {
        assert_eq!(
            of_file("shoal run x --batch-size 7", "batch-size"),
            Some("7".into())
        );
        assert_eq!(
            of_file("shoal run x --scores=false", "scores"),
            Some("false".into())
        );
        assert_eq!(
            of_file("shoal compare x --simulate", "store"),
            Some(value("store").into())
        );
    }

    #[test]
    fn the_help_of_run_has_its_headings_and_no_variables() {
        let mut command = no_file();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        for heading in [
            heading::INPUT,
            heading::OUTPUT,
            heading::MODEL,
            heading::BACKEND,
            heading::LIMITS,
            heading::RUN_DIR,
            heading::LOGGING,
        ] {
            assert!(
                help.contains(&format!("\n{heading}:\n")),
                "{heading}: {help}"
            );
        }
        assert!(!help.contains("[env:"), "{help}");
    }
}
