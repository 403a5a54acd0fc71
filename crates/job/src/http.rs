//! The HTTP client of everything that is not an object: workers, platforms, model hubs. Object stores make their own
//! clients from the same library.

use std::sync::Once;
use std::time::Duration;

use reqwest::redirect;
pub use reqwest::{
    Client, ClientBuilder, Error, Method, RequestBuilder, Response, StatusCode, Url, header,
};

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The idle time after which the system probes a connection. A call may be silent for minutes, and gateways drop silent
/// connections earlier.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Selects the cryptography of all TLS connections of the process. The library panics without one.
pub fn choose_cryptography() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error means that the program has installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Settings for a client. It follows no redirects: a redirected call would lose its body, or send a token to another host.
pub fn client() -> ClientBuilder {
    choose_cryptography();
    Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(KEEPALIVE)
}

/// An error with its causes, without the URL, which may contain a key.
pub fn describe(error: &Error) -> String {
    let mut text = String::from(if error.is_connect() {
        "failed to connect"
    } else if error.is_timeout() {
        "timed out"
    } else {
        "the connection broke"
    });
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
