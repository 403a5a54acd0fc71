//! Who may call a worker over the network, for what, and how it is answered there.

use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt};

use super::{Allow, Token};

/// The largest request that is read, in bytes: what Lambda takes too.
pub(super) const LARGEST_REQUEST: usize = 6 << 20;

/// What stands before the function.
pub(super) struct RequestGuard {
    pub(super) token: Option<Token>,
    pub(super) allow: Allow,
}

/// A status code of HTTP, and what goes with it.
pub(super) type Answer = (u16, Outcome);

impl RequestGuard {
    /// Whether a request with this `Authorization` header is allowed.
    pub(super) fn opens(&self, authorization: Option<&str>) -> Result<(), Answer> {
        match &self.token {
            Some(token) if !token.is_in(authorization) => Err(refuse(
                401,
                "failed to let the call in: it does not tell the token of this worker (SHOAL_TOKEN)",
            )),
            _ => Ok(()),
        }
    }

    /// The invocation in the body of a request.
    pub(super) fn read(&self, body: &[u8]) -> Result<Invocation, Answer> {
        let invocation: Invocation = serde_json::from_slice(body)
            .map_err(|e| refuse(400, &format!("failed to read an invocation: {e}")))?;
        if !self.allow.allows(&invocation.run) {
            return Err(refuse(
                403,
                &format!(
                    "failed to work in {}: this worker does not allow that run directory, or it does not exist",
                    invocation.run
                ),
            ));
        }
        Ok(invocation)
    }
}

/// An answer that no other attempt will change.
pub(super) fn refuse(status: u16, reason: &str) -> Answer {
    (
        status,
        Outcome::Failure(Failure::new(FailureKind::Refused, reason)),
    )
}

/// How a result is told over HTTP. Callers go by the kind in the body; the status is for whatever stands between.
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
