//! Arguments of the commands on runs that exist: `resume`, `retry`, `collect`, `status` and `runs`.

use clap::Args;

use crate::options::{BackendOptions, EngineOptions, LimitOptions, LoggingOptions, heading};

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(crate) run: String,

    /// Where results are written [default: as the run was started]
    #[arg(short, long, value_name = "OUTPUT", help_heading = heading::OUTPUT)]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    #[command(flatten)]
    pub(crate) backend: BackendOptions,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    /// Trust output, inputs, model and backend of a run directory that another user created
    #[arg(long, help_heading = heading::RUN_DIR)]
    pub(crate) trust: bool,

    #[command(flatten)]
    pub(crate) logging: LoggingOptions,
}

#[derive(Debug, Args)]
pub(crate) struct CollectArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(crate) run: String,

    /// Where results are written [default: as the run was started]
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Option<String>,

    /// Trust the output of a run directory that another user created
    #[arg(long)]
    pub(crate) trust: bool,

    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Print the summary as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(crate) run: String,

    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Remove these runs with all their parts; outputs stay
    #[arg(long, value_name = "RUN", num_args = 1..)]
    pub(crate) remove: Vec<String>,

    /// Print as JSON Lines
    #[arg(long, conflicts_with = "remove")]
    pub(crate) json: bool,
}
