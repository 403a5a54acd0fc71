//! Candidate configurations of a job, and their simulation.

use shoal_estimate::limits::{
    ACCOUNT_CONCURRENCY, CONCURRENCY, EXPRESS_SECONDS, EXPRESS_STARTS, ONE_VCPU, RAMP_SECONDS,
    RAMP_STEP, STANDARD_STARTS, TIMEOUT, vcpu_share,
};
use shoal_estimate::simulate::{BatchPool, ColdStart, Outcome, Ramp, Sample, Scenario, simulate};
use shoal_estimate::{Basis, Bill, Calibration, ColdStartEffect, Estimate, Prices, Workload};

use super::PlanSettings;
use crate::cost::{CHILD_SECONDS, PricedFunction, add_children, add_store_requests};
use crate::machine::{BOOT_SECONDS, Machine, cores};
use crate::platform::{Children, Platform};
use crate::{Error, Result};

/// Default batch sizes to try.
const BATCH_SIZES: [u64; 9] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];
/// Default batch sizes that make more batches are not tried: simulating them would take minutes.
const MAX_BATCHES: u64 = 400_000;
/// Round-trip time of a direct call without the function. Assumed.
pub(super) const CALL_SECONDS: f64 = 0.02;
/// Time of the client per call. Measured: `benches/runs/client-load-*.jsonl`.
pub(super) const CLIENT_SECONDS: f64 = 0.000_13;
/// The time of an Express execution is rounded up to a multiple of this.
const EXPRESS_STEP_SECONDS: f64 = 0.1;
/// Approximate bytes of a label with its id and score. Assumed.
const OUTPUT_BYTES: f64 = 40.0;
/// Share of a function's memory that it may use.
const MAX_MEMORY_SHARE: f64 = 0.9;
/// Memory of one vCPU: more does not make a function with one thread faster.
pub(crate) const DEFAULT_MEMORY: u32 = ONE_VCPU;
/// The quota of a new account.
pub(crate) const DEFAULT_QUOTA: u64 = ACCOUNT_CONCURRENCY;

/// One configuration for a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) platform: Platform,
    pub(crate) batch_size: u64,
    pub(crate) concurrency: u64,
    pub(crate) memory_mb: u32,
}

/// What candidates are simulated with.
#[derive(Clone, Copy)]
pub(crate) struct PlanContext<'a> {
    pub(crate) workload: &'a Workload,
    /// Number of consecutive records in a sampled group.
    pub(crate) group: usize,
    pub(crate) calibration: &'a Calibration,
    pub(crate) prices: &'a Prices,
    pub(crate) region: &'a str,
    /// The account's quota of concurrent environments.
    pub(crate) quota: u64,
    /// The price of this machine, which costs nothing if `None`.
    pub(crate) this_machine: Option<&'a Machine>,
    /// The cold start of an environment of Lambda, if it was not measured.
    pub(crate) cold: ColdStart,
}

/// A simulated candidate.
pub(crate) struct Simulated {
    pub(crate) outcome: Outcome,
    pub(crate) bill: Bill,
    pub(crate) longest_batch_seconds: f64,
    pub(crate) batches: u64,
}

/// The candidates of a platform for a job of `records` records.
pub(super) fn all(
    settings: &PlanSettings,
    platform: &Platform,
    records: u64,
    quota: u64,
) -> Vec<Candidate> {
    let records = records.max(1);
    let mut batch_sizes = settings.batch_sizes.clone();
    if batch_sizes.is_empty() {
        batch_sizes.extend(BATCH_SIZES);
        batch_sizes.retain(|&size| records.div_ceil(size) <= MAX_BATCHES && size < records);
        if batch_sizes.is_empty() {
            batch_sizes.push(records.div_ceil(MAX_BATCHES));
        }
    }
    let is_default = settings.concurrency.is_empty();
    let concurrency = match platform {
        Platform::Machine(machine) => vec![machine.vcpus],
        _ if !is_default => settings.concurrency.clone(),
        Platform::Local | Platform::Process => powers(cores() as u64),
        _ => vec![1, 10, 100, quota],
    };
    let memory = match platform {
        _ if !platform.is_lambda() => vec![DEFAULT_MEMORY],
        _ if settings.memory.is_empty() => vec![512, 1_024, DEFAULT_MEMORY],
        _ => settings.memory.clone(),
    };
    let mut candidates = Vec::new();
    for &batch_size in &batch_sizes {
        let mut concurrency = concurrency.clone();
        if is_default {
            // More functions than batches have no effect.
            let batches = records.div_ceil(batch_size);
            concurrency
                .iter_mut()
                .for_each(|count| *count = batches.min(*count));
            concurrency.sort_unstable();
            concurrency.dedup();
        }
        for &memory_mb in &memory {
            candidates.extend(concurrency.iter().map(|&concurrency| Candidate {
                platform: platform.clone(),
                batch_size,
                concurrency,
                memory_mb,
            }));
        }
    }
    candidates
}

