//! What a job will take and cost: its lengths, read; the engine, measured; and every way to run it, simulated.

mod auto;
mod break_even;
mod calibrate;
pub(crate) mod candidates;
mod learn;
mod lengths;
mod machine;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use shoal_estimate::limits::PACKAGE_BYTES;
use shoal_estimate::{
    Architecture, Calibration, Choice, Constraints, Estimate, PlatformTimes, Prices, Work,
    Workload, choose, pareto,
};
use shoal_function::Runner;
use shoal_job::input::locate;
use shoal_job::plan::{Request, plan as plan_job};
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, Event, RunDir};
use shoal_runners::EncoderRunner;

use crate::spool::spool;
use crate::{BackendKind, Children, Error, ModelSettings, Result, Setting, VERSION};
pub use auto::{Auto, auto};
pub use break_even::BreakEven;
use candidates::{
    CALL_SECONDS, CHILD_SECONDS, CLIENT_SECONDS, DEFAULT_MEMORY, DEFAULT_QUOTA, PLACE_SECONDS,
    TRANSITIONS,
};
pub(crate) use candidates::{Candidate, PlanContext, Platform};
pub use machine::Machine;

/// Batch sizes that are tried where none are given.
const BATCH_SIZES: [u64; 9] = [10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];
/// More batches than this are not simulated if a larger batch size is: planning would take minutes.
const MOST_BATCHES: u64 = 400_000;
/// The region whose prices are taken where none is given.
const REGION: &str = "us-east-1";

/// What is to be planned.
#[derive(Debug, Clone, Default)]
pub struct PlanSettings {
    /// Paths, folders, globs, URLs, or `-` for standard input.
    pub inputs: Vec<String>,
    /// The model, and what to do with it.
    pub model: ModelSettings,
    /// Columns and limits; the batch size is not looked at.
    pub parameters: Parameters,
    /// Where functions may run; everywhere that can be planned for, where `None`.
    pub backend: Option<BackendKind>,
    /// Machines at a price.
    pub machines: Vec<Machine>,
    /// Batch sizes to try.
    pub batch_sizes: Vec<u64>,
    /// Functions at a time to try.
    pub concurrency: Vec<u64>,
    /// Memory of functions to try, in MB.
    pub memory: Vec<u32>,
    /// Architectures of functions to try.
    pub architectures: Vec<Architecture>,
    /// Environments that the account has at a time.
    pub quota: Option<u64>,
    /// The region whose prices count.
    pub region: Option<String>,
    /// What is asked of the run.
    pub wish: Constraints,
    /// Calibrations that were made before, one an architecture; this machine is calibrated for what is missing.
    pub calibrations: Vec<PathBuf>,
    /// A run on Lambda from which to learn what the platform takes, instead of assuming it.
    pub from_run: Option<String>,
    /// A price file instead of the prices of shoal.
    pub prices: Option<PathBuf>,
}

/// What a job will take and cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanReport {
    /// The inputs.
    pub inputs: Vec<String>,
    /// The model's reference.
    pub model: String,
    /// `f32` or `int8`.
    pub precision: String,
    /// Records and their lengths.
    pub workload: Workload,
    /// Tokens of the input.
    pub tokens: f64,
    /// What all records take on one core, and what sampling adds to its uncertainty.
    pub work: Work,
    /// What the times rest on.
    pub calibrations: Vec<Calibration>,
    /// The day of the prices.
    pub prices_date: String,
    /// The region of the prices.
    pub region: String,
    /// All ways that were looked at.
    pub estimates: Vec<Estimate>,
    /// Indices of those that no other one beats.
    pub pareto: Vec<usize>,
    /// What was asked.
    pub wish: Constraints,
    /// What to do.
    pub choice: Choice,
    /// From where on a machine at a price is cheaper than functions, and until where it is not.
    pub break_even: Vec<BreakEven>,
    /// What was not measured, as sentences.
    pub assumptions: Vec<String>,
}

