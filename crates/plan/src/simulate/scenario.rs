//! What a run is like.

/// What a run is like. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Batches.
    pub batches: u64,
    /// Environments at a time, at most.
    pub environments: u64,
    /// How fast environments may come.
    pub ramp: Option<Ramp>,
    /// Calls that the platform starts a second.
    pub starts_per_second: Option<f64>,
    /// What the caller itself takes for a call, one after the other.
    pub client_seconds: f64,
    /// Before the first call.
    pub setup_seconds: f64,
    /// What a call takes beyond the function, there and back; it occupies the environment, and is not billed.
    pub call_seconds: f64,
    /// What the first call of an environment takes more.
    pub cold: ColdStart,
    /// Attempts that fail.
    pub failures: Failures,
    /// Calls that are slow.
    pub stragglers: Stragglers,
    /// What a call may take; the rest of its batch is a call of its own.
    pub timeout_seconds: Option<f64>,
    /// Billed milliseconds are rounded up to a multiple of this; 0 for none.
    pub billing_step_ms: f64,
    /// Of all that is random.
    pub seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            batches: 0,
            environments: 1,
            ramp: None,
            starts_per_second: None,
            client_seconds: 0.0,
            setup_seconds: 0.0,
            call_seconds: 0.0,
            cold: ColdStart::default(),
            failures: Failures::default(),
            stragglers: Stragglers::default(),
            timeout_seconds: None,
            billing_step_ms: 0.0,
            seed: 0,
        }
    }
}

/// A platform's rule for new environments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ramp {
    /// Environments from the start.
    pub start: u64,
    /// How many more after each step of time.
    pub step: u64,
    /// The step of time, from the run's start.
    pub every_seconds: f64,
}

/// What the first call of an environment takes more.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ColdStart {
    /// Until the environment is there; not billed.
    pub place_seconds: f64,
    /// Its init; billed.
    pub init_seconds: f64,
}

/// Attempts that fail, at a random moment of their work; they are billed for what they ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failures {
    /// The share of attempts that fail.
    pub share: f64,
    /// Attempts at a batch, at least 1.
    pub attempts: u32,
    /// The longest wait before the second attempt; it doubles with each further one, and any part of it may be waited.
    pub delay_seconds: f64,
    /// The longest wait before any attempt.
    pub longest_delay_seconds: f64,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            share: 0.0,
            attempts: 1,
            delay_seconds: 0.0,
            longest_delay_seconds: 0.0,
        }
    }
}

impl Failures {
    /// The longest wait after attempt number `attempt`, as the dispatcher waits.
    pub(super) fn longest_wait(&self, attempt: u32) -> f64 {
        let doublings = attempt.saturating_sub(1).min(16);
        (self.delay_seconds * f64::from(1_u32 << doublings)).min(self.longest_delay_seconds)
    }
}

/// Calls that are slow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stragglers {
    /// The share of calls that are.
    pub share: f64,
    /// How many times as long they take.
    pub factor: f64,
}

impl Default for Stragglers {
    fn default() -> Self {
        Self {
            share: 0.0,
            factor: 1.0,
        }
    }
}

/// What cannot be played.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// A number is out of its range.
    #[error("{field} is {value}, and must be {range}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A batch has no time.
    #[error("batch {batch} takes {seconds} s, which is no time")]
    Work {
        /// The batch.
        batch: u64,
        /// What it was said to take.
        seconds: f64,
    },
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        const TIME: &str = "a number of seconds, at least 0";
        const COUNT: &str = "at least 1";
        const SHARE: &str = "between 0 and 1";
        let field = |field, value, range, is_good: bool| {
            if is_good {
                return Ok(());
            }
            Err(ScenarioError::Field {
                field,
                value,
                range,
            })
        };
        let time = |name, value: f64| field(name, value, TIME, value.is_finite() && value >= 0.0);
        let share = |name, value: f64| field(name, value, SHARE, (0.0..=1.0).contains(&value));
        field(
            "environments",
            self.environments as f64,
            COUNT,
            self.environments > 0,
        )?;
        field(
            "attempts",
            f64::from(self.failures.attempts),
            COUNT,
            self.failures.attempts > 0,
        )?;
        if let Some(ramp) = self.ramp {
            field("ramp.start", ramp.start as f64, COUNT, ramp.start > 0)?;
            let every = ramp.every_seconds;
            field(
                "ramp.every_seconds",
                every,
                "more than 0",
                every.is_finite() && every > 0.0,
            )?;
        }
        if let Some(rate) = self.starts_per_second {
            field(
                "starts_per_second",
                rate,
                "more than 0",
                rate.is_finite() && rate > 0.0,
            )?;
        }
        if let Some(timeout) = self.timeout_seconds {
            // A function that never works would be called for ever.
            let least = self.cold.init_seconds;
            field(
                "timeout_seconds",
                timeout,
                "more than a cold start",
                timeout.is_finite() && timeout > least,
            )?;
        }
        time("client_seconds", self.client_seconds)?;
        time("setup_seconds", self.setup_seconds)?;
        time("call_seconds", self.call_seconds)?;
        time("cold.place_seconds", self.cold.place_seconds)?;
        time("cold.init_seconds", self.cold.init_seconds)?;
        time("failures.delay_seconds", self.failures.delay_seconds)?;
        time(
            "failures.longest_delay_seconds",
            self.failures.longest_delay_seconds,
        )?;
        let step = self.billing_step_ms;
        field(
            "billing_step_ms",
            step,
            "a number of milliseconds, at least 0",
            step.is_finite() && step >= 0.0,
        )?;
        share("failures.share", self.failures.share)?;
        share("stragglers.share", self.stragglers.share)?;
        let factor = self.stragglers.factor;
        field(
            "stragglers.factor",
            factor,
            "a number, at least 1",
            factor.is_finite() && factor >= 1.0,
        )
    }

    /// Environments that there may be at `now`.
    pub(super) fn allowed(&self, now: f64) -> u64 {
        let Some(ramp) = self.ramp else {
            return self.environments;
        };
        let steps = (now / ramp.every_seconds).floor() as u64;
        self.environments
            .min(ramp.start.saturating_add(steps.saturating_mul(ramp.step)))
    }

    /// When there may be more environments than at `now`.
    pub(super) fn next_step(&self, now: f64) -> f64 {
        match self.ramp {
            Some(ramp) if self.allowed(now) < self.environments => {
                let next = ((now / ramp.every_seconds).floor() + 1.0) * ramp.every_seconds;
                // A step that rounding puts before the present would never come.
                if next > now {
                    next
                } else {
                    now + ramp.every_seconds
                }
            }
            _ => f64::INFINITY,
        }
    }
}
