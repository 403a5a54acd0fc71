//! The candidate configurations of a job, each simulated.

use shoal_estimate::limits::{
    ACCOUNT_CONCURRENCY, CONCURRENCY, EXPRESS_SECONDS, EXPRESS_STARTS, ONE_VCPU, RAMP_SECONDS,
    RAMP_STEP, STANDARD_STARTS, TIMEOUT, vcpu_share,
};
use shoal_estimate::simulate::{BatchPool, ColdStart, Outcome, Ramp, Sample, Scenario, simulate};
use shoal_estimate::{Basis, Bill, Calibration, Estimate, Prices, Usage, Workload};

use super::machine::{BOOT_SECONDS, Machine};
use crate::{Children, Error, Result};

/// What a direct call takes beyond the function, there and back. Assumed.
pub(crate) const CALL_SECONDS: f64 = 0.02;
/// What a child of a Distributed Map takes beyond the function. Assumed.
pub(crate) const CHILD_SECONDS: f64 = 0.1;
/// Until an environment is there, before its init; not billed. Assumed.
pub(crate) const PLACE_SECONDS: f64 = 0.25;
/// What our client takes for a call: measured, `benches/runs/client-load-*.jsonl`.
pub(crate) const CLIENT_SECONDS: f64 = 0.000_13;
/// Transitions of a Standard child: its three states, and one to start it. Assumed.
pub(crate) const TRANSITIONS: f64 = 4.0;
/// Memory by which an Express execution is billed, in GB. Assumed.
pub(crate) const EXPRESS_GB: f64 = 0.0625;
/// By which the time of an Express execution is rounded up.
const EXPRESS_STEP_SECONDS: f64 = 0.1;
/// Writes of a function for a batch: part and receipt.
pub(crate) const PUTS_PER_BATCH: f64 = 2.0;
/// Reads for a batch: its slice by the function, receipt and part (checked, then joined) by the collector.
pub(crate) const GETS_PER_BATCH: f64 = 4.0;
/// Bytes of a label with its id and score, roughly. Assumed.
const OUTPUT_BYTES: f64 = 40.0;
/// Part of a function's memory that may be full before it is dangerous.
const MEMORY_TO_FILL: f64 = 0.9;

/// Where functions may run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Platform {
    /// Threads of this machine.
    Local,
    /// Processes of this machine.
    Process,
    /// Another machine at a price.
    Machine(Machine),
    /// Direct calls of a Lambda function.
    Lambda,
    /// A Distributed Map that calls it.
    StepFunctions(Children),
}

/// One way to run a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) platform: Platform,
    pub(crate) batch_size: u64,
    pub(crate) concurrency: u64,
    pub(crate) memory_mb: u32,
}

/// What a plan rests on.
pub(crate) struct PlanContext<'a> {
    pub(crate) workload: &'a Workload,
    /// Records that were read side by side.
    pub(crate) group: usize,
    pub(crate) calibration: &'a Calibration,
    pub(crate) prices: &'a Prices,
    pub(crate) region: &'a str,
    /// Environments that the account has at a time.
    pub(crate) quota: u64,
}

/// A simulated candidate.
pub(crate) struct Simulated {
    pub(crate) outcome: Outcome,
    pub(crate) bill: Option<Bill>,
    pub(crate) longest_batch_seconds: f64,
    pub(crate) batches: u64,
}

impl Platform {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Local => "local".into(),
            Self::Process => "process".into(),
            Self::Machine(machine) => machine.name.clone(),
            Self::Lambda => "lambda".into(),
            Self::StepFunctions(Children::Standard) => "step-functions standard".into(),
            Self::StepFunctions(Children::Express) => "step-functions express".into(),
        }
    }

    pub(crate) fn is_lambda(&self) -> bool {
        matches!(self, Self::Lambda | Self::StepFunctions(_))
    }
}

