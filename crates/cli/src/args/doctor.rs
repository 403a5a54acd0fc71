//! Arguments of `doctor`: those of `run`, so that the options of a run can be checked as they are.

use std::path::PathBuf;

use clap::Args;

use crate::options::{RunOptions, heading};

const EXAMPLES: &str = "\
Examples:
  shoal doctor reviews.csv
  shoal doctor reviews.csv --backend lambda --store s3://bucket/shoal --function shoal
  SHOAL_TOKEN=… shoal doctor --backend http --url https://worker-1:8080,https://worker-2:8080
  shoal doctor --json

It takes the options of `run`, also from variables and shoal.toml, and checks what a run with them would need. It processes
nothing and calls no function; what a check writes it removes again. The exit code is that of a run that fails for the first
check that failed, and 0 if there are only warnings.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Inputs to check, as for `run` [default: none]
    #[arg(value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    #[command(flatten)]
    pub(crate) options: Box<RunOptions>,

    /// Read options from this file instead of ./shoal.toml
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG", help_heading = heading::RUN_DIR)]
    pub(crate) config: Option<PathBuf>,
}
