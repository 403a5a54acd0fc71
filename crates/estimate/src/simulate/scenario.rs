//! The input of a simulation.

use serde::{Deserialize, Serialize};

use crate::limits;

/// Maximum number of invocations into which the time limit may split a batch.
const MAX_INVOCATIONS: f64 = 1e6;

/// A run on a platform. Times are relative to the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scenario {
    /// Number of batches.
    pub batches: u64,
    /// Maximum number of concurrent environments; 1 is the monolithic approach.
    pub environments: u64,
    /// How the platform scales up environments; all at once if `None`.
    pub ramp: Option<Ramp>,
    /// Maximum number of batches that the platform starts per second, one after another: 100 or
    /// 1,000 for the children of a Distributed Map. Retries and remainders belong to a started
    /// child and are not delayed.
    pub starts_per_second: Option<f64>,
    /// Time of the dispatcher per call, in seconds. Calls are made one after another.
    pub client_seconds: f64,
    /// Seconds before the first call.
    pub setup_seconds: f64,
    /// Round-trip time of a call without the dispatcher and the function, in seconds. It is not
    /// billed; the environment is busy.
    pub call_seconds: f64,
    /// Overhead of the first invocation of an environment.
    pub cold: ColdStart,
    /// Invocations that fail.
    pub failures: Failures,
    /// Slow invocations.
    pub stragglers: Stragglers,
    /// Second attempts at batches whose call takes too long; none if `None`.
    pub speculation: Option<Speculation>,
    /// Time limit of a function's work, in seconds, excluding its cold start. The function stops at
    /// the limit, and another invocation processes the remainder of its batch.
    pub timeout_seconds: Option<f64>,
    /// Billed time is rounded up to a multiple of this, in ms: 1 for Lambda, 0 for exact billing.
    pub billing_step_ms: f64,
    /// Random seed.
    pub seed: u64,
}

/// How a platform scales up a function's environments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ramp {
    /// Environments allowed at the first call, at least 1.
    pub start: u64,
    /// Additional environments per step, at least 1.
    pub step: u64,
    /// Seconds per step.
    pub every_seconds: f64,
}

impl Ramp {
    /// The ramp of a Lambda function.
    pub const LAMBDA: Self = Self {
        start: limits::RAMP_STEP,
        step: limits::RAMP_STEP,
        every_seconds: limits::RAMP_SECONDS,
    };
}

/// Overhead of the first invocation of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColdStart {
    /// Time until the environment's process starts, in seconds: placement and fetching the code.
    /// Not billed.
    pub place_seconds: f64,
    /// Time until the function is ready, in seconds: starting the process and opening the model.
    /// Billed.
    pub init_seconds: f64,
}

impl ColdStart {
    /// A cold start on Lambda, assumed: half a second, half of it billed.
    pub const LAMBDA: Self = Self::of(0.5);
    /// The shortest and the longest cold start that Lambda's documentation expects: from less than
    /// 100 ms to more than 1 s (*Lambda execution environments*,
    /// `lambda/latest/operatorguide/execution-environments.html`). Half of it is assumed to be
    /// billed.
    pub const LAMBDA_RANGE: [Self; 2] = [Self::of(0.1), Self::of(1.0)];

    const fn of(seconds: f64) -> Self {
        Self {
            place_seconds: seconds / 2.0,
            init_seconds: seconds / 2.0,
        }
    }

    /// The time of a cold start, in seconds.
    pub fn seconds(self) -> f64 {
        self.place_seconds + self.init_seconds
    }
}

/// How invocations fail.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Failures {
    /// Probability that an invocation fails. It fails at a random point of its work and is billed
    /// up to that point.
    pub share: f64,
    /// Maximum number of attempts at a batch or a remainder, at least 1. When they are exhausted,
    /// the batch is lost.
    pub attempts: u32,
    /// Upper bound of the delay before the second attempt, in seconds; it doubles with each further
    /// attempt. The delay is uniformly random up to that bound (*full jitter*,
    /// <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
    pub delay_seconds: f64,
    /// Maximum of that bound, in seconds.
    pub longest_delay_seconds: f64,
}

impl Default for Failures {
    /// No failures; the other settings are the dispatcher's.
    fn default() -> Self {
        Self {
            share: 0.0,
            attempts: 3,
            delay_seconds: 0.2,
            longest_delay_seconds: 20.0,
        }
    }
}

/// Invocations that are slow because of slow machines or noisy neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stragglers {
    /// Probability that an invocation is slow.
    pub share: f64,
    /// Factor by which its work takes longer, at least 1.
    pub factor: f64,
}

impl Default for Stragglers {
    /// No stragglers.
    fn default() -> Self {
        Self {
            share: 0.0,
            factor: 1.0,
        }
    }
}

