//! Arguments of `shoal deploy` and `shoal destroy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use shoal::{Precision, Target};
use shoal_aws::{Arch, ModelPlace, S3Folder};

use crate::options::parser;

#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    #[command(subcommand)]
    pub(crate) target: DeployTarget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeployTarget {
    /// A Lambda function, and optionally a Step Functions state machine
    Aws(Box<DeployAwsArgs>),
}

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    #[command(subcommand)]
    pub(crate) target: DestroyTarget,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DestroyTarget {
    /// What `shoal deploy aws` created: the stack with everything in it, and the uploaded code
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
pub(crate) struct DeployAwsArgs {
    /// Name of the stack, the function and the state machine
    #[arg(long, value_name = "NAME", default_value = "shoal")]
    pub(crate) name: String,

    /// Folder for code, staged inputs and runs: s3://BUCKET/FOLDER
    #[arg(long, value_name = "URL", env = "SHOAL_STORE")]
    pub(crate) store: S3Folder,

    /// Model folder, packed model, or name on the Hugging Face hub [default: the bundled film-review model]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(crate) model: Option<String>,

    /// A packed model that the function reads instead of one in its zip: s3://BUCKET/KEY, or an absolute path on a layer
    /// or a mounted volume
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["precision", "isa"])]
    pub(crate) model_path: Option<ModelPlace>,

    /// Arithmetic of the model [default: int8]
    #[arg(long, value_name = "PRECISION", env = "SHOAL_PRECISION", value_parser = parser::<Precision>())]
    pub(crate) precision: Option<Precision>,

    /// Instruction sets to pack the model for, separated by commas; with only one, the results do not depend on the CPU [default: avx2 for x86_64, portable for arm64]
    #[arg(long, value_name = "ISAS", value_delimiter = ',', value_parser = parser::<Target>())]
    pub(crate) isa: Vec<Target>,

    /// Architecture of the function
    #[arg(long, value_name = "x86_64|arm64", default_value = "x86_64")]
    pub(crate) arch: Arch,

    /// Memory in MB, 128 to 10240, which also determines the share of a CPU; 1769 is exactly one vCPU
    #[arg(long, value_name = "MB", default_value_t = shoal_aws::limits::ONE_VCPU)]
    pub(crate) memory: u32,

    /// Time limit of an invocation in seconds, 1 to 900
    #[arg(long, value_name = "S", default_value_t = *shoal_aws::limits::TIMEOUT.end())]
    pub(crate) timeout: u32,

    /// Size of the function's /tmp in MB, 512 to 10240 [default: 512]
    #[arg(long, value_name = "MB")]
    pub(crate) tmp: Option<u32>,

    /// Concurrent invocations that are reserved for the function, which are also its limit [default: none]
    #[arg(long, value_name = "N")]
    pub(crate) reserved_concurrency: Option<u32>,

    /// Also create a Step Functions state machine, for --backend step-functions
    #[arg(long)]
    pub(crate) state_machine: bool,

    /// Another folder that the function may read: s3://BUCKET/FOLDER; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) input: Vec<S3Folder>,

    /// The executable that runs as the function [default: this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) bootstrap: Option<PathBuf>,

    /// Another variable of the function; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,

    /// Print what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the CloudFormation template, and contact no service
    #[arg(long, conflicts_with_all = ["dry_run", "json"])]
    pub(crate) template_only: bool,

    /// Print the deployment as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyAwsArgs {
    /// Name of the stack
    #[arg(long, value_name = "NAME", default_value = "shoal")]
    pub(crate) name: String,

    /// The store of the deployment [default: the one that the stack names]
    #[arg(long, value_name = "URL", env = "SHOAL_STORE")]
    pub(crate) store: Option<S3Folder>,

    /// List what would be deleted, and delete nothing
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,

    /// Delete without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no =")?;
    Ok((name.to_owned(), value.to_owned()))
}
