//! `shoal worker`

use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use tokio::sync::oneshot;

use super::options::{EngineOptions, ModelOptions, heading};
use super::output::say;
use super::progress::retry_line;
use super::signals::{cancel_on_signal, on_signal};
use shoal::reports::numbers::{count, plural, plural_of};
use shoal::worker::http::HttpSettings;
use shoal::worker::share::Share;
use shoal::worker::{Allow, Token, WorkerSettings, host, http, share, stdio};
use shoal::{Error, Result, find_run};

const EXAMPLES: &str = "\
Examples:
  shoal worker --http --model ./my-distilbert
  SHOAL_TOKEN=… shoal worker --http 0.0.0.0:8080 --allow s3://bucket/shoal
  shoal worker --run s3://bucket/shoal/runs/reviews-1a2b3c4d --index 3 --of 20

HTTP: POST / or /invoke takes an invocation and answers with a receipt or a failure, GET /health succeeds while the \
process runs, GET /ready while it accepts calls. Callers must send the token of SHOAL_TOKEN or --token-file.

A worker opens --model at its start, and the model of a job that needs another one when it is called for it.

The contents of a run directory decide which inputs and which model a worker opens.";

// `requires` has no effect in clap where the required option conflicts with one that is given.
const NOT_HTTP: [&str; 2] = ["stdio", "run"];
const NOT_RUN: [&str; 2] = ["stdio", "http"];

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, next_help_heading = heading::BACKEND)]
#[command(group(ArgGroup::new("mode").required(true).args(["stdio", "http", "run"])))]
pub(crate) struct WorkerArgs {
    /// Answer lines of stdin on stdout
    ///
    /// `--backend process` starts such workers
    #[arg(long)]
    pub(crate) stdio: bool,

    /// Answer requests at this address [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8080")]
    http: Option<SocketAddr>,

    /// Process a share of this planned run, then exit
    #[arg(long, value_name = "RUN")]
    run: Option<String>,

    /// Index of this worker, from 0
    ///
    /// [default: set by Kubernetes, AWS Batch, Cloud Run or Slurm]
    #[arg(long, value_name = "N", conflicts_with_all = NOT_RUN)]
    index: Option<usize>,

    /// Number of workers
    ///
    /// [default: SHOAL_WORKERS, else set by AWS Batch, Cloud Run or Slurm]
    #[arg(long, value_name = "M", conflicts_with_all = NOT_RUN)]
    of: Option<usize>,

    /// Batches in flight [default: all cores]
    #[arg(short, long, value_name = "N", conflicts_with = "stdio", value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: Option<u16>,

    /// Accept only run directories at or below this
    ///
    /// A path or a URL; may be given several times [default: any, if only this machine can call]
    #[arg(long, value_name = "PREFIX", conflicts_with_all = NOT_HTTP)]
    allow: Vec<String>,

    /// File with the token that callers must send
    ///
    /// [default: SHOAL_TOKEN]
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_HTTP)]
    token_file: Option<PathBuf>,

    /// Accept calls from other machines without a token
    ///
    /// Anyone who can connect can use the worker
    #[arg(long, conflicts_with_all = NOT_HTTP)]
    insecure: bool,

    /// Certificate chain for HTTPS, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with_all = NOT_HTTP)]
    tls_cert: Option<PathBuf>,

    /// Key of the certificate, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert", conflicts_with_all = NOT_HTTP)]
    tls_key: Option<PathBuf>,

    /// Time limit of a call; the records that remain are reported to the caller
    #[arg(long, value_name = "SECONDS", default_value_t = 900, conflicts_with_all = NOT_HTTP, value_parser = clap::value_parser!(u64).range(1..), hide_short_help = true, help_heading = heading::LIMITS)]
    call_timeout: u64,

    /// Time limit for reading the head of a request, and again for its body
    #[arg(long, value_name = "SECONDS", default_value_t = 30, conflicts_with_all = NOT_HTTP, value_parser = clap::value_parser!(u64).range(1..), hide_short_help = true, help_heading = heading::LIMITS)]
    read_timeout: u64,

    /// Time that calls in progress get after Ctrl-C or a request to terminate
    #[arg(long, value_name = "SECONDS", default_value_t = 25, conflicts_with_all = NOT_HTTP, hide_short_help = true, help_heading = heading::LIMITS)]
    grace: u64,

    #[command(flatten)]
    model: ModelOptions,

    #[command(flatten)]
    engine: EngineOptions,
}

/// Runs a worker; the process was started at `started`.
pub(crate) fn worker(args: WorkerArgs, started: Instant) -> Result<()> {
    let settings = WorkerSettings {
        model: args.model.model.clone(),
        engine: args.engine.settings(args.model.precision),
    };
    let concurrency = args.concurrency.map_or_else(
        || std::thread::available_parallelism().map_or(1, Into::into),
        usize::from,
    );
    if let Some(name) = &args.run {
        return work(name, &args, &settings, concurrency, started);
    }
    if args.http.is_some() {
        let http = http_settings(args, concurrency)?;
        let (stop, stopped) = oneshot::channel();
        let stop = Mutex::new(Some(stop));
        on_signal(move || {
            // Dropping the sender signals the receiver.
            stop.lock().map(|mut stop| stop.take()).ok();
        });
        let open = move || host(&settings, started);
        return http::serve(http, open, stopped, |url| {
            say(&format!("listening on {url}"))
        });
    }
    let host = host(&settings, started)?;
    stdio::serve(&host, BufReader::new(io::stdin()), io::stdout().lock())
        .map_err(|e| shoal::job::Error::storage("serve", "standard input and output", e).into())
}

fn http_settings(args: WorkerArgs, concurrency: usize) -> Result<HttpSettings> {
    let address = args.http.expect("there is an address");
    let token = Token::find(args.token_file.as_deref())?;
    let is_local = address.ip().is_loopback();
    if !is_local && token.is_none() && !args.insecure {
        return Err(Error::Settings(format!(
            "failed to listen on {address}: other machines could call; set SHOAL_TOKEN or --token-file, or use --insecure"
        )));
    }
    if !is_local && args.allow.is_empty() {
        return Err(Error::Settings(format!(
            "failed to listen on {address}: other machines could call; limit the run directories, such as by --allow \
             s3://bucket/shoal"
        )));
    }
    Ok(HttpSettings {
        address,
        concurrency,
        token,
        allow: match args.allow.as_slice() {
            [] => Allow::all(),
            prefixes => Allow::below(prefixes)?,
        },
        tls: args.tls_cert.zip(args.tls_key),
        grace: Duration::from_secs(args.grace),
        call_timeout: Duration::from_secs(args.call_timeout),
        read_timeout: Duration::from_secs(args.read_timeout),
    })
}

fn work(
    name: &str,
    args: &WorkerArgs,
    settings: &WorkerSettings,
    concurrency: usize,
    started: Instant,
) -> Result<()> {
    let share = Share::find(args.index, args.of, |name| std::env::var(name).ok())?;
    let run = find_run(name)?;
    let host: Arc<_> = host(settings, started)?;
    let cancel = cancel_on_signal();
    let done = share::work(&run, share, host, concurrency, &cancel, &mut |event| {
        if let Some(line) = retry_line(event) {
            say(&line);
        }
    })?;
    say(&format!(
        "{share}: {} ({} failed) in {}; done before: {}",
        plural(done.records, "record", "records"),
        count(done.failed),
        plural_of(done.batches - done.reused, done.batches, "batch", "batches"),
        count(done.reused),
    ));
    Ok(())
}
