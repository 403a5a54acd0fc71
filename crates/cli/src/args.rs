//! The arguments of the command. Options that several subcommands share are in [`options`](super::options).

pub(super) mod bench;
pub(super) mod compare;
#[cfg(feature = "aws")]
pub(super) mod deploy;
pub(super) mod doctor;
pub(super) mod export;
pub(super) mod log;
pub(super) mod pack;
pub(super) mod plan;
pub(super) mod report;
pub(super) mod resume;
pub(super) mod run;
pub(super) mod watch;
pub(super) mod worker;

use std::any::TypeId;
use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

const EXIT_CODES: &str = "\
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
  130  stopped by Ctrl-C or a signal; the same command resumes the run";

/// Run a transformer over a data set, divided into batches that are processed in parallel.
#[derive(Debug, Parser)]
#[command(name = "shoal", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,

    #[command(flatten)]
    pub(super) log: log::LogArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Process every record of the inputs, or resume the same command where it was stopped
    Run(Box<run::RunArgs>),
    /// Predict the time and cost of a job
    Plan(Box<plan::PlanArgs>),
    /// Compare one function for all batches with one function per batch, over batch sizes: the paper's experiment
    Compare(Box<compare::CompareArgs>),
    /// Check what a run will need, and say how to fix what fails
    Doctor(doctor::DoctorArgs),
    /// List the runs of this machine, or remove some
    Runs(resume::RunsArgs),
    /// Report the time and cost of a run, as a page or as data
    Report(report::ReportArgs),
    /// Show the progress of a run
    Status(resume::StatusArgs),
    /// Watch a run in the terminal
    Watch(watch::WatchArgs),
    /// Resume a run by its name
    Resume(Box<resume::ResumeArgs>),
    /// Retry the records of a run that crashed their function
    Retry(Box<resume::ResumeArgs>),
    /// Write the output of a run whose batches are all done
    Collect(resume::CollectArgs),
    /// Process batches of runs that are dispatched elsewhere
    Worker(Box<worker::WorkerArgs>),
    /// Print the job file that makes Kubernetes, Slurm or AWS Batch start workers for a planned run
    Export(export::ExportArgs),
    /// Pack a model into one file that opens at once
    Pack(Box<pack::PackArgs>),
    /// Deploy what runs a job in the cloud
    #[cfg(feature = "aws")]
    Deploy(deploy::DeployArgs),
    /// Delete what `deploy` created
    #[cfg(feature = "aws")]
    Destroy(deploy::DestroyArgs),
    /// Time the engine, by length and micro-batch or on given token ids, and compare it with the peak of this machine
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write one for each command into a folder
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Folder for one page per command
    #[arg(value_name = "FOLDER")]
    pub(super) folder: Option<PathBuf>,
}

impl Cli {
    /// The arguments of this process. clap answers `--help` and wrong flags itself, with exit codes 0 and 2.
    pub(super) fn from_process() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|e| e.exit())
    }
}

/// The command. Every option of a group in [`options`](super::options) gets its variable, `SHOAL_` and its name; those that
/// are true or false need no value.
pub(super) fn command() -> clap::Command {
    let command = Cli::command().mut_args(|arg| arg.hide_env(true));
    command.mut_subcommands(|subcommand| {
        let groups = subcommand.get_groups();
        let shared = groups.filter(|group| group.get_id().as_str().ends_with("Options"));
        let ids: Vec<_> = shared.flat_map(|group| group.get_args().cloned()).collect();
        subcommand.mut_args(|arg| {
            let arg = arg.hide_env(true);
            if ids.contains(arg.get_id()) {
                option(arg)
            } else {
                arg
            }
        })
    })
}

fn option(arg: Arg) -> Arg {
    let Some(name) = arg.get_long() else {
        return arg;
    };
    let variable = format!("SHOAL_{}", name.to_uppercase().replace('-', "_"));
    let is_bool = arg.get_value_parser().type_id() == TypeId::of::<bool>();
    let arg = arg.env(variable);
    if !is_bool {
        return arg;
    }
    arg.num_args(0..=1)
        .default_missing_value("true")
        .require_equals(true)
        .value_name("BOOL")
        .hide_possible_values(true)
}

#[cfg(test)]
mod tests {
    use super::super::options::{RunOptions, given, heading};
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        command().debug_assert();
    }

    /// A value for the option.
    fn value(name: &str) -> &'static str {
        match name {
            "input-format" => "tsv",
            "format" => "arrow",
            "precision" => "f32",
            "task" => "feature-extraction",
            "backend" => "step-functions",
            "children" => "express",
            "on-error" => "fail",
            "machine" => "m=0.1:2",
            "max-time" => "5m",
            _ => "3",
        }
    }

    #[test]
    fn every_option_of_run_is_a_variable_a_key_and_explained() {
        let command = command();
        let run = command.find_subcommand("run").unwrap();
        let mut line = vec!["shoal".to_owned(), "run".into(), "in.csv".into()];
        let mut names = Vec::new();
        for argument in run.get_arguments().filter(|a| a.get_long().is_some()) {
            let name = argument.get_long().unwrap();
            if matches!(name, "help" | "config") {
                continue;
            }
            assert!(argument.get_help().is_some(), "{name}");
            let variable = format!("SHOAL_{}", name.to_uppercase().replace('-', "_"));
            let found = argument.get_env().and_then(|name| name.to_str());
            assert_eq!(found, Some(variable.as_str()), "{name}");
            names.push(name.to_owned());
            if name == "prompt-name" {
                continue; // conflicts with --prompt
            }
            let is_bool = argument.get_value_parser().type_id() == TypeId::of::<bool>();
            line.push(if is_bool {
                format!("--{name}")
            } else {
                format!("--{name}={}", value(name))
            });
        }
        let cli = Cli::from_arg_matches(&command.clone().get_matches_from(line)).unwrap();
        let Command::Run(mut args) = cli.command else {
            panic!("it is a run");
        };
        args.options.task.prompt_name = Some("query".into());
        let table = given(&args.options);
        names.sort();
        assert_eq!(table.keys().cloned().collect::<Vec<_>>(), names);
        let again: RunOptions = table.clone().try_into().unwrap();
        assert_eq!(given(&again), table);
    }

    #[test]
    fn the_help_of_run_has_its_headings_and_no_variables() {
        let mut command = command();
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
