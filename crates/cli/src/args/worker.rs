//! Arguments of the workers.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::PrecisionArg;

const EXAMPLES: &str = "\
Examples:
  shoal worker --http --model ./my-distilbert
  SHOAL_TOKEN=… shoal worker --http 0.0.0.0:8080 --allow s3://bucket/shoal --tls-cert cert.pem --tls-key key.pem
  shoal worker --run s3://bucket/shoal/runs/reviews-1a2b3c4d --index 3 --of 20

HTTP: POST / or /invoke takes an invocation and answers a receipt or a failure, GET /health tells that the process
lives, GET /ready that it takes calls. The token that callers must tell comes from SHOAL_TOKEN or --token-file.

Whoever can write to a run directory decides which inputs and which model a worker opens for it.";

// clap does not look at what an option requires where that excludes what is given.
const NOT_HTTP: [&str; 2] = ["stdio", "run"];
const NOT_RUN: [&str; 2] = ["stdio", "http"];

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group(ArgGroup::new("way").required(true).args(["stdio", "http", "run"])))]
pub(crate) struct WorkerArgs {
    /// Answer lines of standard input on standard output; this is how `--backend process` starts workers
    #[arg(long)]
    pub(crate) stdio: bool,

    /// Answer requests at this address [default, where none is given: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    pub(crate) http: Option<SocketAddr>,

    /// Do a share of the batches of this planned run, then end
    #[arg(long, value_name = "RUN")]
    pub(crate) run: Option<String>,

    /// Which worker this is, from 0 [default: as Kubernetes, AWS Batch, Cloud Run or Slurm tell]
    #[arg(long, value_name = "N", conflicts_with_all = NOT_RUN)]
    pub(crate) index: Option<usize>,

    /// How many workers there are [default: SHOAL_WORKERS, else as AWS Batch, Cloud Run or Slurm tell]
    #[arg(long, value_name = "M", conflicts_with_all = NOT_RUN)]
    pub(crate) of: Option<usize>,

    /// Model to open at the start: folder, packed model or its URL, or name on the Hugging Face hub [default: that of each
    /// job, when it is called for]
    #[arg(short, long, value_name = "MODEL", env = "SHOAL_MODEL")]
    pub(crate) model: Option<String>,

    /// How the products of the model that is opened at the start are computed; a job whose precision is another one has it
    /// opened again [default: as `run` chooses]
    #[arg(long, value_name = "int8|f32", env = "SHOAL_PRECISION")]
    pub(crate) precision: Option<PrecisionArg>,

    /// Instruction set that the engine uses [default: the best that this CPU has]
    #[arg(long, value_name = "ISA", env = "SHOAL_ISA")]
    pub(crate) isa: Option<String>,

    /// Where packed models are kept [default: a folder in the platform's cache folder]
    #[arg(long, value_name = "DIR", env = "SHOAL_CACHE_DIR")]
    pub(crate) cache_dir: Option<PathBuf>,

    /// Batches worked on at a time [default: all cores]
    #[arg(short, long, value_name = "N", conflicts_with = "stdio", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrency: Option<u16>,

    /// Work only in run directories at or below this path or URL; may be given again [default: anywhere, if only this
    /// machine can call]
    #[arg(long, value_name = "PREFIX", conflicts_with_all = NOT_HTTP)]
    pub(crate) allow: Vec<String>,

    /// File with the token that callers must tell [default: SHOAL_TOKEN]
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_HTTP)]
    pub(crate) token_file: Option<PathBuf>,

    /// Listen beyond this machine without a token: whoever can connect can have work done
    #[arg(long, conflicts_with_all = NOT_HTTP)]
    pub(crate) insecure: bool,

    /// Certificate chain for HTTPS, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with_all = NOT_HTTP)]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", conflicts_with_all = NOT_HTTP)]
    pub(crate) tls_key: Option<PathBuf>,

    /// Seconds that a call is worked on, at most; what is not done by then is answered as left over
    #[arg(long, value_name = "SECONDS", default_value_t = 900, conflicts_with_all = NOT_HTTP, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) call_timeout: u64,

    /// Seconds that a caller may take for the head of a request, and again for its body
    #[arg(long, value_name = "SECONDS", default_value_t = 30, conflicts_with_all = NOT_HTTP, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) read_timeout: u64,

    /// Seconds that calls under way are waited for after Ctrl-C or a request to terminate
    #[arg(long, value_name = "SECONDS", default_value_t = 25, conflicts_with_all = NOT_HTTP)]
    pub(crate) grace: u64,
}
