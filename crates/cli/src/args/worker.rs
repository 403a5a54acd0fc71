//! Arguments of the workers.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

use crate::options::{EngineOptions, ModelOptions};

const EXAMPLES: &str = "\
Examples:
  shoal worker --http --model ./my-distilbert
  SHOAL_TOKEN=… shoal worker --http 0.0.0.0:8080 --allow s3://bucket/shoal --tls-cert cert.pem --tls-key key.pem
  shoal worker --run s3://bucket/shoal/runs/reviews-1a2b3c4d --index 3 --of 20

HTTP: POST / or /invoke takes an invocation and answers with a receipt or a failure, GET /health succeeds while the process
runs, GET /ready while it accepts calls. Callers must send the token of SHOAL_TOKEN or --token-file.

A worker opens --model at its start, and the model of a job that needs another one when it is called for it.

The contents of a run directory decide which inputs and which model a worker opens.";

// `requires` has no effect in clap where the required option conflicts with one that is given.
const NOT_HTTP: [&str; 2] = ["stdio", "run"];
const NOT_RUN: [&str; 2] = ["stdio", "http"];

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("mode").required(true).args(["stdio", "http", "run"])))]
pub(crate) struct WorkerArgs {
    /// Answer lines of standard input on standard output, as `--backend process` starts its workers
    #[arg(long)]
    pub(crate) stdio: bool,

    /// Answer requests at this address [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    pub(crate) http: Option<SocketAddr>,

    /// Process a share of the batches of this planned run, then exit
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,

    /// Index of this worker, from 0 [default: set by Kubernetes, AWS Batch, Cloud Run or Slurm]
    #[arg(long, value_name = "N", conflicts_with_all = NOT_RUN)]
    pub(crate) index: Option<usize>,

    /// Number of workers [default: SHOAL_WORKERS, else set by AWS Batch, Cloud Run or Slurm]
    #[arg(long, value_name = "M", conflicts_with_all = NOT_RUN)]
    pub(crate) of: Option<usize>,

    #[command(flatten)]
    pub(crate) model: ModelOptions,

    #[command(flatten)]
    pub(crate) engine: EngineOptions,

    /// Batches in flight [default: all cores]
    #[arg(short, long, value_name = "N", conflicts_with = "stdio", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrency: Option<u16>,

    /// Accept only run directories at or below this path or URL; may be given several times [default: any, if only this
    /// machine can call]
    #[arg(long, value_name = "PREFIX", conflicts_with_all = NOT_HTTP)]
    pub(crate) allow: Vec<String>,

    /// File with the token that callers must send [default: SHOAL_TOKEN]
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_HTTP)]
    pub(crate) token_file: Option<PathBuf>,

    /// Accept calls from other machines without a token: anyone who can connect can use the worker
    #[arg(long, conflicts_with_all = NOT_HTTP)]
    pub(crate) insecure: bool,

    /// Certificate chain for HTTPS, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with_all = NOT_HTTP)]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", conflicts_with_all = NOT_HTTP)]
    pub(crate) tls_key: Option<PathBuf>,

    /// Time limit of a call; the records that remain are reported to the caller
    #[arg(long, value_name = "SECONDS", default_value_t = 900, conflicts_with_all = NOT_HTTP, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) call_timeout: u64,

    /// Time limit for reading the head of a request, and again for its body
    #[arg(long, value_name = "SECONDS", default_value_t = 30, conflicts_with_all = NOT_HTTP, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) read_timeout: u64,

    /// Time that calls in progress get after Ctrl-C or a request to terminate
    #[arg(long, value_name = "SECONDS", default_value_t = 25, conflicts_with_all = NOT_HTTP)]
    pub(crate) grace: u64,
}
