//! The HTTP worker: answers an invocation with an outcome.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use shoal_function::{CallLimits, Host};
use shoal_job::Cancel;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::environments::Environments;
use super::request_guard::{self, Answer, RequestGuard};
use super::{Allow, Token};
use crate::{Error, Result};

/// Seconds after which a rejected caller may retry.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
/// How long cancelled calls may take to stop.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(2);

/// The settings of an HTTP worker.
pub struct HttpSettings {
    /// The address; port 0 is any free port.
    pub address: SocketAddr,
    /// Highest number of concurrent calls, at least 1.
    pub concurrency: usize,
    /// The token that callers must send.
    pub token: Option<Token>,
    /// The accepted run directories.
    pub allow: Allow,
    /// PEM files with the certificate chain and the key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// How long running calls may take after the stop.
    pub grace: Duration,
    /// Time limit of a call; records that are not processed by then are reported as remaining.
    pub call_timeout: Duration,
    /// Time limit for the head of a request, and for its body.
    pub read_timeout: Duration,
}

/// State shared by all requests.
struct Worker {
    settings: HttpSettings,
    guard: RequestGuard,
    /// Set when the model is open.
    environments: OnceLock<Environments>,
    free: Arc<Semaphore>,
    stopping: AtomicBool,
    cancel: Cancel,
}

/// Answers requests until `stop` is sent or dropped, then waits for running calls. Until `open` returns the host, the worker
/// is alive but not ready. `listening` gets the worker's URL.
///
/// # Errors
/// The address or the certificate cannot be used, or `open` fails.
pub fn serve(
    settings: HttpSettings,
    open: impl FnOnce() -> Result<Arc<Host>> + Send + 'static,
    stop: oneshot::Receiver<()>,
    listening: impl FnOnce(&str),
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(settings.concurrency + 1)
        .thread_name("shoal-http")
        .enable_all()
        .build()
        .map_err(|e| Error::Settings(format!("failed to start a runtime: {e}")))?;
    let cancel = Cancel::new();
    let end = runtime.block_on(listen(settings, open, stop, listening, cancel.clone()));
    // Callers of the remaining invocations have disconnected.
    cancel.cancel();
    runtime.shutdown_timeout(SHUTDOWN_WAIT);
    end
}

async fn listen(
    settings: HttpSettings,
    open: impl FnOnce() -> Result<Arc<Host>> + Send + 'static,
    stop: oneshot::Receiver<()>,
    listening: impl FnOnce(&str),
    cancel: Cancel,
) -> Result<()> {
    let HttpSettings {
        address,
        grace,
        read_timeout,
        ..
    } = settings;
    let tls = match &settings.tls {
        None => None,
        Some((certificate, key)) => {
            shoal_job::http::choose_cryptography();
            let config = RustlsConfig::from_pem_file(certificate, key).await;
            let config = config.map_err(|e| {
                Error::Settings(format!(
                    "failed to use the certificate {} and the key {}: {e}",
                    certificate.display(),
                    key.display()
                ))
            })?;
            let mut config = rustls::ServerConfig::clone(&config.get_inner());
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Some(RustlsConfig::from_config(Arc::new(config)))
        }
    };
    let failed = |e| Error::Settings(format!("failed to listen on {address}: {e}"));
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let worker = Arc::new(Worker {
        guard: RequestGuard {
            token: settings.token.clone(),
            allow: settings.allow.clone(),
        },
        free: Arc::new(Semaphore::new(settings.concurrency)),
        settings,
        environments: OnceLock::new(),
        stopping: AtomicBool::new(false),
        cancel,
    });
    let handle = Handle::new();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let service = routes(worker.clone()).into_make_service();
    // Only HTTP/1.1: the time to negotiate a version, and the time for heads of HTTP/2, have no limit.
    let server = async {
        match tls {
            None => {
                let server = axum_server::from_tcp(listener)?.handle(handle.clone());
                let mut server = server.http1_only();
                limit_heads(server.http_builder(), read_timeout);
                server.serve(service).await
            }
            Some(tls) => {
                let server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle.clone());
                let mut server = server.http1_only();
                limit_heads(server.http_builder(), read_timeout);
                server.serve(service).await
            }
        }
    };
    listening(&format!("{scheme}://{address}"));
    let opening = tokio::task::spawn_blocking(open);
    let life = async {
        let host = opening
            .await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        // Only this task sets it.
        let _ = worker.environments.set(Environments::new(host));
        let _ = stop.await;
        worker.stopping.store(true, Ordering::SeqCst);
        handle.graceful_shutdown(Some(grace));
        std::future::pending::<Result<()>>().await
    };
    tokio::select! {
        end = server => end.map_err(|e| Error::Settings(format!("failed to serve {address}: {e}"))),
        end = life => end,
    }
}

