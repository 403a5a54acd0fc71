//! The server. It uses one thread, so that it takes at most one core from the client under test.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use shoal_job::wire::Invocation;
use tokio::net::TcpSocket;

use crate::Settings;
use crate::answer;
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
    runtime.block_on(accept(settings))
}

async fn accept(settings: Settings) -> io::Result<Infallible> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let listener = socket.listen(BACKLOG)?;
    let mut out = io::stdout();
    writeln!(out, "{LISTENING}http://{}", listener.local_addr()?)?;
    out.flush()?;
    let environments = Arc::new(Environments::new(settings));
    let accepted = environments.clone();
    let listener = listener.tap_io(move |stream| {
        let _ = stream.set_nodelay(true);
        accepted.connected();
    });
    let router = Router::new()
        .route("/2015-03-31/functions/{name}/invocations", post(invoke))
        .route("/counts", get(counts))
        .with_state(environments);
    match axum::serve(listener, router).await {
        Ok(()) => unreachable!("the server has no shutdown signal"),
        Err(e) => Err(e),
    }
}

async fn counts(State(environments): State<Arc<Environments>>) -> Response {
    answer::json(&environments.counts())
}

async fn invoke(
    State(environments): State<Arc<Environments>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let wants_log = headers
        .get("X-Amz-Log-Type")
        .is_some_and(|kind| kind == "Tail");
    let invocation: Invocation = match serde_json::from_slice(&body) {
        Ok(invocation) => invocation,
        Err(e) => {
            let reason = format!("not an invocation: {e}");
            return (StatusCode::BAD_REQUEST, reason).into_response();
        }
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
