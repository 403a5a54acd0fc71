//! Measures the calls per second of `fan_out` with the simulator: `calls-per-second [BATCHES] [CONCURRENCY]
//! [MILLISECONDS]`.
//!
//! The client is minimal, with one connection per lane, so that the overhead of the fan-out dominates.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cpu_time::ProcessTime;
use shoal_dispatch::{Caller, FanOut, RetryPolicy, Work, fan_out};
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt, Reply};
use shoal_job::{Batch, Cancel, Event, RunDir};
use simulated_lambda::{Settings, Simulator};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> io::Result<()> {
    simulated_lambda::serve_if_asked();
    let number = |place, default| {
        let text = std::env::args().nth(place);
        text.map_or(default, |text| text.parse().expect("arguments are numbers"))
    };
    let (batches, concurrency, call_ms) = (number(1, 20_000), number(2, 1000), number(3, 0));
    // Each call in flight needs a connection.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let settings = Settings {
        concurrency: concurrency as usize,
        call_ms,
        ..Settings::default()
    };
    let simulator = Simulator::start(&settings)?;
    let calls = Calls {
        address: simulator.url().trim_start_matches("http://").to_owned(),
        idle: Mutex::default(),
    };
    let store = Arc::new(object_store::memory::InMemory::new());
    let run = RunDir::on(store, "run".into(), "s3://bucket/run");
    let batches = (0..batches).map(|index| {
        Cow::Owned(Batch {
            index,
            records: 50,
            ..Batch::default()
        })
    });
    let work = Work {
        run: &run,
        batches: batches.collect(),
        is_suspect: false,
        retry: RetryPolicy::default(),
        timeout: None,
        stop_on_bad_record: false,
        speculation: None,
        budget: None,
        cancel: &Cancel::new(),
    };
    let settings = FanOut {
        concurrency: concurrency as usize,
        ramp: None,
        allow_speculation: true,
    };
    let (started, cpu) = (Instant::now(), ProcessTime::now());
    let mut finished = 0;
    fan_out(&calls, settings, &work, &mut |event| {
        finished += u64::from(matches!(event, Event::Finished { .. }));
    })
    .map_err(io::Error::other)?;
    let (elapsed, cpu) = (started.elapsed(), cpu.elapsed());
    println!(
        "{finished} calls in {:.2} s: {:.0} a second; the client used {:.2} s of CPU time, {:.0} µs a call",
        elapsed.as_secs_f64(),
        finished as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / finished as f64,
    );
    println!("{:?}", simulator.counts()?);
    Ok(())
}

struct Calls {
    address: String,
    /// Idle connections, by lane. The connection of a running call is owned by the call.
    idle: Mutex<Vec<Option<TcpStream>>>,
}

impl Calls {
    async fn post(&self, lane: usize, invocation: &Invocation) -> io::Result<Reply> {
        let idle = self
            .idle
            .lock()
            .expect("no thread panics with the lock held")
            .get_mut(lane)
            .and_then(Option::take);
        let mut stream = match idle {
            Some(stream) => stream,
            None => TcpStream::connect(&self.address).await?,
        };
        stream.set_nodelay(true)?;
        let body = serde_json::to_string(invocation)?;
        let request = format!(
            "POST /2015-03-31/functions/shoal/invocations HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(2048);
        let reply = loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n")
                && let Some((_, length)) = head.to_ascii_lowercase().split_once("content-length: ")
                && length.split("\r\n").next() == Some(&body.len().to_string())
            {
                break serde_json::from_str(body)?;
            }
        };
        let mut idle = self
            .idle
            .lock()
            .expect("no thread panics with the lock held");
        if idle.len() <= lane {
            idle.resize_with(lane + 1, || None);
        }
        idle[lane] = Some(stream);
        Ok(reply)
    }
}

impl Caller for Calls {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        match self.post(lane, invocation).await {
            Ok(reply) => Ok(reply.receipt),
            Err(e) => Err(Failure::new(FailureKind::Retryable, e.to_string())),
        }
    }
}
