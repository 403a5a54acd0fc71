//! Arguments of `pack`.

use std::path::PathBuf;

use clap::Args;

use crate::options::{InputOptions, TaskOptions, parser};
use shoal::{Precision, Target};

const EXAMPLES: &str = "\
Examples:
  shoal pack ./my-distilbert -o my.shoal
  shoal pack bundled -o sentiment.shoal --precision f32 --isa avx2,avx512-vnni
  shoal pack ./my-distilbert -o my.shoal --check reviews.csv --label-column label";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PackArgs {
    /// Model folder, name on the Hugging Face hub, or `bundled`
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,

    /// The packed file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Arithmetic of the packed model
    #[arg(long, value_name = "PRECISION", default_value = "int8", env = "SHOAL_PRECISION", value_parser = parser::<Precision>())]
    pub(crate) precision: Precision,

    /// Instruction sets to pack for, separated by commas; this CPU need not have them: avx512-vnni, avx512, avx2, portable
    /// [default: the best that this CPU supports]
    #[arg(long, value_name = "ISAS", value_delimiter = ',', env = "SHOAL_ISA", value_parser = parser::<Target>())]
    pub(crate) isa: Vec<Target>,

    /// Compare the packed model with f32 on these inputs: agreement, and accuracy with --label-column
    #[arg(long, value_name = "DATA", num_args = 1..)]
    pub(crate) check: Vec<String>,

    #[command(flatten)]
    pub(crate) input: InputOptions,

    #[command(flatten)]
    pub(crate) task: TaskOptions,

    /// Print the summary as JSON on standard output
    #[arg(long)]
    pub(crate) json: bool,
}
