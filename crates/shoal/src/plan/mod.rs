//! Predicts the time and cost of a job: reads its lengths, measures the engine, and simulates candidate configurations.

mod auto;
mod break_even;
#[cfg(test)]
mod by_hand;
mod calibrate;
mod candidates;
mod learn;
mod lengths;
mod study;

use std::path::PathBuf;

use shoal_estimate::limits::{MEMORY, PACKAGE_BYTES};
use shoal_estimate::simulate::ColdStart;
use shoal_estimate::{
    Architecture, Calibration, Constraints, Estimate, Plan, PlatformTimes, choose, pareto,
};
use shoal_function::Runner;
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, Event};

use crate::cost::{CHILD_SECONDS, DEFAULT_REGION, TRANSITIONS, prices};
use crate::limits::check_positive;
use crate::machine::{BOOT_SECONDS, architecture};
use crate::platform::Platform;
use crate::{BackendConfig, BackendKind, Error, Machine, ModelSettings, Result, Setting};
pub use auto::{Auto, Given, LeftOut, auto};
use candidates::{CALL_SECONDS, CLIENT_SECONDS};
pub(crate) use candidates::{Candidate, DEFAULT_MEMORY, DEFAULT_QUOTA, PlanContext};
use shoal_report::numbers::plural;
pub(crate) use study::Study;

/// The settings of a plan.
#[derive(Debug, Clone, Default)]
pub struct PlanSettings {
    /// Paths, folders, globs, URLs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The model and its task.
    pub model: ModelSettings,
    /// Columns and limits; the batch size is ignored.
    pub parameters: Parameters,
    /// The backends; all that can be planned for if empty.
    pub backends: Vec<BackendKind>,
    /// The price of this machine, which costs nothing if `None`.
    pub this_machine: Option<Machine>,
    /// Machines to rent, billed by the hour.
    pub machines: Vec<Machine>,
    /// Batch sizes to try.
    pub batch_sizes: Vec<u64>,
    /// Numbers of concurrent functions to try.
    pub concurrency: Vec<u64>,
    /// Memory sizes of functions to try, in MB.
    pub memory: Vec<u32>,
    /// Architectures of functions to try.
    pub architectures: Vec<Architecture>,
    /// The account's quota of concurrent environments.
    pub quota: Option<u64>,
    /// The region whose prices apply.
    pub region: Option<String>,
    /// Constraints on time and cost.
    pub constraints: Constraints,
    /// Saved calibrations, at most one for each architecture; missing ones are measured on this machine.
    pub calibrations: Vec<PathBuf>,
    /// A run on Lambda to measure the platform's overhead from; it is assumed if `None`.
    pub from_run: Option<String>,
    /// A price file instead of the built-in prices.
    pub prices: Option<PathBuf>,
    /// The command that repeats the plan.
    pub command: String,
}

