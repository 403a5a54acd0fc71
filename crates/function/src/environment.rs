//! Environments, which process one invocation at a time.

use std::sync::Arc;
use std::time::Duration;

use shoal_job::wire::{Failure, Invocation, Receipt};

use crate::work::{self, CallLimits};
use crate::{Clock, Host, Runner, Session, milliseconds};

/// An environment of a [`Host`], with its own session of the shared runner.
pub struct Environment {
    host: Arc<Host>,
    pub(crate) name: String,
    pub(crate) clock: Clock,
    is_warm: bool,
    session: Option<(Arc<dyn Runner>, Box<dyn Session>)>,
}

impl Host {
    /// A new environment.
    pub fn environment(self: &Arc<Self>) -> Environment {
        Environment {
            name: self.environment_name(),
            host: self.clone(),
            clock: Clock::default(),
            is_warm: false,
            session: None,
        }
    }
}

impl Environment {
    /// Replaces the clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// Processes a batch: writes its dead letters, its part and its receipt, and returns the receipt.
    ///
    /// # Errors
    /// A [`Failure`], whose kind says whether another attempt may succeed.
    pub fn handle(
        &mut self,
        invocation: &Invocation,
        limits: &CallLimits,
    ) -> Result<Receipt, Failure> {
        let at = self.clock.now();
        let deadline = invocation
            .timeout_ms
            .and_then(|ms| at.checked_add(Duration::from_millis(ms)));
        let limits = CallLimits {
            cancel: limits.cancel.clone(),
            deadline: deadline.into_iter().chain(limits.deadline).min(),
        };
        let function = self.host.function(&invocation.run)?;
        let cold = !std::mem::replace(&mut self.is_warm, true);
        let session = self.session.take();
        let session = session.filter(|(runner, _)| Arc::ptr_eq(runner, &function.runner));
        let mut session = match session {
            Some((_, session)) => session,
            None => function.runner.session()?,
        };
        let init = match cold {
            true => self.host.init + (self.clock.now() - at),
            false => Duration::ZERO,
        };
        // A session that failed or panicked in the middle of a batch is not reused.
        let mut done = work::work(&function, &mut *session, invocation, &limits, &self.clock)?;
        done.timings.init = milliseconds(init);
        self.session = Some((function.runner.clone(), session));
        self.store(&function, invocation, done, at, cold)
    }
}
