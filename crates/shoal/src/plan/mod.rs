//! Predicts the time and cost of a job: reads its lengths, measures the engine, and simulates candidate configurations.

mod auto;
mod break_even;
mod calibrate;
mod candidates;
mod learn;
mod lengths;
mod study;

use std::path::PathBuf;

use serde::Serialize;
use shoal_encoder::Precision;
use shoal_estimate::limits::{MEMORY, PACKAGE_BYTES};
use shoal_estimate::{
    Architecture, Calibration, Choice, Constraints, Estimate, PlatformTimes, Work, Workload,
    choose, pareto,
};
use shoal_function::Runner;
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, Event};

use crate::cost::{CHILD_SECONDS, DEFAULT_REGION, TRANSITIONS, prices};
use crate::limits::check_positive;
use crate::machine::{BOOT_SECONDS, architecture};
use crate::platform::Platform;
use crate::{BackendConfig, BackendKind, Error, Machine, ModelSettings, Result, Setting};
pub use auto::{Auto, auto};
pub use break_even::BreakEven;
use candidates::{CALL_SECONDS, CLIENT_SECONDS, ENVIRONMENT_SECONDS};
pub(crate) use candidates::{Candidate, DEFAULT_MEMORY, DEFAULT_QUOTA};
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
    /// The backend; all that can be planned for if `None`.
    pub backend: Option<BackendKind>,
    /// Machines billed by the hour.
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
}

/// The predicted time and cost of a job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanReport {
    /// The inputs.
    pub inputs: Vec<String>,
    /// The model's reference.
    pub model: String,
    /// The precision of the engine.
    pub precision: Precision,
    /// The records and their lengths.
    pub workload: Workload,
    /// Tokens of the input.
    pub tokens: f64,
    /// The time of all records on one core, and its sampling error.
    pub work: Work,
    /// The calibrations that the times are based on.
    pub calibrations: Vec<Calibration>,
    /// The date of the prices.
    pub prices_date: String,
    /// The region of the prices.
    pub region: String,
    /// All simulated candidates.
    pub estimates: Vec<Estimate>,
    /// Indices of the candidates that no other one beats in both time and cost.
    pub pareto: Vec<usize>,
    /// The constraints on time and cost.
    pub constraints: Constraints,
    /// The chosen candidate.
    pub choice: Choice,
    /// For each machine, the number of records from which on it is cheaper than functions.
    pub break_even: Vec<BreakEven>,
    /// Assumptions instead of measurements, as sentences.
    pub assumptions: Vec<String>,
}

impl PlanReport {
    /// The chosen candidate.
    pub fn chosen(&self) -> Option<&Estimate> {
        self.estimates.get(self.choice.index?)
    }
}

/// Reads the input's lengths, calibrates the engine, and simulates candidates. `emit` receives the events of reading.
///
/// # Errors
/// The input, the model, a calibration or a price file cannot be used, or settings are invalid.
pub fn plan(
    settings: &PlanSettings,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<PlanReport> {
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
    let mut estimates = Vec::new();
    for calibration in &calibrations {
        let context = study.context(calibration, &prices, region, quota);
        for platform in &platforms {
            // This machine has one architecture.
            if !platform.is_lambda() && calibration.architecture != architecture() {
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
                estimates.push(estimate);
            }
        }
    }
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
    if !settings.machines.is_empty() {
        assumptions.push(format!(
            "a machine's vCPU is as fast as a core here; {BOOT_SECONDS} s are billed before it is ready"
        ));
    }
    if !workload.is_whole() {
        assumptions.push(format!(
            "{} of {} records were read; the others are assumed to be similar",
            workload.read, workload.records
        ));
    }
    let choice = choose(&estimates, settings.constraints);
    Ok(PlanReport {
        inputs: settings.inputs.clone(),
        model: study.runner.spec().reference.clone(),
        precision: study.runner.model().precision(),
        tokens: workload.tokens(),
        work: workload.work(first, study.group),
        prices_date: prices.date.clone(),
        region: region.to_owned(),
        pareto: pareto(&estimates),
        constraints: settings.constraints,
        break_even: break_even::all(&settings.machines, &estimates, &choice, workload.records),
        choice,
        estimates,
        calibrations,
        assumptions,
        workload: study.workload,
    })
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
    match settings.backend {
        Some(backend) if platforms.is_empty() => {
            let reason = format!("it is missing, and the backend {backend} has no other price");
            Err(Error::setting(Setting::Machine, reason))
        }
        _ => Ok(()),
    }
}

fn platforms(settings: &PlanSettings) -> Vec<Platform> {
    let of = |kind: BackendKind| BackendConfig::from(kind).settings().platforms();
    let mut platforms = match settings.backend {
        Some(kind) => of(kind),
        None => BackendKind::ALL.iter().copied().flat_map(of).collect(),
    };
    if settings.backend.is_none() {
        // They are never better than threads.
        platforms.retain(|platform| *platform != Platform::Process);
    }
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
            "Lambda's times are those of {} of a run: {:.3} s per call beyond the function, {:.3} s until an environment \
             exists, work takes {:.2} times as long as here (measured)",
            plural(times.calls, "call", "calls"), times.call_seconds, times.place_seconds, times.slowdown
        )),
        None => assumptions.extend([
            format!(
                "a vCPU of Lambda is as fast as a core of the calibrated machine; below {DEFAULT_MEMORY} MB a function has a \
                 share of one"
            ),
            format!(
                "an environment takes {ENVIRONMENT_SECONDS} s to start before its initialization, a direct call \
                 {CALL_SECONDS} s beyond the function; a run on Lambda can be given to measure them"
            ),
        ]),
    }
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