impl PlanContext<'_> {
    /// Plays `way`.
    pub(crate) fn simulate(&self, candidate: &Candidate) -> Result<Simulated> {
        let calibration = self.calibration;
        let records = self.workload.records;
        let seconds = self.workload.record_seconds(calibration);
        let sample = Sample {
            seconds: &seconds,
            group: self.group,
            records,
            seed: 0,
        };
        let pool = BatchPool::sampled(&sample, candidate.batch_size);
        let batches = pool.batches();
        let share = vcpu_share(candidate.memory_mb);
        // What a function is slower than on a core that it has for itself.
        let slowdown = match &candidate.platform {
            Platform::Lambda | Platform::StepFunctions(_) => {
                calibration
                    .platform
                    .map_or(1.0, |platform| platform.slowdown)
                    / share
            }
            Platform::Local | Platform::Process => {
                calibration.slowdown(candidate.concurrency.min(batches).max(1) as u32)
            }
            // It is taken to bear as many functions as it has vCPUs, as this machine bears them.
            Platform::Machine(_) => calibration
                .side_by_side
                .last()
                .map_or(1.0, |all| all.slowdown),
        };
        let work = |batch| pool.seconds(batch) * slowdown + calibration.invocation_seconds;
        let mut scenario = Scenario {
            batches,
            environments: candidate.concurrency,
            ..Scenario::default()
        };
        match &candidate.platform {
            Platform::Local => {}
            Platform::Process => scenario.cold.place_seconds = calibration.init_seconds,
            Platform::Machine(_) => scenario.setup_seconds = BOOT_SECONDS,
            Platform::Lambda | Platform::StepFunctions(_) => {
                scenario.ramp = Some(Ramp {
                    start: RAMP_STEP,
                    step: RAMP_STEP,
                    every_seconds: RAMP_SECONDS,
                });
                scenario.cold = ColdStart {
                    place_seconds: calibration
                        .platform
                        .map_or(PLACE_SECONDS, |platform| platform.place_seconds),
                    init_seconds: calibration.init_seconds / share,
                };
                scenario.billing_step_ms = 1.0;
                scenario.timeout_seconds = Some(f64::from(*TIMEOUT.end()));
                match &candidate.platform {
                    Platform::StepFunctions(children) => {
                        scenario.call_seconds = CHILD_SECONDS;
                        scenario.starts_per_second = Some(match children {
                            Children::Standard => STANDARD_STARTS,
                            Children::Express => EXPRESS_STARTS,
                        });
                    }
                    _ => {
                        scenario.call_seconds = calibration
                            .platform
                            .map_or(CALL_SECONDS, |platform| platform.call_seconds);
                        scenario.client_seconds = CLIENT_SECONDS;
                    }
                }
            }
        }
        let mut longest_batch_seconds = 0.0_f64;
        let work = |batch| {
            let seconds = work(batch);
            longest_batch_seconds = longest_batch_seconds.max(seconds);
            seconds
        };
        let outcome = simulate(&scenario, work, |_| {})
            .map_err(|e| Error::Settings(format!("failed to simulate: {e}")))?;
        let bill = self.bill(candidate, batches, &outcome)?;
        Ok(Simulated {
            outcome,
            bill,
            longest_batch_seconds,
            batches,
        })
    }

    fn bill(&self, candidate: &Candidate, batches: u64, outcome: &Outcome) -> Result<Option<Bill>> {
        match &candidate.platform {
            Platform::Local | Platform::Process => Ok(None),
            Platform::Machine(machine) => Ok(Some(machine.bill(outcome.seconds, Basis::Predicted))),
            Platform::Lambda | Platform::StepFunctions(_) => {
                let gb = f64::from(candidate.memory_mb) / 1024.0;
                let calls = outcome.invocations as f64;
                let read = self.workload.read.max(1) as f64;
                let bytes = self.workload.bytes as f64 / read * self.workload.records as f64;
                let output = self.workload.records as f64 * OUTPUT_BYTES;
                let mut usage = Usage {
                    compute_gb_s: (outcome.billed_ms - outcome.init_ms) / 1e3 * gb,
                    init_gb_s: outcome.init_ms / 1e3 * gb,
                    requests: calls,
                    puts: calls * PUTS_PER_BATCH,
                    gets: calls * GETS_PER_BATCH,
                    stored_gb_months: (bytes + output) / 1e9,
                    ..Usage::none(self.region, self.calibration.architecture, Basis::Predicted)
                };
                match candidate.platform {
                    Platform::StepFunctions(Children::Standard) => {
                        usage.transitions = calls * TRANSITIONS;
                    }
                    Platform::StepFunctions(Children::Express) => {
                        // An execution a batch, which lasts as long as all its calls, by steps of 100 ms.
                        let batches = batches as f64;
                        usage.express_requests = batches;
                        let seconds = outcome.batch_seconds + batches * EXPRESS_STEP_SECONDS / 2.0;
                        usage.express_gb_s = seconds * EXPRESS_GB;
                    }
                    _ => {}
                }
                let bill = usage.bill(self.prices);
                Ok(Some(bill.map_err(|e| Error::Settings(e.to_string()))?))
            }
        }
    }

    /// Plays `way`, and says which limits of its platform it breaks.
    pub(crate) fn estimate(&self, candidate: &Candidate) -> Result<Estimate> {
        let Simulated {
            outcome,
            bill,
            longest_batch_seconds,
            batches,
        } = self.simulate(candidate)?;
        let is_lambda = candidate.platform.is_lambda();
        Ok(Estimate {
            place: candidate.platform.name(),
            batch_size: candidate.batch_size,
            batches,
            concurrency: candidate.concurrency,
            memory_mb: is_lambda.then_some(candidate.memory_mb),
            architecture: self.calibration.architecture,
            seconds: outcome.seconds,
            function_seconds: if is_lambda {
                outcome.billed_ms / 1e3
            } else {
                outcome.function_seconds
            },
            longest_batch_seconds,
            peak_concurrency: outcome.peak_concurrency,
            cold_starts: outcome.cold_starts,
            bill,
            basis: Basis::Predicted,
            broken: if is_lambda {
                self.broken(candidate, longest_batch_seconds)
            } else {
                Vec::new()
            },
        })
    }

    fn broken(&self, candidate: &Candidate, longest_batch_seconds: f64) -> Vec<String> {
        let mut broken = Vec::new();
        let timeout = f64::from(*TIMEOUT.end());
        if longest_batch_seconds > timeout {
            broken.push(format!(
                "a batch takes {longest_batch_seconds:.0} s, Lambda gives {timeout} s"
            ));
        }
        if candidate.platform == Platform::StepFunctions(Children::Express)
            && longest_batch_seconds > EXPRESS_SECONDS
        {
            broken.push(format!(
                "a batch takes {longest_batch_seconds:.0} s, an Express child has {EXPRESS_SECONDS} s"
            ));
        }
        if candidate.concurrency > self.quota {
            broken.push(format!(
                "{} environments at a time, the account's quota is {}",
                candidate.concurrency, self.quota
            ));
        }
        if matches!(candidate.platform, Platform::StepFunctions(_))
            && candidate.concurrency > u64::from(CONCURRENCY)
        {
            broken.push(format!(
                "{} children at a time, a Distributed Map takes {CONCURRENCY}",
                candidate.concurrency
            ));
        }
        let has = f64::from(candidate.memory_mb) * 1024.0 * 1024.0 * MEMORY_TO_FILL;
        let needs = self.calibration.memory_bytes as f64;
        if needs > has {
            broken.push(format!(
                "the function held {:.0} MB, and {} MB are given",
                needs / 1024.0 / 1024.0,
                candidate.memory_mb
            ));
        }
        broken
    }
}

/// Memory that buys one vCPU, for a function of one thread the most that makes it faster.
pub(crate) const DEFAULT_MEMORY: u32 = ONE_VCPU;
/// The account's quota, where nobody says otherwise.
pub(crate) const DEFAULT_QUOTA: u64 = ACCOUNT_CONCURRENCY;
