//! What is played.

use serde::Serialize;

use crate::limits;

/// The most invocations that one batch may be divided into by its time limit.
const MOST_PIECES: f64 = 1e6;

/// A run on a platform. Everything counts from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scenario {
    /// Batches.
    pub batches: u64,
    /// Environments at a time, at most; 1 is the monolithic way.
    pub environments: u64,
    /// How the platform lets environments grow; all at once where there is none.
    pub ramp: Option<Ramp>,
    /// Batches that the platform itself starts in a second, at most, one after the other: 100 or 1,000 for children of a
    /// Distributed Map. Further attempts and rests belong to the child that was started, and are not held back.
    pub starts_per_second: Option<f64>,
    /// The dispatcher's own time for a call, in seconds: one call after the other.
    pub client_seconds: f64,
    /// Seconds before the first call.
    pub setup_seconds: f64,
    /// Seconds of a call beyond the dispatcher and the function: there and back. Not billed; the environment counts as
    /// taken.
    pub call_seconds: f64,
    /// The first invocation of an environment.
    pub cold: ColdStart,
    /// Invocations that fail.
    pub failures: Failures,
    /// Invocations that take longer than they should.
    pub stragglers: Stragglers,
    /// Second attempts at batches whose call takes too long; none where there is no rule.
    pub speculation: Option<Speculation>,
    /// What a function may work, in seconds, without its cold start. It stops before, and the rest of its batch becomes an
    /// invocation of its own.
    pub timeout_seconds: Option<f64>,
    /// Each invocation is billed by steps of so many ms that it began: 1 for Lambda, 0 for billing to the last digit.
    pub billing_step_ms: f64,
    /// Of chance.
    pub seed: u64,
}

/// How a platform lets a function's environments grow.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ramp {
    /// Environments at the first call, at least 1.
    pub start: u64,
    /// How many more after each step of time, at least 1.
    pub step: u64,
    /// The step of time in seconds.
    pub every_seconds: f64,
}

impl Ramp {
    /// Of a Lambda function.
    pub const LAMBDA: Self = Self {
        start: limits::RAMP_STEP,
        step: limits::RAMP_STEP,
        every_seconds: limits::RAMP_SECONDS,
    };
}

/// What the first invocation of an environment takes beyond another one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ColdStart {
    /// Until the environment's process starts, in seconds: finding a machine, fetching the code. Not billed.
    pub place_seconds: f64,
    /// Until the function can work, in seconds: starting the process, opening the model. Billed.
    pub init_seconds: f64,
}

/// How invocations fail.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Failures {
    /// The share of invocations that fail: each at a point of its work that may be anywhere, and billed up to there.
    pub share: f64,
    /// Attempts at a batch, or at a rest of one, at least 1. When they are used up, the batch is lost.
    pub attempts: u32,
    /// The longest wait before the second attempt, in seconds; it doubles with each further one. The wait is anything up to
    /// that (*full jitter*, <https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/>).
    pub delay_seconds: f64,
    /// The longest wait before any attempt, in seconds.
    pub longest_delay_seconds: f64,
}

impl Default for Failures {
    /// None; the rest as the dispatcher has it.
    fn default() -> Self {
        Self {
            share: 0.0,
            attempts: 3,
            delay_seconds: 0.2,
            longest_delay_seconds: 20.0,
        }
    }
}

/// Invocations that take longer than they should: slow machines, noisy neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Stragglers {
    /// The share of invocations.
    pub share: f64,
    /// How many times as long they work, at least 1.
    pub factor: f64,
}

impl Default for Stragglers {
    /// None.
    fn default() -> Self {
        Self {
            share: 0.0,
            factor: 1.0,
        }
    }
}

/// When a batch is called for a second time while its first call is under way: when no other batch may begin, there is room,
/// and the call has taken longer than `factor` times what it was predicted to, and than `least_seconds`. Predicted is the
/// work of its batch by the median of the answered calls, work being known: bytes tell it well.
///
/// A batch has one second attempt at most. Who answers first wins; the other goes on and is billed to its end, since functions
/// of a platform cannot be stopped. A second attempt may work `factor` times what was predicted, and counts for nothing if
/// that is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speculation {
    /// How many times its predicted time a call may take, at least 1.
    pub factor: f64,
    /// What any call may take, in seconds.
    pub least_seconds: f64,
    /// Calls that must have been answered before.
    pub least_answers: u64,
    /// What second attempts may be billed, as a share of what answered first ones were: at every moment, and with those under
    /// way at the most that they can be billed.
    pub budget: f64,
}

