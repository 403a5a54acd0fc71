//! The SDK's requests for credentials, sent by the HTTP client of everything else: the SDK's own would be a second one.

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use crate::http::{self, Client, Error};

/// Makes a client for each timeout.
#[derive(Debug)]
pub(super) struct Transport;

#[derive(Debug)]
struct Connector(Result<Client, String>);

impl HttpClient for Transport {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let mut client = http::client();
        if let Some(timeout) = settings.connect_timeout() {
            client = client.connect_timeout(timeout);
        }
        if let Some(timeout) = settings.read_timeout() {
            client = client.read_timeout(timeout);
        }
        let client = client.build().map_err(|e| http::describe(&e));
        SharedHttpConnector::new(Connector(client))
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let client = client.map_err(|e| ConnectorError::user(e.into()))?;
            let request = request.try_into_http1x().map_err(unusable)?;
            // Only S3 has bodies that are read from elsewhere.
            let request = request.map(|body| body.bytes().unwrap_or_default().to_vec());
            let request = request.try_into().map_err(unusable::<Error>)?;
            let answer = client.execute(request).await.map_err(failed)?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.map_err(failed)?;
            let mut answer = HttpResponse::new(status.into(), SdkBody::from(body));
            for (name, value) in &headers {
                let value = value
                    .to_str()
                    .map_err(|e| ConnectorError::other(e.into(), None))?;
                answer
                    .headers_mut()
                    .append(name.as_str().to_owned(), value.to_owned());
            }
            Ok(answer)
        })
    }
}

fn unusable<E: std::error::Error + Send + Sync + 'static>(error: E) -> ConnectorError {
    ConnectorError::user(error.into())
}

fn failed(error: Error) -> ConnectorError {
    match error.is_timeout() {
        true => ConnectorError::timeout(error.into()),
        false => ConnectorError::io(error.into()),
    }
}
