//! The AWS configuration: region, credentials and endpoint, found as the AWS CLI finds them.

mod transport;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::path::Path;
use object_store::{CredentialProvider, ObjectStore, ObjectStoreScheme, StaticCredentialProvider};
use tokio::sync::Mutex;
use url::Url;

use super::{requests, store_options};
use crate::error::cause;
use crate::waits::waiting_for;
use transport::Transport;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Credentials are renewed when they expire within this time.
const MARGIN: Duration = Duration::from_secs(300);

/// The attempts at a call, unless `AWS_MAX_ATTEMPTS` or the profile says otherwise.
const ATTEMPTS: u32 = 3;

/// Where AWS is called, and as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// The region, if one is set.
    pub region: Option<String>,
    /// The source of credentials.
    pub credentials: AwsCredentialProvider,
    /// The attempts at a call that may be repeated.
    pub attempts: u32,
    /// The URL in place of AWS's own, for all services.
    endpoint: Option<String>,
}

impl Config {
    /// Calls a server at `endpoint` that does not check credentials.
    pub fn of_emulator(region: &str, endpoint: &str) -> Self {
        let credential = AwsCredential {
            key_id: "none".into(),
            secret_key: "none".into(),
            token: None,
        };
        Self {
            region: Some(region.into()),
            credentials: Arc::new(StaticCredentialProvider::new(credential)),
            attempts: ATTEMPTS,
            endpoint: Some(endpoint.into()),
        }
    }

    /// The URL in place of AWS's own for a service: that of `AWS_ENDPOINT_URL_SERVICE` or that of all services.
    pub fn endpoint(&self, service: &str) -> Option<String> {
        let own = std::env::var(format!("AWS_ENDPOINT_URL_{service}"));
        let own = own.ok().filter(|url| !url.is_empty());
        own.or_else(|| self.endpoint.clone())
    }
}

impl From<SdkConfig> for Config {
    fn from(config: SdkConfig) -> Self {
        let attempts = config.retry_config().map(|retry| retry.max_attempts());
        Self {
            region: config.region().map(|region| region.as_ref().to_owned()),
            credentials: Arc::new(Login {
                provider: config.credentials_provider(),
                cached: Mutex::new(None),
            }),
            attempts: attempts.unwrap_or(ATTEMPTS),
            endpoint: config.endpoint_url().map(str::to_owned),
        }
    }
}

async fn load() -> Config {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(Transport)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        .load()
        .await;
    config.into()
}

/// Loads region and credentials from the environment (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …), the profile (`AWS_PROFILE`)
/// or the machine's role, and a custom endpoint from `AWS_ENDPOINT_URL`. Blocks, on a separate thread, so that it also works
/// within a task.
///
/// # Errors
/// Fails if the system cannot start a thread or a runtime.
pub fn load_blocking() -> std::io::Result<Config> {
    let _waiting = waiting_for("the AWS credentials");
    let load = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(load()))
    };
    std::thread::Builder::new()
        .spawn(load)?
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The S3 store behind a URL, and the path in it, with the region and credentials that the SDK finds in profiles, roles and so
/// on. `None` if the URL is not one of S3, the variables have credentials, or the SDK finds none.
pub(super) fn open(url: &Url) -> object_store::Result<Option<(Arc<dyn ObjectStore>, Path)>> {
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    if scheme != ObjectStoreScheme::AmazonS3 || std::env::var_os("AWS_ACCESS_KEY_ID").is_some() {
        return Ok(None);
    }
    let Ok(config) = load_blocking() else {
        return Ok(None);
    };
    let mut builder = requests::s3(url, store_options(url));
    if let Some(region) = config.region {
        builder = builder.with_region(region);
    }
    let store = builder.with_credentials(config.credentials).build()?;
    Ok(Some((Arc::new(store), path)))
}

#[derive(Debug)]
struct Login {
    /// `None` if the SDK has no source at all.
    provider: Option<SharedCredentialsProvider>,
    cached: Mutex<Option<(Credentials, Arc<AwsCredential>)>>,
}

fn is_fresh(credentials: &Credentials) -> bool {
    credentials
        .expiry()
        .is_none_or(|expiry| SystemTime::now() + MARGIN < expiry)
}

#[async_trait::async_trait]
impl CredentialProvider for Login {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut cached = self.cached.lock().await;
        if let Some((credentials, credential)) = cached.as_ref()
            && is_fresh(credentials)
        {
            return Ok(credential.clone());
        }
        let failed = |reason: String| object_store::Error::Unauthenticated {
            path: "AWS".into(),
            source: reason.into(),
        };
        let provider = self.provider.as_ref();
        let provider =
            provider.ok_or_else(|| failed("there is no source of credentials".into()))?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|e| failed(cause(&e)))?;
        let credential = Arc::new(AwsCredential {
            key_id: credentials.access_key_id().into(),
            secret_key: credentials.secret_access_key().into(),
            token: credentials.session_token().map(Into::into),
        });
        *cached = Some((credentials, credential.clone()));
        Ok(credential)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use aws_credential_types::provider::future;

    use super::super::runtime;
    use super::*;

    /// Provides numbered credentials that are valid for some time.
    #[derive(Debug)]
    struct Numbered {
        requests: AtomicU32,
        valid: Duration,
    }

    impl ProvideCredentials for Numbered {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let number = self.requests.fetch_add(1, Ordering::SeqCst);
            let expiry = SystemTime::now() + self.valid;
            future::ProvideCredentials::ready(Ok(Credentials::new(
                format!("key-{number}"),
                "secret",
                Some("token".into()),
                Some(expiry),
                "test",
            )))
        }
    }

    fn keys(valid: Duration) -> [String; 2] {
        let login = Login {
            provider: Some(SharedCredentialsProvider::new(Numbered {
                requests: AtomicU32::new(0),
                valid,
            })),
            cached: Mutex::new(None),
        };
        let mut keys = [String::new(), String::new()];
        for key in &mut keys {
            let credential = runtime().block_on(login.get_credential());
            *key = credential.unwrap().key_id.clone();
        }
        keys
    }

    #[test]
    fn credentials_are_cached_while_they_are_valid() {
        assert_eq!(keys(Duration::from_secs(3600)), ["key-0", "key-0"]);
        assert_eq!(keys(Duration::from_secs(60)), ["key-0", "key-1"]);
    }

    #[test]
    fn load_blocking_works_within_a_task() {
        runtime().block_on(async { load_blocking() }).unwrap();
    }
}
