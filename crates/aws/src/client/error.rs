//! Errors of calls.

use std::fmt;

use serde::Deserialize;
use shoal_job::http::header::HeaderMap;
use shoal_job::http::{Error, describe};

/// The reason why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The service answered with an error.
    #[error("{0}")]
    Service(#[from] ServiceError),
    /// There was no answer, or only a part of it. Another attempt may succeed.
    #[error("{0}")]
    Lost(String),
    /// The call was not sent: no credentials, no such URL. Another attempt would fail as well.
    #[error("{0}")]
    Unsent(String),
    /// The answer is not one of this API.
    #[error("the answer cannot be read: {0}")]
    Unreadable(String),
}

/// An error that a service returned.
#[derive(Debug)]
pub(crate) struct ServiceError {
    pub(crate) status: u16,
    /// The error's name; empty if there is none.
    pub(crate) code: String,
    /// Empty if there is none.
    pub(crate) message: String,
    pub(crate) body: Vec<u8>,
}

impl CallError {
    pub(super) fn lost(error: &Error) -> Self {
        Self::Lost(describe(error))
    }

    pub(super) fn unreadable(error: impl fmt::Display) -> Self {
        Self::Unreadable(error.to_string())
    }

    /// Whether another attempt may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Service(error) => error.may_pass(),
            Self::Unsent(_) | Self::Unreadable(_) => false,
        }
    }

    /// The name of the service's error; empty if there is none.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Service(error) => &error.code,
            _ => "",
        }
    }

    /// The message of the service's error; empty if there is none.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Service(error) => &error.message,
            _ => "",
        }
    }
}

impl std::error::Error for ServiceError {}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, message) = (self.status, &self.message);
        let kind = match &*self.code {
            "" => format!("HTTP {status}"),
            code => format!("{code} (HTTP {status})"),
        };
        match &**message {
            "" => f.write_str(&kind),
            message => write!(f, "{kind}: {message}"),
        }
    }
}

impl ServiceError {
    pub(super) fn new(status: u16, headers: &HeaderMap, body: Vec<u8>) -> Self {
        let (code, message) = from_json(&body)
            .or_else(|| from_xml(&body))
            .unwrap_or_default();
        // Lambda's name of an error is in this header, followed by a URL.
        let header = headers.get("x-amzn-errortype");
        let header = header.and_then(|value| value.to_str().ok());
        let code = header.map_or(code, str::to_owned);
        let code = code.split(':').next().unwrap_or_default();
        Self {
            status,
            // Some names have the name of the API before them.
            code: code.rsplit('#').next().unwrap_or_default().into(),
            message,
            body,
        }
    }

    /// *Retry behavior* of AWS's SDKs (`sdkref/latest/guide/feature-retry-behavior.html`).
    fn may_pass(&self) -> bool {
        const THROTTLED: [&str; 4] = [
            "Throttl",
            "TooManyRequests",
            "RequestLimitExceeded",
            "SlowDown",
        ];
        matches!(self.status, 429 | 500 | 502 | 503 | 504)
            || THROTTLED.iter().any(|part| self.code.contains(part))
    }
}

/// The name and the message of an error in JSON.
fn from_json(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(default, rename = "__type", alias = "code")]
        code: String,
        #[serde(default, alias = "Message", alias = "errorMessage")]
        message: String,
    }
    let Found { code, message } = serde_json::from_slice(body).ok()?;
    Some((code, message))
}

/// The name and the message of an error in XML.
fn from_xml(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "Error")]
        error: Found,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[derive(Default)]
    struct Found {
        code: String,
        message: String,
    }
    let Document { error } = quick_xml::de::from_reader(body).ok()?;
    Some((error.code, error.message))
}
