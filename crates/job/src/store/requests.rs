//! Requests to stores: how often they are tried again, and which [waits](crate::waits) show them.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{
    ObjectStore, ObjectStoreScheme, RetryConfig, aws, azure, gcp, http, parse_url_opts, path::Path,
};
use url::{Position, Url};

use super::runtime;
use crate::waits::{Waiting, waiting_for};

/// Attempts at a request, at most; fewer if they take longer than three minutes.
const ATTEMPTS: u32 = 10;

tokio::task_local! {
    /// The wait of the operation whose requests this task sends.
    static WAITING: Waiting;
}

/// The result of an operation on a store, which is a wait for `what` as long as it takes.
pub(crate) fn block_on<F: Future>(what: &Arc<str>, operation: F) -> F::Output {
    let waiting = waiting_for(what.clone());
    runtime().block_on(WAITING.scope(waiting, operation))
}

/// How requests are tried again.
pub(super) fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: ATTEMPTS as usize - 1,
        ..RetryConfig::default()
    }
}

/// Connects stores by clients that announce attempts.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Announcing { client }))
    }
}

#[derive(Debug)]
struct Announcing {
    client: HttpClient,
}

#[async_trait]
impl HttpService for Announcing {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // A background task of an operation has no wait of its own.
        let _ = WAITING.try_with(|waiting| waiting.next_attempt(ATTEMPTS));
        let answer = self.client.execute(request).await;
        if answer
            .as_ref()
            .is_ok_and(|answer| !answer.status().is_server_error())
        {
            let _ = WAITING.try_with(Waiting::answered);
        }
        answer
    }
}

/// A builder with these options, retries and connector. Unknown options are ignored.
macro_rules! build {
    ($builder:expr, $options:expr) => {{
        let builder = $options
            .into_iter()
            .fold($builder, |builder, (name, value)| match name.parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            });
        builder.with_retry(retries()).with_http_connector(Connector)
    }};
}

/// The builder of an S3 store.
pub(super) fn s3(url: &Url, options: Vec<(String, String)>) -> aws::AmazonS3Builder {
    build!(aws::AmazonS3Builder::new().with_url(url.as_str()), options)
}

/// The store behind a URL, and the path in it.
pub(super) fn open(
    url: &Url,
    options: Vec<(String, String)>,
) -> object_store::Result<(Arc<dyn ObjectStore>, Path)> {
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => Arc::new(s3(url, options).build()?),
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = gcp::GoogleCloudStorageBuilder::new().with_url(url.as_str());
            Arc::new(build!(builder, options).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = azure::MicrosoftAzureBuilder::new().with_url(url.as_str());
            Arc::new(build!(builder, options).build()?)
        }
        ObjectStoreScheme::Http => {
            let builder = http::HttpBuilder::new().with_url(&url[..Position::BeforePath]);
            Arc::new(build!(builder, options).build()?)
        }
        _ => Arc::from(parse_url_opts(url, options)?.0),
    };
    Ok((store, path))
}
