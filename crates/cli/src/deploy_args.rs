//! Arguments of `shoal deploy` and `shoal destroy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use shoal_aws::{Arch, ModelPlace, S3Folder};

use super::args::PrecisionArg;

#[derive(Debug, Args)]
pub(super) struct DeployArgs {
    #[command(subcommand)]
    pub(super) place: DeployPlace,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeployPlace {
    /// A Lambda function, and a Step Functions state machine if asked for
    Aws(Box<DeployAwsArgs>),
}

#[derive(Debug, Args)]
pub(super) struct DestroyArgs {
    #[command(subcommand)]
    pub(super) place: DestroyPlace,
}

#[derive(Debug, Subcommand)]
pub(super) enum DestroyPlace {
    /// What `shoal deploy aws` made: the stack with all that is in it, and the uploaded code
    Aws(DestroyAwsArgs),
}

const DEPLOY_EXAMPLES: &str = "\
Examples:
  shoal deploy aws --store s3://my-bucket/shoal --dry-run
  shoal deploy aws --store s3://my-bucket/shoal --state-machine --bootstrap target/x86_64-unknown-linux-gnu/release/shoal
  shoal deploy aws --store s3://my-bucket/shoal --template-only > shoal.json

Region and credentials come from the usual variables (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN); `aws configure export-credentials --format env` prints those of a profile.";

#[derive(Debug, Args)]
#[command(after_help = DEPLOY_EXAMPLES)]
pub(super) struct DeployAwsArgs {
    /// Name of the stack, the function and the state machine
    #[arg(long, value_name = "NAME", default_value = "shoal")]
    pub(super) name: String,

    /// Where code, staged inputs and runs lie: s3://BUCKET/FOLDER
    #[arg(long, value_name = "URL", env = "SHOAL_STORE")]
    pub(super) store: S3Folder,

    /// Model folder, packed model, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(super) model: Option<String>,

    /// Where the function finds a packed model, instead of in its zip: s3://BUCKET/KEY, or an absolute path on a
    /// layer or a mounted volume
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["precision", "isa"])]
    pub(super) model_path: Option<ModelPlace>,

    /// How the model's products are to be computed [default: int8]
    #[arg(long, value_name = "int8|f32", env = "SHOAL_PRECISION")]
    pub(super) precision: Option<PrecisionArg>,

    /// Instruction sets to pack the model for, with commas between them; with one, all environments give the same bits,
    /// whatever CPU they land on [default: avx2 for x86_64, portable for arm64]
    #[arg(long, value_name = "ISAS", value_delimiter = ',')]
    pub(super) isa: Vec<String>,

    /// What the function runs on
    #[arg(long, value_name = "x86_64|arm64", default_value = "x86_64")]
    pub(super) arch: ArchArg,

    /// Memory in MB, 128 to 10240, which also buys the share of a CPU; 1769 is exactly one vCPU
    #[arg(long, value_name = "MB", default_value_t = shoal_aws::limits::ONE_VCPU)]
    pub(super) memory: u32,

    /// Time limit of an invocation in seconds, 1 to 900
    #[arg(long, value_name = "S", default_value_t = *shoal_aws::limits::TIMEOUT.end())]
    pub(super) timeout: u32,

    /// Size of the function's /tmp in MB, 512 to 10240 [default: 512]
    #[arg(long, value_name = "MB")]
    pub(super) tmp: Option<u32>,

    /// Invocations at a time that are kept for the function, and are also the most it gets [default: none kept]
    #[arg(long, value_name = "N")]
    pub(super) reserved_concurrency: Option<u32>,

    /// Make a Step Functions state machine too, for --backend step-functions
    #[arg(long)]
    pub(super) state_machine: bool,

    /// A further folder that the function may read: s3://BUCKET/FOLDER; may be given more than once
    #[arg(long, value_name = "URL")]
    pub(super) input: Vec<S3Folder>,

    /// The executable that runs as the function [default: this one]
    #[arg(long, value_name = "FILE")]
    pub(super) bootstrap: Option<PathBuf>,

    /// A further variable of the function; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(super) env: Vec<(String, String)>,

    /// Say what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Print the CloudFormation template, and contact nobody
    #[arg(long, conflicts_with_all = ["dry_run", "json"])]
    pub(super) template_only: bool,

    /// Print what was made as JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct DestroyAwsArgs {
    /// Name of the stack
    #[arg(long, value_name = "NAME", default_value = "shoal")]
    pub(super) name: String,

    /// The store that was deployed from [default: the one that the stack names]
    #[arg(long, value_name = "URL", env = "SHOAL_STORE")]
    pub(super) store: Option<S3Folder>,

    /// List what would be deleted, and delete nothing
    #[arg(long, conflicts_with = "yes")]
    pub(super) dry_run: bool,

    /// Delete without asking
    #[arg(short, long)]
    pub(super) yes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ArchArg {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "arm64")]
    Arm64,
}

impl From<ArchArg> for Arch {
    fn from(arch: ArchArg) -> Self {
        match arch {
            ArchArg::X86_64 => Self::X86_64,
            ArchArg::Arm64 => Self::Arm64,
        }
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((name.to_owned(), value.to_owned()))
}