/// When to call a batch a second time while its first call is active.
///
/// A second attempt begins if every batch has been called, no retry is due, an environment is
/// available, and the call has taken longer than `factor` times its predicted time and longer than
/// `least_seconds`. The predicted time is the work of the batch times the median ratio of time to
/// work of the completed calls. The work is assumed to be known, because the size in bytes predicts
/// it well.
///
/// A batch has at most one second attempt. The first response wins. The other call continues and is
/// billed to its end, because functions cannot be cancelled. A second attempt stops after `factor`
/// times its predicted time; if that is not enough, it has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speculation {
    /// Multiple of its predicted time that a call may take, at least 1.
    pub factor: f64,
    /// Time that every call may take, in seconds.
    pub least_seconds: f64,
    /// Number of calls that must have completed before a second attempt.
    pub least_answers: u64,
    /// Maximum billed time of second attempts, relative to that of completed first attempts. It
    /// holds at every moment, with the maximum counted for active second attempts.
    pub budget: f64,
}

impl Default for Speculation {
    /// The dispatcher's settings.
    fn default() -> Self {
        Self {
            factor: 3.0,
            least_seconds: 1.0,
            least_answers: 10,
            budget: 0.05,
        }
    }
}

impl Default for Scenario {
    /// No batches, one environment that is available immediately, no failures, and no overhead.
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
            speculation: None,
            timeout_seconds: None,
            billing_step_ms: 0.0,
            seed: 0,
        }
    }
}

/// A scenario cannot be simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// A setting is out of range.
    #[error("{field} is {value}, but must be {range}")]
    Field {
        /// Name of the setting.
        field: &'static str,
        /// Its value.
        value: f64,
        /// The allowed range.
        range: &'static str,
    },
    /// The time of a batch is invalid.
    #[error("batch {batch} takes {seconds} s, which is not a valid time")]
    Work {
        /// The batch.
        batch: u64,
        /// Its time in seconds.
        seconds: f64,
    },
    /// The time limit splits a batch into too many invocations.
    #[error(
        "batch {batch} takes {seconds} s, which a limit of {timeout_seconds} s splits into more than \
         {MAX_INVOCATIONS} invocations"
    )]
    TooManyInvocations {
        /// The batch.
        batch: u64,
        /// Its time if it is a straggler, in seconds.
        seconds: f64,
        /// The time limit in seconds.
        timeout_seconds: f64,
    },
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        type Range = (&'static str, fn(f64) -> bool);
        const TIME: Range = ("0 or more", is_time);
        const POSITIVE: Range = ("above 0", |value| value.is_finite() && value > 0.0);
        const SHARE: Range = ("0 to 1", |value| (0.0..=1.0).contains(&value));
        const FROM_1: Range = ("at least 1", |value| value.is_finite() && value >= 1.0);
        let Self { failures, cold, .. } = self;
        let ramp = self.ramp.unwrap_or(Ramp::LAMBDA);
        let speculation = self.speculation.unwrap_or_default();
        let starts_per_second = self.starts_per_second.unwrap_or(1.0);
        let timeout_seconds = self.timeout_seconds.unwrap_or(1.0);
        let longest_delay = failures.longest_delay_seconds;
        let settings = [
            ("client_seconds", self.client_seconds, TIME),
            ("setup_seconds", self.setup_seconds, TIME),
            ("call_seconds", self.call_seconds, TIME),
            ("cold.place_seconds", cold.place_seconds, TIME),
            ("cold.init_seconds", cold.init_seconds, TIME),
            ("failures.delay_seconds", failures.delay_seconds, TIME),
            ("failures.longest_delay_seconds", longest_delay, TIME),
            ("billing_step_ms", self.billing_step_ms, TIME),
            ("speculation.least_seconds", speculation.least_seconds, TIME),
            ("speculation.budget", speculation.budget, TIME),
            ("starts_per_second", starts_per_second, POSITIVE),
            ("timeout_seconds", timeout_seconds, POSITIVE),
            ("ramp.every_seconds", ramp.every_seconds, POSITIVE),
            ("failures.share", failures.share, SHARE),
            ("stragglers.share", self.stragglers.share, SHARE),
            ("stragglers.factor", self.stragglers.factor, FROM_1),
            ("speculation.factor", speculation.factor, FROM_1),
            ("environments", self.environments as f64, FROM_1),
            ("failures.attempts", failures.attempts.into(), FROM_1),
            ("ramp.start", ramp.start as f64, FROM_1),
            ("ramp.step", ramp.step as f64, FROM_1),
        ];
        for (field, value, (range, holds)) in settings {
            if !holds(value) {
                return Err(ScenarioError::Field {
                    field,
                    value,
                    range,
                });
            }
        }
        Ok(())
    }

    /// Checks the time of a batch.
    pub(super) fn check_work(&self, batch: u64, seconds: f64) -> Result<(), ScenarioError> {
        if !is_time(seconds) {
            return Err(ScenarioError::Work { batch, seconds });
        }
        let Some(timeout_seconds) = self.timeout_seconds else {
            return Ok(());
        };
        let seconds = seconds * self.stragglers.factor;
        if seconds / timeout_seconds > MAX_INVOCATIONS {
            return Err(ScenarioError::TooManyInvocations {
                batch,
                seconds,
                timeout_seconds,
            });
        }
        Ok(())
    }
}

fn is_time(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}