/// Reads the input's lengths, calibrates the engine, and simulates candidates. `emit` receives the events of reading.
///
/// # Errors
/// The input, the model, a calibration or a price file cannot be used, or settings are invalid.
pub fn plan(
    settings: &PlanSettings,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Plan> {
    let platforms = platforms(settings);
    check(settings, &platforms)?;
    let prices = prices(settings.prices.as_deref())?;
    let given = read_calibrations(&settings.calibrations)?;
    let study = Study::read(
        &settings.inputs,
        &settings.model,
        &settings.parameters,
        cancel,
        emit,
    )?;
    let region = settings.region.as_deref().unwrap_or(DEFAULT_REGION);
    let mut assumptions = Vec::new();
    let architectures = architectures(settings, &platforms);
    let mut calibrations = study.calibrations(architectures, &given, cancel, &mut assumptions)?;
    if let Some(run) = &settings.from_run {
        for calibration in &mut calibrations {
            learn::learn(calibration, &study.workload, run)?;
        }
    }
    let quota = settings.quota.unwrap_or(DEFAULT_QUOTA);
    let mut simulated = Vec::new();
    for calibration in &calibrations {
        let context = PlanContext {
            this_machine: settings.this_machine.as_ref(),
            ..study.context(calibration, &prices, region, quota)
        };
        for platform in &platforms {
            let is_wanted = match platform.is_lambda() {
                true => is_wanted(&settings.architectures, calibration.architecture),
                // This machine has one architecture.
                false => calibration.architecture == architecture(),
            };
            if !is_wanted {
                continue;
            }
            for candidate in candidates::all(settings, platform, study.workload.records, quota) {
                if cancel.is_cancelled() {
                    return Err(shoal_job::Error::Cancelled.into());
                }
                let mut estimate = context.estimate(&candidate)?;
                if platform.is_lambda() && study.package_bytes > PACKAGE_BYTES {
                    estimate.broken.push(format!(
                        "program and model have {} MB, the limit of a function is {} MB",
                        study.package_bytes >> 20,
                        PACKAGE_BYTES >> 20
                    ));
                }
                simulated.push((estimate, context, candidate));
            }
        }
    }
    let estimates: Vec<Estimate> = simulated.iter().map(|(one, ..)| one.clone()).collect();
    let choice = choose(&estimates, settings.constraints);
    let chosen = choice.index.map(|index| &simulated[index]);
    let cold_starts = chosen.map(|(_, context, candidate)| context.cold_starts(candidate));
    let first = &calibrations[0];
    if platforms.iter().any(Platform::is_lambda) {
        assume_lambda(first.platform, &mut assumptions);
        if settings.quota.is_none() {
            assumptions.push(format!(
                "the account's quota is {quota} concurrent environments"
            ));
        }
    }
    let workload = &study.workload;
    if settings.this_machine.is_none() && platforms.contains(&Platform::Local) {
        assumptions.push("this machine costs nothing; it can be given a price".into());
    }
    if !settings.machines.is_empty() {
        assumptions.push(format!(
            "a rented machine's vCPU is as fast as a core here; {BOOT_SECONDS} s are billed before it is ready"
        ));
    }
    if !workload.is_whole() {
        assumptions.push(format!(
            "{} of {} records were read; the others are assumed to be similar",
            workload.read, workload.records
        ));
    }
    Ok(Plan {
        inputs: settings.inputs.clone(),
        model: study.runner.spec().reference.clone(),
        precision: study.runner.model().precision(),
        tokens: workload.tokens(),
        work: workload.work(first, study.group),
        prices_date: prices.date.clone(),
        region: region.to_owned(),
        pareto: pareto(&estimates),
        constraints: settings.constraints,
        cold_starts: cold_starts.transpose()?.flatten(),
        break_even: break_even::all(&settings.machines, &estimates, &choice, workload.records),
        choice,
        estimates,
        calibrations: calibrations.clone(),
        assumptions,
        workload: workload.clone(),
        command: settings.command.clone(),
    })
}

/// Whether functions of this architecture are candidates.
fn is_wanted(given: &[Architecture], architecture: Architecture) -> bool {
    given.is_empty() || given.contains(&architecture)
}

pub(crate) fn read_calibrations(files: &[PathBuf]) -> Result<Vec<Calibration>> {
    let read = |file: &PathBuf| Calibration::read(file).map_err(|e| Error::Settings(e.to_string()));
    files.iter().map(read).collect()
}

fn check(settings: &PlanSettings, platforms: &[Platform]) -> Result<()> {
    if settings.batch_sizes.contains(&0) || settings.concurrency.contains(&0) {
        return Err(Error::Settings(
            "failed to plan: batch sizes and concurrency must be at least 1".into(),
        ));
    }
    let out_of_range = |memory: &&u32| !MEMORY.contains(memory);
    if let Some(memory) = settings.memory.iter().find(out_of_range) {
        let reason = format!("{memory} is not between 128 and 10240 MB");
        return Err(Error::setting(Setting::Memory, reason));
    }
    check_positive(Setting::Deadline, settings.constraints.deadline_seconds)?;
    check_positive(Setting::MaxCost, settings.constraints.max_usd)?;
    match settings.backends.as_slice() {
        [backend, ..] if platforms.is_empty() => {
            let reason = format!("it is missing, and the backend {backend} has no other price");
            Err(Error::setting(Setting::Machine, reason))
        }
        _ => Ok(()),
    }
}

fn platforms(settings: &PlanSettings) -> Vec<Platform> {
    let is_default = settings.backends.is_empty();
    let backends = match is_default {
        true => BackendKind::ALL,
        false => &settings.backends,
    };
    let of = |kind: &BackendKind| BackendConfig::from(*kind).settings().platforms();
    let mut platforms: Vec<Platform> = backends.iter().flat_map(of).collect();
    // Processes are never better than threads.
    platforms.retain(|platform| !is_default || *platform != Platform::Process);
    let machines = settings.machines.iter().cloned();
    platforms.extend(machines.map(Platform::Machine));
    platforms
}

/// The architectures to calibrate, some perhaps twice.
fn architectures(settings: &PlanSettings, platforms: &[Platform]) -> Vec<Architecture> {
    let mut architectures = settings.architectures.clone();
    if architectures.is_empty() && platforms.iter().any(Platform::is_lambda) {
        architectures = vec![Architecture::X86, Architecture::Arm64];
    }
    let is_default = settings.architectures.is_empty();
    if is_default || platforms.iter().any(|platform| !platform.is_lambda()) {
        architectures.insert(0, architecture());
    }
    architectures
}

/// Adds the assumptions about Lambda, or its measured times.
pub(crate) fn assume_lambda(measured: Option<PlatformTimes>, assumptions: &mut Vec<String>) {
    match measured {
        Some(times) => assumptions.push(format!(
            "Lambda's times are those of {} of a run: {:.3} s per call beyond the function, work takes {:.2} times as \
             long as here (measured)",
            plural(times.calls, "call", "calls"), times.call_seconds, times.slowdown
        )),
        None => assumptions.extend([
            format!(
                "a vCPU of Lambda is as fast as a core of the calibrated machine; below {DEFAULT_MEMORY} MB a function has a \
                 share of one"
            ),
            format!(
                "a direct call takes {CALL_SECONDS} s beyond the function; a run on Lambda can be given to measure it"
            ),
        ]),
    }
    let cold = |cold: ColdStart| {
        format!(
            "{:.3} s before its initialization, not billed, and {:.3} s of initialization",
            cold.place_seconds, cold.init_seconds
        )
    };
    assumptions.push(match measured.and_then(|times| times.cold) {
        Some(measured) => format!("an environment starts in {} (measured)", cold(measured)),
        None => {
            let [least, most] = ColdStart::LAMBDA_RANGE.map(ColdStart::seconds);
            format!(
                "an environment of Lambda starts in {}; {least} to {most} s together are usual",
                cold(ColdStart::LAMBDA)
            )
        }
    });
    assumptions.extend([
        format!(
            "a child of a Distributed Map takes {CHILD_SECONDS} s beyond the function and, if Standard, {TRANSITIONS} state \
             transitions; the client takes {:.2} ms per call (measured)",
            CLIENT_SECONDS * 1e3
        ),
        "no attempt fails, no call is throttled, and free tiers are used up".into(),
        "input and output stay in the store for a month".into(),
    ]);
}

/// The median; of two middle values, the higher one.
fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
