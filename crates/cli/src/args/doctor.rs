//! Arguments of `doctor`: those of `run`, so that a run's own command is looked at as it stands.

use std::path::PathBuf;

use clap::Args;

use super::RunOptions;

const EXAMPLES: &str = "\
Examples:
  shoal doctor reviews.csv
  shoal doctor reviews.csv --backend lambda --store s3://bucket/shoal --function shoal
  SHOAL_TOKEN=… shoal doctor --backend http --url https://worker-1:8080,https://worker-2:8080
  shoal doctor --json

It takes the options of `run`, also from variables and shoal.toml, and looks at what a run with them would need. Nothing is
worked on and no function is called; what is written for a trial is taken away again. The exit code is that with which the
run would end for the first check that failed, and 0 where there are warnings at most.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    /// Inputs to look at, as for `run` [default: none]
    #[arg(value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    #[command(flatten)]
    pub(crate) options: Box<RunOptions>,

    /// Read options from this file instead of ./shoal.toml
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}
