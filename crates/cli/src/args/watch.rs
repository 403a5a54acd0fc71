//! Arguments of `watch`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(crate) run: String,

    /// JSON file with prices to use instead of the built-in ones
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(crate) prices: Option<PathBuf>,
}
