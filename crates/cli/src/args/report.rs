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
pub(crate) struct ReportArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(value_name = "RUN")]
    pub(crate) run: String,

    /// What to write
    #[arg(long, value_name = "FORMAT", default_value = "html")]
    pub(crate) format: ReportFormat,

    /// Where to: a file, or - for standard output [default: html goes into the run directory, all else to standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Option<PathBuf>,

    /// Open the page
    #[arg(long)]
    pub(crate) open: bool,

    /// Prices to use instead of those of shoal
    #[arg(long, value_name = "FILE", env = "SHOAL_PRICES")]
    pub(crate) prices: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Html,
    Json,
    Csv,
    Markdown,
}
