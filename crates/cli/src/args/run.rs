//! Arguments of `run`.

use std::path::PathBuf;

use clap::Args;

use crate::options::{RunOptions, heading};

const EXAMPLES: &str = "\
Examples:
  shoal run reviews.csv -o labels.csv
  shoal run 'data/*.jsonl.zst' -o out/ --format parquet --model ./my-distilbert --concurrency 4
  cat reviews.jsonl | shoal run - -o - --text-column body

Every option may also be given as a variable (--batch-size is SHOAL_BATCH_SIZE) or in shoal.toml
(batch-size = 50). Flags override variables, and variables override the file.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Files, folders of text files, patterns, URLs (s3, gs, az, https), or - for standard input
    ///
    /// CSV, TSV and JSON Lines (also .gz and .zst), Parquet and Arrow. A folder is read in the layout of aclImdb: its .txt
    /// files are the records, and pos/ and neg/ become the column `label`.
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<String>,

    #[command(flatten)]
    pub(crate) options: RunOptions,

    /// Read options from this file instead of ./shoal.toml
    #[arg(long, value_name = "FILE", env = "SHOAL_CONFIG", help_heading = heading::RUN_DIR)]
    pub(crate) config: Option<PathBuf>,
}