/// 1, 2, 4, … and `most`.
fn powers(most: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(1), |power| Some(power * 2));
    let smaller = powers.take_while(|&power| power < most);
    smaller.chain([most]).collect()
}

impl PlanContext<'_> {
    /// Simulates a candidate.
    pub(crate) fn simulate(&self, candidate: &Candidate) -> Result<Simulated> {
        let calibration = self.calibration;
        let seconds = self.workload.record_seconds(calibration);
        let sample = Sample {
            seconds: &seconds,
            group: self.group,
            records: self.workload.records,
            seed: 0,
        };
        let pool = BatchPool::sampled(&sample, candidate.batch_size);
        let batches = pool.batches();
        let slowdown = self.slowdown(candidate, batches);
        let mut longest_batch_seconds = 0.0_f64;
        let work = |batch| {
            let seconds = pool.seconds(batch) * slowdown + calibration.invocation_seconds;
            longest_batch_seconds = longest_batch_seconds.max(seconds);
            seconds
        };
        let outcome = simulate(&self.scenario(candidate, batches), work, |_| {})
            .map_err(|e| Error::Settings(format!("failed to simulate: {e}")))?;
        Ok(Simulated {
            bill: self.bill(candidate, batches, &outcome)?,
            outcome,
            longest_batch_seconds,
            batches,
        })
    }

    /// Time of work relative to a function that has a core of this machine to itself.
    fn slowdown(&self, candidate: &Candidate, batches: u64) -> f64 {
        let calibration = self.calibration;
        match &candidate.platform {
            Platform::Lambda | Platform::StepFunctions(_) => {
                let slowdown = calibration.platform.map_or(1.0, |times| times.slowdown);
                slowdown / vcpu_share(candidate.memory_mb)
            }
            Platform::Local | Platform::Process => {
                calibration.slowdown(candidate.concurrency.min(batches).max(1) as u32)
            }
            // As on this machine when all cores are used.
            Platform::Machine(_) => {
                let all = calibration.side_by_side.last();
                all.map_or(1.0, |all| all.slowdown)
            }
        }
    }

    fn scenario(&self, candidate: &Candidate, batches: u64) -> Scenario {
        let calibration = self.calibration;
        let mut scenario = Scenario {
            batches,
            environments: candidate.concurrency,
            ..Scenario::default()
        };
        match &candidate.platform {
            Platform::Local => return scenario,
            Platform::Process => {
                scenario.cold.place_seconds = calibration.init_seconds;
                return scenario;
            }
            Platform::Machine(_) => {
                scenario.setup_seconds = BOOT_SECONDS;
                return scenario;
            }
            Platform::Lambda => {
                let measured = calibration.platform.map(|times| times.call_seconds);
                scenario.call_seconds = measured.unwrap_or(CALL_SECONDS);
                scenario.client_seconds = CLIENT_SECONDS;
            }
            Platform::StepFunctions(children) => {
                scenario.call_seconds = CHILD_SECONDS;
                scenario.starts_per_second = Some(match children {
                    Children::Standard => STANDARD_STARTS,
                    Children::Express => EXPRESS_STARTS,
                });
            }
        }
        Scenario {
            ramp: Some(Ramp {
                start: RAMP_STEP,
                step: RAMP_STEP,
                every_seconds: RAMP_SECONDS,
            }),
            cold: self.measured_cold().unwrap_or(self.cold),
            billing_step_ms: 1.0,
            timeout_seconds: Some(f64::from(*TIMEOUT.end())),
            ..scenario
        }
    }

    /// The cold start that a run on the platform measured.
    fn measured_cold(&self) -> Option<ColdStart> {
        self.calibration.platform.and_then(|times| times.cold)
    }

    /// A candidate with the shortest and the longest cold starts; `None` if they were measured, or if it has none.
    pub(super) fn cold_starts(
        &self,
        candidate: &Candidate,
    ) -> Result<Option<[ColdStartEffect; 2]>> {
        if !candidate.platform.is_lambda() || self.measured_cold().is_some() {
            return Ok(None);
        }
        let effect = |cold| -> Result<ColdStartEffect> {
            let simulated = Self { cold, ..*self }.simulate(candidate)?;
            Ok(ColdStartEffect {
                cold,
                seconds: simulated.outcome.seconds,
                usd: simulated.bill.usd(),
            })
        };
        let [shortest, longest] = ColdStart::LAMBDA_RANGE;
        Ok(Some([effect(shortest)?, effect(longest)?]))
    }

    fn bill(&self, candidate: &Candidate, batches: u64, outcome: &Outcome) -> Result<Bill> {
        let machine = match &candidate.platform {
            Platform::Local | Platform::Process => self.this_machine,
            Platform::Machine(machine) => Some(machine),
            Platform::Lambda | Platform::StepFunctions(_) => None,
        };
        if let Some(machine) = machine {
            return Ok(machine.bill(outcome.seconds, Basis::Predicted));
        }
        if !candidate.platform.is_lambda() {
            return Ok(Bill::free("this machine"));
        }
        let function = PricedFunction {
            prices: self.prices,
            region: self.region,
            architecture: self.calibration.architecture,
            memory_mb: candidate.memory_mb,
        };
        let calls = outcome.invocations as f64;
        let (seconds, init_seconds) = (outcome.billed_ms / 1e3, outcome.init_ms / 1e3);
        let mut usage = function.usage(Basis::Predicted, calls, seconds, init_seconds);
        add_store_requests(&mut usage, calls);
        let records = self.workload.records as f64;
        let record_bytes = self.workload.bytes as f64 / self.workload.read.max(1) as f64;
        usage.stored_gb_months = records * (record_bytes + OUTPUT_BYTES) / 1e9;
        if let Platform::StepFunctions(children) = candidate.platform {
            let count = match children {
                Children::Standard => calls,
                // An execution per batch, which lasts as long as all its calls.
                Children::Express => batches as f64,
            };
            let seconds = outcome.batch_seconds + count * EXPRESS_STEP_SECONDS / 2.0;
            add_children(&mut usage, children, count, seconds);
        }
        function.bill(&usage)
    }

    /// Simulates a candidate, and finds the limits of its platform that it exceeds.
    pub(super) fn estimate(&self, candidate: &Candidate) -> Result<Estimate> {
        let Simulated {
            outcome,
            bill,
            longest_batch_seconds,
            batches,
        } = self.simulate(candidate)?;
        let mut estimate = Estimate {
            place: candidate.platform.name(),
            batch_size: candidate.batch_size,
            batches,
            concurrency: candidate.concurrency,
            memory_mb: None,
            architecture: self.calibration.architecture,
            seconds: outcome.seconds,
            function_seconds: outcome.function_seconds,
            longest_batch_seconds,
            peak_concurrency: outcome.peak_concurrency,
            cold_starts: outcome.cold_starts,
            bill,
            basis: Basis::Predicted,
            broken: Vec::new(),
        };
        if candidate.platform.is_lambda() {
            estimate.memory_mb = Some(candidate.memory_mb);
            estimate.function_seconds = outcome.billed_ms / 1e3;
            estimate.broken = self.exceeded(candidate, longest_batch_seconds);
        }
        Ok(estimate)
    }

    /// The limits of Lambda and Step Functions that a candidate exceeds.
    fn exceeded(&self, candidate: &Candidate, longest_batch_seconds: f64) -> Vec<String> {
        let timeout = f64::from(*TIMEOUT.end());
        let concurrency = candidate.concurrency;
        let is_map = matches!(candidate.platform, Platform::StepFunctions(_));
        let is_express = candidate.platform == Platform::StepFunctions(Children::Express);
        let mib = |bytes: f64| bytes / 1024.0 / 1024.0;
        let needed_mib = mib(self.calibration.memory_bytes as f64);
        let mut exceeded = Vec::new();
        let mut check = |is_exceeded, text| exceeded.extend(Some(text).filter(|_| is_exceeded));
        check(
            longest_batch_seconds > timeout,
            format!("a batch takes {longest_batch_seconds:.0} s, Lambda allows {timeout} s"),
        );
        check(
            is_express && longest_batch_seconds > EXPRESS_SECONDS,
            format!(
                "a batch takes {longest_batch_seconds:.0} s, an Express child has {EXPRESS_SECONDS} s"
            ),
        );
        check(
            concurrency > self.quota,
            format!(
                "{concurrency} concurrent environments, the account's quota is {}",
                self.quota
            ),
        );
        check(
            is_map && concurrency > u64::from(CONCURRENCY),
            format!(
                "{concurrency} concurrent children, the limit of a Distributed Map is {CONCURRENCY}"
            ),
        );
        check(
            needed_mib > f64::from(candidate.memory_mb) * MAX_MEMORY_SHARE,
            format!(
                "the function needs {needed_mib:.0} MB of its {} MB",
                candidate.memory_mb
            ),
        );
        exceeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_tried_by_powers_of_two() {
        assert_eq!(powers(1), [1]);
        assert_eq!(powers(2), [1, 2]);
        assert_eq!(powers(6), [1, 2, 4, 6]);
    }
}
