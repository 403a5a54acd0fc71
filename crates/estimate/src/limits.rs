//! AWS limits that constrain a plan.
//!
//! The sources are pages of docs.aws.amazon.com, retrieved in 2026: *Lambda quotas*
//! (`lambda/latest/dg/gettingstarted-limits.html`) and *Step Functions service quotas*
//! (`step-functions/latest/dg/service-quotas.html`).

use std::ops::RangeInclusive;

/// Memory of a function in MB. Lambda quotas, *Memory allocation*.
pub const MEMORY: RangeInclusive<u32> = 128..=10_240;
/// Memory that corresponds to one vCPU, in MB. Lambda, *Configure memory*.
pub const ONE_VCPU: u32 = 1_769;
/// A function's time limit in seconds. Lambda quotas, *Timeout*.
pub const TIMEOUT: RangeInclusive<u32> = 1..=900;
/// Size of code and layers, unzipped, in bytes. Lambda quotas, *Deployment package*.
pub const PACKAGE_BYTES: u64 = 250 * 1024 * 1024;
/// Size of the request and of the response of a synchronous invocation, in bytes each. Lambda
/// quotas, *Invocation payload*.
pub const PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// Default number of concurrent environments per account and region. Lambda quotas, *Concurrent
/// executions*.
pub const ACCOUNT_CONCURRENCY: u64 = 1_000;
/// Environments that a function may start at once, and again every [`RAMP_SECONDS`]. *Understanding
/// Lambda function scaling* (`lambda/latest/dg/lambda-concurrency.html`).
pub const RAMP_STEP: u64 = 1_000;
/// Seconds between two steps of the ramp.
pub const RAMP_SECONDS: f64 = 10.0;

/// Input and output of a state or an execution, in bytes. Step Functions quotas, *Input or output
/// size*. The items that a Distributed Map passes to a child are the input of that child.
pub const STATE_BYTES: usize = 256 * 1024;
/// Concurrent children of a Distributed Map. *Maximum concurrency of a Distributed Map*.
pub const CONCURRENCY: u32 = 10_000;
/// Time limit of an Express execution in seconds. Step Functions quotas, *Maximum execution time*.
pub const EXPRESS_SECONDS: f64 = 300.0;
/// Standard children that a Distributed Map starts per second.
pub const STANDARD_STARTS: f64 = 100.0;
/// Express children that a Distributed Map starts per second.
pub const EXPRESS_STARTS: f64 = 1_000.0;

/// The share of a vCPU, at most 1, that a single-threaded function gets from its memory: CPU is
/// proportional to memory, and one thread cannot use more than one vCPU.
pub fn vcpu_share(memory_mb: u32) -> f64 {
    (f64::from(memory_mb) / f64::from(ONE_VCPU)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_proportional_to_memory() {
        assert_eq!(vcpu_share(ONE_VCPU), 1.0);
        assert_eq!(vcpu_share(10_240), 1.0);
        assert!((vcpu_share(512) - 0.28943).abs() < 1e-5);
    }
}
