//! Arguments of `report`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  shoal report reviews-ebcf50ee                     # writes report.html into the run directory, and prints where
  shoal report reviews-ebcf50ee --open              # also opens it
  shoal report reviews-ebcf50ee --format markdown   # also csv (a row per invocation) and json
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

    /// Where to write: a file, or - for standard output [default: the run directory for html, else standard output]
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Option<PathBuf>,

    /// Open the page
    #[arg(long)]
    pub(crate) open: bool,

    /// JSON file with prices to use instead of the built-in ones
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