/// Limits the time for the head of a request, before the caller is authenticated.
fn limit_heads(builder: &mut Builder<TokioExecutor>, read_timeout: Duration) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout);
}

fn routes(worker: Arc<Worker>) -> Router {
    Router::new()
        .route("/", post(invoke))
        .route("/invoke", post(invoke))
        .route("/health", get(|| async { "alive\n" }))
        .route("/ready", get(ready))
        .layer(DefaultBodyLimit::max(request_guard::MAX_REQUEST_BYTES))
        .with_state(worker)
}

/// Whether calls are accepted, and how many at a time.
async fn ready(State(worker): State<Arc<Worker>>) -> Response {
    let ready = worker.environments.get().is_some() && !worker.stopping.load(Ordering::SeqCst);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = serde_json::json!({
        "ready": ready,
        "concurrency": worker.settings.concurrency,
        "version": crate::VERSION,
    });
    json(status, body.to_string())
}

async fn invoke(State(worker): State<Arc<Worker>>, request: Request) -> Response {
    let (status, outcome) = match admit(&worker, request).await {
        Ok((invocation, permit)) => work(worker, invocation, permit).await,
        Err(answer) => answer,
    };
    let status = StatusCode::from_u16(status).expect("the codes are constants");
    let body = serde_json::to_string(&outcome).expect("an outcome is always JSON");
    json(status, body)
}

/// Reads the invocation of a request, and the permit to process it.
async fn admit(
    worker: &Worker,
    request: Request,
) -> std::result::Result<(Invocation, OwnedSemaphorePermit), Answer> {
    // Nothing is read from unauthorized callers.
    let authorization = request.headers().get(header::AUTHORIZATION);
    let guard = &worker.guard;
    guard.authorize(authorization.and_then(|value| value.to_str().ok()))?;
    if worker.stopping.load(Ordering::SeqCst) {
        return Err(reject(503, "the worker is stopping"));
    }
    if worker.environments.get().is_none() {
        return Err(reject(503, "the worker is not ready yet"));
    }
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > request_guard::MAX_REQUEST_BYTES) {
        // Rejected before the body is sent.
        let reason = format!(
            "failed to read the request: it has more than {} bytes",
            request_guard::MAX_REQUEST_BYTES
        );
        return Err(request_guard::refuse(413, &reason));
    }
    let read = tokio::time::timeout(
        worker.settings.read_timeout,
        Bytes::from_request(request, &()),
    );
    let body = read.await.map_err(|_| {
        let reason = format!(
            "failed to read the request: its body did not arrive within {} s",
            worker.settings.read_timeout.as_secs_f64()
        );
        request_guard::refuse(408, &reason)
    })?;
    let body = body.map_err(|e| {
        let reason = format!("failed to read the request: {}", e.body_text());
        request_guard::refuse(e.status().as_u16(), &reason)
    })?;
    let invocation = guard.read(&body)?;
    match worker.free.clone().try_acquire_owned() {
        Ok(permit) => Ok((invocation, permit)),
        Err(_) => Err(reject(429, "the worker is busy with other batches")),
    }
}

/// An answer after which the batch may be sent to another worker, or to this one again.
fn reject(status: u16, reason: &str) -> Answer {
    let failure = Failure::new(FailureKind::Throttled, reason);
    (status, Outcome::Failure(failure))
}

async fn work(worker: Arc<Worker>, invocation: Invocation, permit: OwnedSemaphorePermit) -> Answer {
    let result = tokio::task::spawn_blocking(move || {
        // Released when the work is done, even if the caller has disconnected.
        let _permit = permit;
        let limits = CallLimits {
            cancel: worker.cancel.clone(),
            deadline: Instant::now().checked_add(worker.settings.call_timeout),
        };
        let environments = worker
            .environments
            .get()
            .expect("calls are admitted after it is set");
        environments.handle(&invocation, &limits)
    });
    let result = result.await.unwrap_or_else(|end| {
        let reason = format!("failed to finish: {end}");
        Err(Failure::new(FailureKind::Retryable, reason))
    });
    request_guard::answer(result)
}

fn json(status: StatusCode, body: String) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    if matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}
