//! The platform's limits, checked before anything is sent. AWS would report violations only after the run has started,
//! and emulators do not report them at all.
//!
//! Sources, read in 2026 on docs.aws.amazon.com: *Lambda quotas* (`lambda/latest/dg/gettingstarted-limits.html`) and
//! *Step Functions service quotas* (`step-functions/latest/dg/service-quotas.html`).

use std::ops::RangeInclusive;

// The limits that the planner needs too.
pub use shoal_estimate::limits::{
    CONCURRENCY, EXPRESS_SECONDS, MEMORY, ONE_VCPU, PACKAGE_BYTES, PAYLOAD_BYTES, STATE_BYTES,
    TIMEOUT,
};

use crate::error::{Error, Result};

/// The size of a function's `/tmp` in MB. Lambda quotas, *Storage*.
pub const TMP: RangeInclusive<u32> = 512..=10_240;
/// The size of a function's environment variables in bytes. Lambda quotas, *Environment variables*.
pub const ENVIRONMENT_BYTES: usize = 4 * 1024;

/// Checks the size of a line of the manifest, without its line break; `line` counts from 1.
///
/// # Errors
/// Fails if the line is larger than the input of a child may be.
pub fn check_line(line: u64, content: &[u8]) -> Result<()> {
    let action = format!("write line {line} of the manifest");
    check_size(content.len(), STATE_BYTES, action, "use smaller batches")
}

/// Checks the payload of a synchronous invocation.
///
/// # Errors
/// Fails if the payload is larger than Lambda allows.
pub fn check_payload(payload: &[u8]) -> Result<()> {
    let action = "send the payload of an invocation".into();
    check_size(payload.len(), PAYLOAD_BYTES, action, "use smaller batches")
}

/// Checks the size of what `action` sends.
pub(crate) fn check_size(bytes: usize, max: usize, action: String, advice: &str) -> Result<()> {
    if bytes <= max {
        return Ok(());
    }
    let reason = format!("it has {bytes} bytes, and AWS allows {max}; {advice}");
    Err(Error::Call { action, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_the_limits_are_refused() {
        check_line(1, &vec![b'x'; STATE_BYTES]).unwrap();
        let error = check_line(7, &vec![b'x'; STATE_BYTES + 1]).unwrap_err();
        assert!(error.to_string().contains("line 7"), "{error}");
        check_payload(&vec![0; PAYLOAD_BYTES]).unwrap();
        assert!(check_payload(&vec![0; PAYLOAD_BYTES + 1]).is_err());
    }
}
