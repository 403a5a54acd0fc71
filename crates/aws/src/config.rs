//! The AWS configuration: region, credentials and endpoint, found as the AWS CLI finds them.

use std::time::Duration;

use aws_config::BehaviorVersion;
pub use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;

/// How long a connection attempt may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Loads region and credentials from the environment (`AWS_REGION`, `AWS_ACCESS_KEY_ID`, …), the profile (`AWS_PROFILE`)
/// or the machine's role, and a custom endpoint from `AWS_ENDPOINT_URL`. Calls use the retries of the SDK.
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

/// A blocking [`load`] on a thread of its own, so that it also works within a task.
///
/// # Errors
/// Fails if the system cannot start a thread or a runtime.
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
    async fn load_blocking_works_within_a_task() {
        load_blocking().unwrap();
    }
}
