//! `shoal export`

use std::path::PathBuf;

use clap::Args;

use super::options::heading;
use super::output::write;
use shoal::export::{ArrayPlatform, ExportSettings, export as job_file};
use shoal::{Result, find_run};

const EXAMPLES: &str = "\
Examples:
  shoal run 's3://bucket/data/*.jsonl' -o labels.csv --store s3://bucket/shoal --backend array --detach
  shoal export k8s s3://bucket/shoal/runs/RUN --workers 20 --image registry/shoal | kubectl apply -f -
  shoal export slurm RUN --workers 20 | sbatch
  shoal export aws-batch RUN --workers 20 --image IMAGE --queue QUEUE -o job.json
  aws batch register-job-definition --cli-input-json \"$(jq '.\"register-job-definition\"' job.json)\"
  aws batch submit-job --cli-input-json \"$(jq '.\"submit-job\"' job.json)\"

Then `shoal resume RUN` waits for the workers and collects.";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, next_help_heading = heading::BACKEND)]
pub(crate) struct ExportArgs {
    /// Where the workers run: k8s, slurm or aws-batch
    platform: ArrayPlatform,

    /// Name of a planned run, or path or URL of its directory
    #[arg(help_heading = heading::RUN_DIR)]
    run: String,

    /// Number of workers
    #[arg(short, long, value_name = "M")]
    workers: usize,

    /// Container image with `shoal` on its PATH
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// CPUs of a worker, which processes a batch on each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    cpus: u16,

    /// Memory of a worker in MiB
    #[arg(long, value_name = "MIB", default_value_t = 2048, value_parser = clap::value_parser!(u64).range(64..))]
    memory: u64,

    /// Path or URL of the model for the workers
    ///
    /// [default: its name in the job]
    #[arg(short, long, value_name = "MODEL", help_heading = heading::MODEL)]
    model: Option<String>,

    /// Identity of the workers
    ///
    /// A Kubernetes service account, or the ARN of a role for AWS Batch
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,

    /// Queue of AWS Batch
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,

    /// Where the file is written, or - for standard output
    #[arg(short, long, value_name = "FILE", default_value = "-", help_heading = heading::OUTPUT)]
    output: PathBuf,
}

pub(crate) fn export(args: ExportArgs) -> Result<()> {
    let settings = ExportSettings {
        workers: args.workers,
        image: args.image,
        cpus: args.cpus.into(),
        memory_mib: args.memory,
        model: args.model,
        identity: args.identity,
        queue: args.queue,
    };
    let text = job_file(&find_run(&args.run)?, args.platform, &settings)?;
    write(&args.output, &text)
}