impl PlanReport {
    /// The way that was chosen.
    pub fn chosen(&self) -> Option<&Estimate> {
        self.estimates.get(self.choice.index?)
    }
}

/// Reads the input's lengths, calibrates the engine, and looks at every way to run the job. `progress` hears of the reading.
///
/// # Errors
/// The input, the model, a calibration or a price file cannot be used, or settings make no sense.
pub fn plan(
    settings: &PlanSettings,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<PlanReport> {
    check(settings)?;
    let prices = prices(settings.prices.as_deref())?;
    let given = read_calibrations(&settings.calibrations)?;
    let study = Study::read(settings, cancel, emit)?;
    let platforms = platforms(settings);
    let region = settings.region.clone().unwrap_or_else(|| REGION.into());
    let mut assumptions = Vec::new();
    let mut calibrations =
        study.calibrations(settings, given, &platforms, cancel, &mut assumptions)?;
    if let Some(run) = &settings.from_run {
        for calibration in &mut calibrations {
            learn::learn(calibration, &study.workload, run)?;
        }
    }
    let quota = settings.quota.unwrap_or(DEFAULT_QUOTA);
    let mut estimates = Vec::new();
    for calibration in &calibrations {
        let ground = PlanContext {
            workload: &study.workload,
            group: study.group,
            calibration,
            prices: &prices,
            region: &region,
            quota,
        };
        let here = calibration.architecture == calibrate::architecture();
        for platform in &platforms {
            // Cores are those of the machine that was calibrated.
            if !platform.is_lambda() && !here {
                continue;
            }
            for candidate in candidates_of(settings, platform, &study.workload, quota) {
                if cancel.is_cancelled() {
                    return Err(shoal_job::Error::Cancelled.into());
                }
                let mut estimate = ground.estimate(&candidate)?;
                if platform.is_lambda() && study.package_bytes > PACKAGE_BYTES {
                    estimate.broken.push(format!(
                        "program and model have {} MB, a function takes {} MB",
                        study.package_bytes >> 20,
                        PACKAGE_BYTES >> 20
                    ));
                }
                estimates.push(estimate);
            }
        }
    }
    let learned = calibrations[0].platform;
    assume(
        &platforms,
        settings,
        quota,
        &study.workload,
        learned,
        &mut assumptions,
    );
    let choice = choose(&estimates, settings.wish);
    let first = &calibrations[0];
    Ok(PlanReport {
        inputs: settings.inputs.clone(),
        model: study.runner.spec().reference.clone(),
        precision: study.runner.model().precision().to_string(),
        tokens: study.workload.tokens(),
        work: study.workload.work(first, study.group),
        prices_date: prices.date.clone(),
        region,
        pareto: pareto(&estimates),
        wish: settings.wish,
        break_even: break_even::all(&settings.machines, &estimates, &choice, &study.workload),
        choice,
        estimates,
        calibrations,
        assumptions,
        workload: study.workload,
    })
}

/// A job's lengths, and what is needed to calibrate for it.
pub(crate) struct Study {
    pub(crate) workload: Workload,
    pub(crate) group: usize,
    pub(crate) runner: Arc<EncoderRunner>,
    texts: Vec<String>,
    model: ModelSettings,
    /// Program and model of a function.
    package_bytes: u64,
}

impl Study {
    pub(crate) fn read(
        settings: &PlanSettings,
        cancel: &Cancel,
        emit: &mut dyn FnMut(&Event),
    ) -> Result<Self> {
        /// From this size on, batches are cut larger: their table would outgrow the memory.
        const LARGE_BYTES: u64 = 1 << 30;
        let inputs = crate::run::absolute(&settings.inputs)?;
        let spool = inputs
            .iter()
            .any(|input| input == "-")
            .then(|| spool(cancel))
            .transpose()?;
        let spooled = spool.as_ref().map(|spooled| &spooled.spool);
        let found = locate(&inputs, settings.parameters.input_format, spooled)?;
        let mut bytes = 0;
        for found in &found {
            bytes += found.location.meta().map_or(0, |meta| meta.bytes);
        }
        let runner = settings.model.open()?;
        let folder = tempfile::tempdir()
            .map_err(|e| shoal_job::Error::storage("plan in", "a temporary folder", e))?;
        let run = RunDir::create(&folder.path().join("run"))?;
        let request = Request {
            inputs: &inputs,
            spool: spooled,
            function: runner.spec().clone(),
            parameters: Parameters {
                batch_size: if bytes > LARGE_BYTES { 1_000 } else { 50 },
                ..settings.parameters.clone()
            },
            output: "-",
            version: VERSION,
            inputs_at: None,
        };
        let job = plan_job(&request, &run, cancel, &mut |records| {
            emit(&Event::Planning { records });
        })?;
        let batches = run.batches(&job)?;
        emit(&Event::Planned {
            records: job.records,
            batches: job.batches,
        });
        let lengths::Lengths {
            workload,
            group,
            texts,
        } = lengths::read(&run, &job, &batches, &runner, cancel)?;
        let program = std::env::current_exe()
            .and_then(std::fs::metadata)
            .map_or(0, |meta| meta.len());
        Ok(Self {
            workload,
            group,
            package_bytes: program + runner.model().packed_bytes(),
            runner,
            texts,
            model: settings.model.clone(),
        })
    }

    /// A calibration for each architecture that is planned for: those that were given, and new ones.
    pub(crate) fn calibrations(
        &self,
        settings: &PlanSettings,
        given: Vec<Calibration>,
        platforms: &[Platform],
        cancel: &Cancel,
        assumptions: &mut Vec<String>,
    ) -> Result<Vec<Calibration>> {
        for calibration in &given {
            self.check(calibration)?;
        }
        let here = calibrate::architecture();
        let mut wanted = settings.architectures.clone();
        if wanted.is_empty() {
            wanted.push(here);
            if platforms.iter().any(Platform::is_lambda) {
                wanted.push(Architecture::X86);
                wanted.push(Architecture::Arm64);
            }
        } else if platforms.iter().any(|platform| !platform.is_lambda()) {
            wanted.insert(0, here);
        }
        let mut calibrations: Vec<Calibration> = Vec::new();
        for architecture in wanted {
            if calibrations
                .iter()
                .any(|known| known.architecture == architecture)
            {
                continue;
            }
            let known = given
                .iter()
                .find(|given| given.architecture == architecture);
            calibrations.push(match known {
                Some(known) => known.clone(),
                None if architecture == here => calibrate::calibrate(
                    &self.runner,
                    &self.model,
                    &self.texts,
                    cancel,
                )?,
                None => {
                    let native = calibrations
                        .first()
                        .or_else(|| given.first())
                        .cloned()
                        .map_or_else(
                            || {
                                calibrate::calibrate(
                                    &self.runner,
                                    &self.model,
                                    &self.texts,
                                    cancel,
                                )
                            },
                            Ok,
                        )?;
                    assumptions.push(format!(
                        "{} was not measured: its times are those of the portable kernels on this machine, since the engine has \
                         none of its own for it; a calibration that was saved there is more accurate",
                        architecture.name()
                    ));
                    self.portable(native, architecture)?
                }
            });
        }
        Ok(calibrations)
    }

    /// What `native` says, with the model's times in portable kernels.
    fn portable(&self, native: Calibration, architecture: Architecture) -> Result<Calibration> {
        let mut model = self.model.clone();
        model.engine.isa = Some("portable".into());
        // What is packed for one instruction set has no other one's form.
        let Ok(runner) = model.open() else {
            return Ok(Calibration {
                architecture,
                ..native
            });
        };
        let (points, spread) = calibrate::points(runner.model(), runner.max_tokens());
        Ok(Calibration {
            points,
            spread,
            isa: "portable".into(),
            architecture,
            ..native
        })
    }

    fn check(&self, calibration: &Calibration) -> Result<()> {
        let spec = self.runner.spec();
        let precision = self.runner.model().precision().name();
        let same =
            calibration.fingerprint == spec.fingerprint && calibration.precision == precision;
        if same {
            return Ok(());
        }
        Err(Error::Settings(format!(
            "failed to use the calibration of {} in {}: this plan is for {} in {}; calibrate with that model",
            calibration.model, calibration.precision, spec.reference, precision
        )))
    }
}

/// The prices of a file, or those of shoal.
pub fn prices(file: Option<&std::path::Path>) -> Result<Prices> {
    let prices = file.map_or_else(|| Ok(Prices::aws()), Prices::read);
    prices.map_err(|e| Error::Settings(e.to_string()))
}

pub(crate) fn read_calibrations(files: &[PathBuf]) -> Result<Vec<Calibration>> {
    files
        .iter()
        .map(|file| Calibration::read(file).map_err(|e| Error::Settings(e.to_string())))
        .collect()
}

fn check(settings: &PlanSettings) -> Result<()> {
    let wrong = |text: String| Err(Error::Settings(format!("failed to plan: {text}")));
    if settings.inputs.is_empty() {
        return wrong("name an input, or - for standard input".into());
    }
    if settings.batch_sizes.contains(&0) || settings.concurrency.contains(&0) {
        return wrong("batch sizes and functions at a time are at least 1".into());
    }
    if let Some(memory) = settings
        .memory
        .iter()
        .find(|memory| !shoal_estimate::limits::MEMORY.contains(memory))
    {
        let reason = format!("{memory} is not between 128 and 10240 MB");
        return Err(Error::setting(Setting::Memory, reason));
    }
    for (setting, number) in [
        (Setting::Deadline, settings.wish.deadline_seconds),
        (Setting::MaxCost, settings.wish.max_usd),
    ] {
        if number.is_some_and(|number| !(number.is_finite() && number > 0.0)) {
            return Err(Error::setting(setting, "it must be more than 0"));
        }
    }
    match settings.backend {
        Some(backend @ (BackendKind::Http | BackendKind::Array))
            if settings.machines.is_empty() =>
        {
            let reason = format!("the backend {backend} has no price without it");
            Err(Error::setting(Setting::Machine, reason))
        }
        _ => Ok(()),
    }
}

fn platforms(settings: &PlanSettings) -> Vec<Platform> {
    let all = settings.backend.is_none();
    let is = |kind| all || settings.backend == Some(kind);
    let mut platforms = Vec::new();
    if is(BackendKind::Local) {
        platforms.push(Platform::Local);
    }
    if settings.backend == Some(BackendKind::Process) {
        platforms.push(Platform::Process);
    }
    if is(BackendKind::Lambda) {
        platforms.push(Platform::Lambda);
    }
    if is(BackendKind::StepFunctions) {
        platforms.push(Platform::StepFunctions(Children::Express));
        platforms.push(Platform::StepFunctions(Children::Standard));
    }
    let machines = settings.machines.iter().cloned();
    platforms.extend(machines.map(Platform::Machine));
    platforms
}

/// The ways of a platform that are worth a look.
fn candidates_of(
    settings: &PlanSettings,
    platform: &Platform,
    workload: &Workload,
    quota: u64,
) -> Vec<Candidate> {
    let records = workload.records.max(1);
    let asked = |numbers: &[u64], defaults: Vec<u64>| {
        if numbers.is_empty() {
            defaults
        } else {
            numbers.to_vec()
        }
    };
    let mut batch_sizes = asked(&settings.batch_sizes, BATCH_SIZES.to_vec());
    if settings.batch_sizes.is_empty() {
        batch_sizes.retain(|&size| records.div_ceil(size) <= MOST_BATCHES && size < records);
        if batch_sizes.is_empty() {
            batch_sizes.push(records.div_ceil(MOST_BATCHES));
        }
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let concurrency = match platform {
        Platform::Local | Platform::Process => asked(&settings.concurrency, powers(cores)),
        Platform::Machine(machine) => vec![machine.vcpus],
        _ => asked(&settings.concurrency, vec![1, 10, 100, quota]),
    };
    let memory = match platform {
        _ if !platform.is_lambda() => vec![DEFAULT_MEMORY],
        _ if settings.memory.is_empty() => vec![512, 1_024, DEFAULT_MEMORY],
        _ => settings.memory.clone(),
    };
    let mut candidates = Vec::new();
    for &batch_size in &batch_sizes {
        for &memory_mb in &memory {
            let batches = records.div_ceil(batch_size);
            let mut tried = Vec::new();
            for &concurrency in &concurrency {
                // More environments than batches are as many.
                let useful = concurrency.min(batches.max(1));
                if settings.concurrency.is_empty() && tried.contains(&useful) {
                    continue;
                }
                tried.push(useful);
                candidates.push(Candidate {
                    platform: platform.clone(),
                    batch_size,
                    concurrency: if settings.concurrency.is_empty() {
                        useful
                    } else {
                        concurrency
                    },
                    memory_mb,
                });
            }
        }
    }
    candidates
}

/// 1, 2, 4, … and `most`.
fn powers(most: u64) -> Vec<u64> {
    let mut powers: Vec<u64> = std::iter::successors(Some(1), |power| Some(power * 2))
        .take_while(|&power| power < most)
        .collect();
    powers.push(most);
    powers
}

fn assume(
    platforms: &[Platform],
    settings: &PlanSettings,
    quota: u64,
    workload: &Workload,
    learned: Option<PlatformTimes>,
    assumptions: &mut Vec<String>,
) {
    if platforms.iter().any(Platform::is_lambda) {
        if let Some(learned) = learned {
            assumptions.push(format!(
                "what Lambda takes is as {} calls of a run took it: {:.3} s a call beyond the function, {:.3} s until an environment \
                 is there, {:.2} times the work's time here (measured)",
                learned.calls, learned.call_seconds, learned.place_seconds, learned.slowdown
            ));
        }
        assume_lambda(learned.is_some(), assumptions);
        if settings.quota.is_none() {
            assumptions.push(format!("the account has {quota} environments at a time"));
        }
    }
    if !settings.machines.is_empty() {
        assumptions.push(format!(
            "a machine's vCPU is as fast as a core here, and it is paid for {} s before it works",
            machine::BOOT_SECONDS
        ));
    }
    if !workload.is_whole() {
        assumptions.push(format!(
            "{} of {} records were read; the others are taken to be like them",
            workload.read, workload.records
        ));
    }
}

/// What is taken to be so of every run on Lambda.
pub(crate) fn assume_lambda(is_learned: bool, assumptions: &mut Vec<String>) {
    if !is_learned {
        assumptions.push(format!(
            "a vCPU of Lambda is taken to be as fast as a core of the machine that was calibrated; below {DEFAULT_MEMORY} MB a \
             function has a share of one"
        ));
        assumptions.push(format!(
            "an environment takes {PLACE_SECONDS} s to come before its init, a direct call {CALL_SECONDS} s beyond the function, \
             unless a run is given to learn them from"
        ));
    }
    assumptions.push(format!(
        "a child of a Distributed Map takes {CHILD_SECONDS} s beyond the function and, if Standard, {TRANSITIONS} state \
         transitions; our client takes {:.2} ms a call (measured)",
        CLIENT_SECONDS * 1e3
    ));
    assumptions.push("no attempt fails, nothing is throttled, free tiers are used up".into());
    assumptions.push("input and output stay in the store for a month".into());
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
