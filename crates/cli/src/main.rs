//! The `shoal` command: arguments to settings, one call of the library, an exit code.

mod args;
mod bench;
mod compare;
#[cfg(feature = "aws")]
mod deploy;
mod doctor;
mod export;
mod help;
mod hint;
mod options;
mod output;
mod pack;
mod plan;
mod progress;
mod report;
mod resume;
mod run;
mod signals;
mod status;
mod status_line;
#[cfg(not(feature = "otel"))]
mod traces;
mod usage;
mod waits;
mod watch;
mod worker;

use std::process;
use std::time::Instant;

use args::{Cli, Command};
use output::{print, say};
use shoal::error::ExitCode;
use shoal::{Result, job, log};

fn main() -> process::ExitCode {
    let started = Instant::now();
    #[cfg(feature = "lambda")]
    if shoal::worker::lambda::is_called() {
        return end(shoal::worker::lambda::run(started));
    }
    end(perform(started))
}

/// Reports the result.
fn end(result: Result<()>) -> process::ExitCode {
    let code = match result {
        Ok(()) => ExitCode::Success,
        // The reader of our output closed it.
        Err(error) if error.is_broken_pipe() => ExitCode::Success,
        Err(error) => {
            let code = error.exit_code();
            let message = hint::message(&error);
            if log::is_json() {
                tracing::error!(target: "shoal", exit_code = code as u8, "{message}");
            } else {
                say(&format!("error: {message}"));
            }
            code
        }
    };
    process::ExitCode::from(code as u8)
}

/// Performs the command; the process was started at `started`.
fn perform(started: Instant) -> Result<()> {
    let (cli, matches) = Cli::start()?;
    if cli.reports_waits(&matches) {
        waits::report();
    }
    match cli.command {
        Command::Run(args) => run::run(
            *args,
            matches.subcommand_matches("run").expect("it is `run`"),
        ),
        Command::Plan(args) => plan::plan(*args),
        Command::Compare(args) => compare::compare(*args),
        Command::Doctor(args) => doctor::doctor(*args),
        Command::Runs(args) => status::runs(args),
        Command::Report(args) => report::report(args),
        Command::Status(args) => status::status(args),
        Command::Watch(args) => watch::watch(args),
        Command::Resume(args) => resume::resume(&args, false),
        Command::Retry(args) => resume::resume(&args, true),
        Command::Collect(args) => resume::collect(args),
        Command::Worker(args) => worker::worker(*args, started),
        Command::Export(args) => export::export(args),
        Command::Pack(args) => pack::pack(*args),
        #[cfg(feature = "aws")]
        Command::Deploy { target } => deploy::deploy(target),
        #[cfg(feature = "aws")]
        Command::Destroy { target } => deploy::destroy(target),
        Command::Bench(args) => bench::bench(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut args::command(&Default::default()),
                "shoal",
                &mut script,
            );
            print(script)
        }
        Command::Man { folder } => match folder {
            Some(folder) => clap_mangen::generate_to(args::command(&Default::default()), &folder)
                .map_err(|e| {
                    job::Error::storage("write man pages to", folder.display().to_string(), e)
                        .into()
                }),
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(args::command(&Default::default()))
                    .render(&mut page)
                    .expect("writing to memory cannot fail");
                print(page)
            }
        },
    }
}