impl Default for Speculation {
    /// As the dispatcher has it.
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
    /// No batches for one environment, which is there at once; nothing fails, and nothing but work takes time.
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

/// What cannot be played.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// A setting is out of its range.
    #[error("{field} is {value}, and must be {range}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds.
        value: f64,
        /// What it may hold.
        range: &'static str,
    },
    /// A batch's time is none.
    #[error("batch {batch} takes {seconds} s, which is no time")]
    Work {
        /// The batch.
        batch: u64,
        /// Its time.
        seconds: f64,
    },
    /// A batch would never end.
    #[error(
        "batch {batch} takes {seconds} s, which a limit of {timeout_seconds} s divides into more than \
         {MOST_PIECES} invocations"
    )]
    CompletedRanges {
        /// The batch.
        batch: u64,
        /// Its time, as a straggler's.
        seconds: f64,
        /// The time limit.
        timeout_seconds: f64,
    },
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), ScenarioError> {
        check_times(&[
            ("client_seconds", self.client_seconds),
            ("setup_seconds", self.setup_seconds),
            ("call_seconds", self.call_seconds),
            ("cold.place_seconds", self.cold.place_seconds),
            ("cold.init_seconds", self.cold.init_seconds),
            ("failures.delay_seconds", self.failures.delay_seconds),
            (
                "failures.longest_delay_seconds",
                self.failures.longest_delay_seconds,
            ),
            ("billing_step_ms", self.billing_step_ms),
        ])?;
        for (field, value) in [
            ("starts_per_second", self.starts_per_second),
            ("timeout_seconds", self.timeout_seconds),
            (
                "ramp.every_seconds",
                self.ramp.map(|ramp| ramp.every_seconds),
            ),
        ] {
            let is_positive = value.is_none_or(|value| value.is_finite() && value > 0.0);
            check(field, value.unwrap_or_default(), is_positive, "above 0")?;
        }
        for (field, value) in [
            ("failures.share", self.failures.share),
            ("stragglers.share", self.stragglers.share),
        ] {
            check(field, value, (0.0..=1.0).contains(&value), "0 to 1")?;
        }
        let factor = self.stragglers.factor;
        check(
            "stragglers.factor",
            factor,
            factor.is_finite() && factor >= 1.0,
            "at least 1",
        )?;
        if let Some(speculation) = self.speculation {
            let factor = speculation.factor;
            let is_factor = factor.is_finite() && factor >= 1.0;
            check("speculation.factor", factor, is_factor, "at least 1")?;
            check_times(&[
                ("speculation.least_seconds", speculation.least_seconds),
                ("speculation.budget", speculation.budget),
            ])?;
        }
        let at_least_one = |field, value: u64| check(field, value as f64, value > 0, "at least 1");
        at_least_one("environments", self.environments)?;
        at_least_one("failures.attempts", self.failures.attempts.into())?;
        if let Some(ramp) = self.ramp {
            at_least_one("ramp.start", ramp.start)?;
            at_least_one("ramp.step", ramp.step)?;
        }
        Ok(())
    }

    /// Checks what a batch takes.
    pub(super) fn check_work(&self, batch: u64, seconds: f64) -> Result<(), ScenarioError> {
        if !is_time(seconds) {
            return Err(ScenarioError::Work { batch, seconds });
        }
        let Some(timeout_seconds) = self.timeout_seconds else {
            return Ok(());
        };
        let seconds = seconds * self.stragglers.factor;
        if seconds / timeout_seconds > MOST_PIECES {
            return Err(ScenarioError::CompletedRanges {
                batch,
                seconds,
                timeout_seconds,
            });
        }
        Ok(())
    }
}

fn check(
    field: &'static str,
    value: f64,
    holds: bool,
    range: &'static str,
) -> Result<(), ScenarioError> {
    holds.then_some(()).ok_or(ScenarioError::Field {
        field,
        value,
        range,
    })
}

fn check_times(times: &[(&'static str, f64)]) -> Result<(), ScenarioError> {
    times
        .iter()
        .try_for_each(|&(field, value)| check(field, value, is_time(value), "0 or more"))
}

fn is_time(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}
