//! Authorizes requests over the network, and answers them.

use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt};

use super::{Allow, Token};

/// The largest request in bytes: Lambda's limit.
pub(super) const MAX_REQUEST_BYTES: usize = 6 << 20;

/// The checks before the function is called.
pub(super) struct RequestGuard {
    pub(super) token: Option<Token>,
    pub(super) allow: Allow,
}

/// An HTTP status code and the body.
pub(super) type Answer = (u16, Outcome);

impl RequestGuard {
    /// Checks the `Authorization` header of a request.
    pub(super) fn authorize(&self, authorization: Option<&str>) -> Result<(), Answer> {
        match &self.token {
            Some(token) if !token.is_in(authorization) => Err(refuse(
                401,
                "failed to authorize the call: it does not have the token of this worker (SHOAL_TOKEN)",
            )),
            _ => Ok(()),
        }
    }

    /// Reads the invocation in the body of a request.
    pub(super) fn read(&self, body: &[u8]) -> Result<Invocation, Answer> {
        let invocation: Invocation = serde_json::from_slice(body)
            .map_err(|e| refuse(400, &format!("failed to read an invocation: {e}")))?;
        if !self.allow.allows(&invocation.run) {
            return Err(refuse(
                403,
                &format!(
                    "failed to process {}: this worker does not allow that run directory, or it does not exist",
                    invocation.run
                ),
            ));
        }
        Ok(invocation)
    }
}

/// An answer that a retry would not change.
pub(super) fn refuse(status: u16, reason: &str) -> Answer {
    (
        status,
        Outcome::Failure(Failure::new(FailureKind::Refused, reason)),
    )
}

/// The answer with a result. Callers read the kind of a failure from the body; the status is for proxies.
pub(super) fn answer(result: Result<Receipt, Failure>) -> Answer {
    let status = match &result {
        Ok(_) => 200,
        Err(failure) => match failure.kind {
            FailureKind::Input | FailureKind::Model => 422,
            FailureKind::TimedOut => 504,
            FailureKind::Throttled => 429,
            FailureKind::Refused => 403,
            FailureKind::Cancelled => 503,
            _ => 500,
        },
    };
    (status, result.into())
}
