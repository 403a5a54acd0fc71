//! Signed calls to the HTTP APIs of AWS.
//!
//! shoal uses twenty operations of four services. Their SDKs were an eighth of its build, so the requests are written here;
//! the library that reads objects from S3 signs them, and the client that calls HTTP workers sends them.

mod error;
mod request;

use std::time::Duration;

use object_store::aws::AwsAuthorizer;
use object_store::client::HttpRequest;
use serde::de::DeserializeOwned;
use shoal_job::error::cause;
use shoal_job::http::{self, describe, header::HeaderMap};

use crate::config::Config;
pub(crate) use error::{CallError, ServiceError};
pub(crate) use request::{Request, encode};

/// The time limit of a call other than of the function.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause before the second attempt. It doubles with every attempt.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// A client of all services in one region. Its connections belong to the runtime of its calls.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: http::Client,
    config: Config,
    region: String,
}

/// The answer to a successful call.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Creates a client without calling AWS.
    ///
    /// # Errors
    /// No region is set, or the certificates of this system cannot be read.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let Some(region) = config.region.clone() else {
            return Err("no region is set; set AWS_REGION, for example to us-east-1".into());
        };
        let http = http::client()
            // A call of a function occupies its connection until the function ends.
            .http1_only()
            .tcp_nodelay(true)
            .build()
            .map_err(|e| describe(&e))?;
        Ok(Self {
            http,
            config: config.clone(),
            region,
        })
    }

    /// The region of its services.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Makes a call that is answered in JSON, and repeats it after failures that may pass.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, CallError> {
        let answer = self.repeat(request).await?;
        serde_json::from_slice(&answer.body).map_err(CallError::unreadable)
    }

    /// Makes a call that is answered in XML, and repeats it after failures that may pass.
    pub(crate) async fn xml<T: DeserializeOwned>(&self, request: Request) -> Result<T, CallError> {
        let answer = self.repeat(request).await?;
        quick_xml::de::from_reader(&*answer.body).map_err(CallError::unreadable)
    }

    /// Makes a call, and repeats it after failures that may pass.
    pub(crate) async fn repeat(&self, request: Request) -> Result<Answer, CallError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..self.config.attempts {
            match self.send(&request, Some(TIMEOUT)).await {
                Err(error) if error.may_pass() => {
                    tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
                answer => return answer,
            }
        }
        self.send(&request, Some(TIMEOUT)).await
    }

    /// Makes a call once.
    pub(crate) async fn send(
        &self,
        request: &Request,
        timeout: Option<Duration>,
    ) -> Result<Answer, CallError> {
        let service = request.service;
        let own = self.config.endpoint(service.id);
        let endpoint = own.unwrap_or_else(|| service.endpoint(&self.region));
        let endpoint = endpoint.trim_end_matches('/');
        let url = format!("{endpoint}{}", request.path);
        let mut call = self.http.request(request.method.clone(), &url);
        call = call.headers(self.sign(request, endpoint).await?);
        if let Some(timeout) = timeout {
            call = call.timeout(timeout);
        }
        let answer = call.body(request.body.clone()).send().await;
        let answer = answer.map_err(|e| match e.is_builder() {
            true => CallError::Unsent(format!("the endpoint {endpoint} is not a URL")),
            false => CallError::lost(&e),
        })?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(|e| CallError::lost(&e))?;
        let body = body.to_vec();
        match status.is_success() {
            true => Ok(Answer { headers, body }),
            false => Err(ServiceError::new(status.as_u16(), &headers, body).into()),
        }
    }

    /// The headers of a request, with the signature.
    async fn sign(&self, request: &Request, endpoint: &str) -> Result<HeaderMap, CallError> {
        let credentials = self.config.credentials.get_credential().await;
        let credentials = credentials.map_err(|e| CallError::Unsent(cause(&e)))?;
        let mut signed = HttpRequest::new(request.body.clone().into());
        *signed.method_mut() = request.method.clone();
        *signed.uri_mut() = format!("{endpoint}{}", request.path)
            .parse()
            .map_err(|e| CallError::Unsent(format!("the endpoint {endpoint} is wrong: {e}")))?;
        *signed.headers_mut() = request.headers.clone();
        AwsAuthorizer::new(&credentials, request.service.name, &self.region)
            .try_authorize(&mut signed, None)
            .map_err(|e| CallError::Unsent(cause(&e)))?;
        Ok(std::mem::take(signed.headers_mut()))
    }
}

#[cfg(test)]
mod tests;
