//! HTTP workers.

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;

use super::{BackendContext, BackendSettings};
use crate::{Error, Result, Setting};

/// The variable with the token that HTTP workers require.
const TOKEN: &str = "SHOAL_TOKEN";

/// HTTP workers: `shoal worker --http`, or anything else that answers invocations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Http {
    /// URLs of the workers.
    #[serde(rename = "url")]
    pub urls: Vec<String>,
    /// Batches in flight; as many as the workers accept where `None`.
    pub concurrency: Option<usize>,
    /// Seconds that one call may take.
    pub timeout: Option<u64>,
}

impl BackendSettings for Http {
    fn check(&self) -> Result<()> {
        if self.urls.is_empty() {
            let reason = "the backend http needs the URL of at least one worker";
            return Err(Error::setting(Setting::Url, reason));
        }
        for url in &self.urls {
            // Before the URL is written to the run directory: it may hold a password.
            shoal_dispatch::check_url(url, token().is_some())
                .map_err(|error| Error::from_dispatch(error, String::new(), |_| String::new()))?;
        }
        Ok(())
    }

    fn default_concurrency(&self) -> usize {
        // Workers report how many calls they accept.
        1
    }

    fn timeout(&self) -> Option<u64> {
        self.timeout
    }

    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        let backend =
            shoal_dispatch::Http::connect(&self.urls, token().as_deref(), self.concurrency);
        let run = || context.run.reference();
        let backend =
            backend.map_err(|error| Error::from_dispatch(error, run(), |_| String::new()))?;
        Ok(Box::new(backend))
    }
}

/// The token for HTTP workers, if there is one.
pub(crate) fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}
