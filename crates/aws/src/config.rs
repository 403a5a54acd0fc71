//! How AWS is reached: region, credentials and endpoint, as its own tools find them.

use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;

/// A name server or a proxy that does not answer is told from one that is slow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Region and credentials from the variables (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …), the profile (`AWS_PROFILE`), or the
/// machine's role; another endpoint from `AWS_ENDPOINT_URL`. Calls are retried as the SDK does by default: meant for
/// control, where nobody else retries.
pub async fn load() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .build(),
        )
        .load()
        .await
}

/// [`load`] for whoever cannot wait for a task, also within one: a thread of its own waits.
///
/// # Errors
/// The system cannot start a thread or a runtime.
pub fn load_blocking() -> std::io::Result<SdkConfig> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_may_ask_too() {
        load_blocking().unwrap();
    }
}
