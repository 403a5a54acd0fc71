//! The `shoal` command: arguments to settings, one call of the library, an exit code.

mod args;
mod bench;
mod commands;
mod compare;
#[cfg(feature = "aws")]
mod deploy;
mod doctor;
mod export;
mod hint;
mod options;
mod pack;
mod plan;
mod progress;
mod report;
mod table;
mod traced;
mod watch;
mod worker;

use std::io::{self, Write};
use std::path::Path;
use std::process;
use std::time::Instant;

use args::{Cli, Command};
use shoal::error::ExitCode;
use shoal::log;

fn main() -> process::ExitCode {
    let started = Instant::now();
    #[cfg(feature = "lambda")]
    if shoal::worker::lambda::is_called() {
        return end(shoal::worker::lambda::run(started));
    }
    let cli = Cli::from_process();
    cli.log.start(&cli.command);
    end(run(cli, started))
}

/// Reports the result.
fn end(result: shoal::Result<()>) -> process::ExitCode {
    let code = match result {
        Ok(()) => ExitCode::Success,
        // The reader of our output closed it.
        Err(error) if error.is_broken_pipe() => ExitCode::Success,
        Err(error) => {
            let code = error.exit_code();
            let message = hint::message(&error);
            let message = table::printable(&message);
            if log::is_json() {
                tracing::error!(target: "shoal", exit_code = code as u8, "{message}");
            } else {
                // Standard error is the last place to report to.
                let _ = writeln!(io::stderr(), "error: {message}");
            }
            code
        }
    };
    process::ExitCode::from(code as u8)
}

fn run(cli: Cli, started: Instant) -> shoal::Result<()> {
    match cli.command {
        Command::Run(args) => commands::run(args),
        Command::Plan(args) => plan::plan(*args),
        Command::Compare(args) => compare::compare(*args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Runs(args) => commands::runs(args),
        Command::Report(args) => report::report(args),
        Command::Status(args) => commands::status(args),
        Command::Watch(args) => watch::watch(args),
        Command::Resume(args) => commands::resume(&args),
        Command::Retry(args) => commands::retry(&args),
        Command::Collect(args) => commands::collect(&args),
        Command::Worker(args) => worker::worker(*args, started),
        Command::Export(args) => export::export(args),
        Command::Pack(args) => pack::pack(*args),
        #[cfg(feature = "aws")]
        Command::Deploy(args) => deploy::deploy(args),
        #[cfg(feature = "aws")]
        Command::Destroy(args) => deploy::destroy(args),
        Command::Bench(args) => bench::bench(args),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut args::command(), "shoal", &mut script);
            print(&script)
        }
        Command::Man(args) => match args.folder {
            Some(folder) => clap_mangen::generate_to(args::command(), &folder).map_err(|e| {
                shoal::job::Error::storage("write man pages to", folder.display().to_string(), e)
                    .into()
            }),
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(args::command())
                    .render(&mut page)
                    .map_err(|e| shoal::job::Error::storage("write", "the man page", e))?;
                print(&page)
            }
        },
    }
}

/// Writes to standard output.
fn print(content: &[u8]) -> shoal::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(content)
        .and_then(|()| out.flush())
        .map_err(|e| shoal::job::Error::storage("write", "standard output", e).into())
}

/// Writes to a file, or to standard output for `-`.
fn write(path: &Path, content: &[u8]) -> shoal::Result<()> {
    if path.as_os_str() == "-" {
        return print(content);
    }
    std::fs::write(path, content)
        .map_err(|e| shoal::job::Error::storage("write", path.display().to_string(), e).into())
}
