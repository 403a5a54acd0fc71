//! Credentials for the store's S3 client, found as the AWS CLI finds them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use shoal_job::store::AwsLogin;
use tokio::sync::Mutex;

use crate::config;

/// Credentials are renewed when they expire within this time.
const MARGIN: Duration = Duration::from_secs(300);

/// The region and credentials that the SDK finds in profiles, roles and so on; `None` if there are none.
pub fn login() -> Option<AwsLogin> {
    let config = config::load_blocking().ok()?;
    let provider = config.credentials_provider()?;
    Some(AwsLogin {
        region: config.region().map(ToString::to_string),
        credentials: Arc::new(Login {
            provider,
            cached: Mutex::new(None),
        }),
    })
}

#[derive(Debug)]
struct Login {
    provider: SharedCredentialsProvider,
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
        let credentials = self.provider.provide_credentials().await.map_err(|e| {
            object_store::Error::Unauthenticated {
                path: "AWS".into(),
                source: crate::error::chain(&e).into(),
            }
        })?;
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

    async fn keys(valid: Duration) -> [String; 2] {
        let login = Login {
            provider: SharedCredentialsProvider::new(Numbered {
                requests: AtomicU32::new(0),
                valid,
            }),
            cached: Mutex::new(None),
        };
        let mut keys = [String::new(), String::new()];
        for key in &mut keys {
            *key = login.get_credential().await.unwrap().key_id.clone();
        }
        keys
    }

    #[tokio::test]
    async fn credentials_are_cached_while_they_are_valid() {
        assert_eq!(keys(Duration::from_secs(3600)).await, ["key-0", "key-0"]);
        assert_eq!(keys(Duration::from_secs(60)).await, ["key-0", "key-1"]);
    }
}
