//! `shoal worker`

use std::io::{self, BufReader};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::args::worker::WorkerArgs;
use super::commands::{cancel_on_signal, on_signal};
use super::progress::say;
use shoal::reports::numbers::count;
use shoal::worker::http::HttpSettings;
use shoal::worker::share::Share;
use shoal::worker::{Allow, Token, WorkerSettings, host, http, share, stdio};
use shoal::{EngineSettings, Error, Event, Result, find_run};

/// Runs a worker; the process was started at `started`.
pub(super) fn worker(args: WorkerArgs, started: Instant) -> Result<()> {
    let settings = WorkerSettings {
        model: args.model.model.clone(),
        engine: EngineSettings {
            precision: args.model.precision,
            ..args.engine.settings()
        },
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
        allow: if args.allow.is_empty() {
            Allow::all()
        } else {
            Allow::below(&args.allow)?
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
        if let Event::Failed {
            batch,
            attempt,
            reason,
            retry: true,
            ..
        } = event
        {
            say(&format!(
                "batch {batch}: attempt {attempt} failed, trying again: {reason}"
            ));
        }
    })?;
    say(&format!(
        "{share}: {} records ({} failed) in {} of its {} batches; {} were done before",
        count(done.records),
        count(done.failed),
        count(done.batches - done.reused),
        count(done.batches),
        count(done.reused),
    ));
    Ok(())
}
