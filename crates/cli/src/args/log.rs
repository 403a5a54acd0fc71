//! How every command logs.

use std::io::IsTerminal;

use clap::Args;

use super::Command;
use crate::options::heading;
use shoal::log::{self, Format, Level};

#[derive(Debug, Args)]
#[command(next_help_heading = heading::LOGGING)]
pub(crate) struct LogArgs {
    /// Format of the log on standard error; with json, every message there is a line with a JSON object [default: text]
    #[arg(long, global = true, value_name = "text|json", env = log::FORMAT, value_parser = |text: &str| log::named(text, &Format::ALL))]
    log_format: Option<Format>,

    /// Lowest level that is logged: error, warn, info, debug or trace [default: none for a command, but info with
    /// --log-format; for a worker, info, and warn on a terminal]
    #[arg(long, global = true, value_name = "LEVEL", env = log::LEVEL, value_parser = |text: &str| log::named(text, &log::LEVELS))]
    log_level: Option<Level>,
}

impl LogArgs {
    /// Starts logging for `command`.
    pub(crate) fn start(&self, command: &Command) {
        let is_terminal = std::io::stderr().is_terminal();
        let level = self.log_level.or(match command {
            _ if self.log_format.is_some() => Some(Level::INFO),
            // The run that started it reports its failures.
            Command::Worker(args) if args.stdio => None,
            Command::Worker(_) if is_terminal => Some(Level::WARN),
            Command::Worker(_) => Some(Level::INFO),
            _ => None,
        });
        log::start(self.log_format.unwrap_or(Format::Text), level);
    }
}
