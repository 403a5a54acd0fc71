//! How every command logs.

use std::io::IsTerminal;

use clap::Args;

use super::Command;
use shoal::log::{self, Format, Level};

#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArgs {
    /// How logs are written on standard error; with json, all that is said there is a JSON object a line [default: text]
    #[arg(long, global = true, value_name = "text|json", env = log::FORMAT, value_parser = |text: &str| log::named(text, &Format::ALL))]
    log_format: Option<Format>,

    /// How much is logged: error, warn, info, debug or trace [default: nothing of a command, but info with --log-format; of a
    /// worker, info, and warn on a terminal]
    #[arg(long, global = true, value_name = "LEVEL", env = log::LEVEL, value_parser = |text: &str| log::named(text, &Level::ALL))]
    log_level: Option<Level>,
}

impl LogArgs {
    /// Starts logging for `command`.
    pub(crate) fn start(&self, command: &Command) {
        let is_terminal = std::io::stderr().is_terminal();
        let level = self.log_level.or(match command {
            _ if self.log_format.is_some() => Some(Level::Info),
            // What is started by a run tells the run, which tells the rest.
            Command::Worker(args) if args.stdio => None,
            Command::Worker(_) if is_terminal => Some(Level::Warn),
            Command::Worker(_) => Some(Level::Info),
            _ => None,
        });
        log::start(self.log_format.unwrap_or(Format::Text), level);
    }
}
