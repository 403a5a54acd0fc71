//! Arguments of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  shoal report reviews-ebcf50ee                     # writes report.html into the run directory, and says where
  shoal report reviews-ebcf50ee --open              # and opens it
  shoal report reviews-ebcf50ee --format markdown   # also csv (an invocation a row) and json
  shoal report reviews-ebcf50ee -o report.html";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ReportArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(in crate::cli) run: String,

    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "html")]
    pub(in crate::cli) format: ReportFormat,

    /// Where to: a file, or - for standard output [default: html goes into the run directory, all else to standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    pub(in crate::cli) output: Option<PathBuf>,

    /// Open the page
    #[arg(long)]
    pub(in crate::cli) open: bool,

    /// Prices to use instead of those of shoal
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(in crate::cli) prices: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ReportFormat {
    Html,
    Json,
    Csv,
    Markdown,
}
