//! The server. It uses one thread, so that it takes at most one core from the client under test.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use shoal_job::wire::Invocation;
use tokio::net::TcpSocket;
use tokio::task::LocalSet;

use crate::Settings;
use crate::answer::{self, Answer};
use crate::environments::Environments;

/// The backlog of connections: a client opens one for each call in flight.
const BACKLOG: u32 = 4096;
/// The prefix of the output line with the URL.
pub(crate) const LISTENING: &str = "listening on ";

/// Listens on a free port, prints the URL and serves until the process exits. `GET /counts` returns the counters.
///
/// # Errors
/// Fails if no port is available.
pub fn serve(settings: Settings) -> io::Result<Infallible> {
    // Each call in flight needs a connection. If the limit cannot be raised, connections beyond it fail.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, accept(settings))
}

async fn accept(settings: Settings) -> io::Result<Infallible> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    let mut out = io::stdout();
    writeln!(out, "{LISTENING}http://{}", listener.local_addr()?)?;
    out.flush()?;
    let environments = Rc::new(Environments::new(settings));
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client has disconnected, or there are no free file descriptors.
            Err(_) => continue,
        };
        stream.set_nodelay(true)?;
        environments.connected();
        let environments = environments.clone();
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| {
                let environments = environments.clone();
                async move { Ok::<_, Infallible>(handle(request, &environments).await) }
            });
            // A client that disconnects is not a server error.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn handle(request: Request<Incoming>, environments: &Environments) -> Answer {
    let path = request.uri().path();
    let is_invoke = path.starts_with("/2015-03-31/functions/") && path.ends_with("/invocations");
    match (request.method(), is_invoke) {
        (&Method::POST, true) => {}
        (&Method::GET, _) if path == "/counts" => {
            return answer::json(200, &environments.counts());
        }
        _ => return answer::json(404, &json!({"message": "not found"})),
    }
    let log_type = request.headers().get("X-Amz-Log-Type");
    let wants_log = log_type.is_some_and(|kind| kind == "Tail");
    let Ok(body) = request.into_body().collect().await else {
        return answer::json(400, &json!({"message": "the body is incomplete"}));
    };
    let invocation: Invocation = match serde_json::from_slice(&body.to_bytes()) {
        Ok(invocation) => invocation,
        Err(e) => return answer::json(400, &json!({"message": format!("not an invocation: {e}")})),
    };
    let Some(busy) = environments.take(Instant::now()) else {
        return answer::throttled();
    };
    let duration = busy.duration();
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
    answer::done(&invocation, &busy, wants_log)
}
