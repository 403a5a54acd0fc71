//! The paper's experiment: the same job as one long process and as many functions, over batch sizes.

use std::path::PathBuf;

use serde::Deserialize;
use shoal_estimate::{
    Approach, Architecture, Basis, BatchSize, Bill, Comparison, PaperBaseline, Prices, Usage,
};
use shoal_function::Runner;
use shoal_job::{Cancel, Event, Receipts, RunDir};

use crate::plan::candidates::{DEFAULT_MEMORY, DEFAULT_QUOTA, Simulated};
use crate::plan::{self, Candidate, PlanContext, Platform, Study};
use crate::{BackendKind, Error, PlanSettings, Result, Setting, Settings};
use shoal_report::billed_ms;

/// The batch sizes of the paper (arXiv 2502.12017).
pub const PAPER_BATCH_SIZES: [u64; 9] = [50, 100, 125, 200, 250, 333, 500, 625, 1000];
/// The region whose prices are taken where none is given.
const REGION: &str = "us-east-1";

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct CompareSettings {
    /// Inputs, model, engine, columns, place and store; the output is not kept.
    pub run: Settings,
    /// Batch sizes, in any order.
    pub batch_sizes: Vec<u64>,
    /// Whether runs on Lambda are simulated instead of executed.
    pub simulate: bool,
    /// Memory of the functions in MB by which times are billed, where no platform tells.
    pub memory_mb: Option<u32>,
    /// The region whose prices count, where no platform tells.
    pub region: Option<String>,
    /// Calibrations for playing runs, one an architecture.
    pub calibrations: Vec<PathBuf>,
    /// The architecture of the simulated functions.
    pub architecture: Option<Architecture>,
    /// What `tools/paper_baseline.py` measured.
    pub paper_baseline: Option<PathBuf>,
    /// The command that repeats it.
    pub command: String,
}

/// Compares the monolithic way with the parallel one at every batch size.
///
/// # Errors
/// As [`run`](crate::run()) and [`plan`](crate::plan()).
pub fn compare(
    settings: &CompareSettings,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Comparison> {
    check(settings)?;
    let mut sizes = settings.batch_sizes.clone();
    if sizes.is_empty() {
        sizes.extend(PAPER_BATCH_SIZES);
    }
    if sizes.contains(&0) {
        return Err(Error::setting(
            Setting::BatchSizes,
            "each must be at least 1",
        ));
    }
    sizes.sort_unstable();
    sizes.dedup();
    let prices = plan::prices(settings.run.limits.prices.as_deref())?;
    let mut comparison = if settings.simulate {
        simulated(settings, &sizes, &prices, cancel, emit)?
    } else {
        measured(settings, &sizes, &prices, cancel, emit)?
    };
    comparison.paper_baseline = settings
        .paper_baseline
        .as_ref()
        .map(|file| paper_baseline(file, settings, &prices))
        .transpose()?;
    Ok(comparison)
}

/// Plays every run on Lambda.
fn simulated(
    settings: &CompareSettings,
    sizes: &[u64],
    prices: &Prices,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Comparison> {
    let architecture = settings.architecture.unwrap_or(Architecture::X86);
    let run = &settings.run;
    let plan_settings = PlanSettings {
        inputs: run.inputs.clone(),
        model: run.model.clone(),
        parameters: run.parameters.clone(),
        architectures: vec![architecture],
        ..PlanSettings::default()
    };
    let given = plan::read_calibrations(&settings.calibrations)?;
    let study = Study::read(&plan_settings, cancel, emit)?;
    let mut assumptions = Vec::new();
    let calibrations = study.calibrations(
        &plan_settings,
        given,
        &[Platform::Lambda],
        cancel,
        &mut assumptions,
    )?;
    let wanted = calibrations
        .iter()
        .find(|known| known.architecture == architecture);
    let calibration = wanted.expect("the architecture that was asked for is calibrated");
    let region = settings.region.clone().unwrap_or_else(|| REGION.into());
    let ground = PlanContext {
        workload: &study.workload,
        group: study.group,
        calibration,
        prices,
        region: &region,
        quota: DEFAULT_QUOTA,
    };
    let concurrency = run
        .backend
        .concurrency()
        .map_or(DEFAULT_QUOTA, |functions| functions as u64);
    let memory_mb = settings.memory_mb.unwrap_or(DEFAULT_MEMORY);
    let mut rows = Vec::new();
    for &batch_size in sizes {
        let side = |concurrency| -> Result<(Approach, u64)> {
            let candidate = Candidate {
                platform: Platform::Lambda,
                batch_size,
                concurrency,
                memory_mb,
            };
            let Simulated {
                outcome,
                bill,
                batches,
                ..
            } = ground.simulate(&candidate)?;
            let side = Approach {
                seconds: outcome.seconds,
                function_seconds: outcome.billed_ms / 1e3,
                peak_concurrency: outcome.peak_concurrency,
                cold_starts: outcome.cold_starts,
                invocations: outcome.invocations,
                bill,
            };
            Ok((side, batches))
        };
        let (monolithic, batches) = side(1)?;
        let (parallel, _) = side(concurrency)?;
        rows.push(BatchSize {
            batch_size,
            batches,
            monolithic,
            parallel,
        });
    }
    plan::assume_lambda(calibration.platform.is_some(), &mut assumptions);
    Ok(Comparison {
        inputs: run.inputs.clone(),
        model: study.runner.spec().reference.clone(),
        precision: study.runner.model().precision().to_string(),
        isa: calibration.isa.clone(),
        records: study.workload.records,
        tokens: study.workload.tokens() as u64,
        place: format!("lambda, {memory_mb} MB, {}, {region}", architecture.name()),
        basis: Basis::Predicted,
        concurrency,
        assumptions,
        rows,
        paper_baseline: None,
        command: settings.command.clone(),
    })
}

/// Makes every run, one after the other.
fn measured(
    settings: &CompareSettings,
    sizes: &[u64],
    prices: &Prices,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Comparison> {
    let backend = &settings.run.backend;
    if backend.detaches() {
        let reason = "a comparison waits for its runs";
        return Err(Error::setting(Setting::Detach, reason));
    }
    let region = settings.region.clone().unwrap_or_else(|| REGION.into());
    let memory_mb = settings.memory_mb.unwrap_or(DEFAULT_MEMORY);
    let mut rows = Vec::new();
    let mut facts = None;
    for &batch_size in sizes {
        let mut side = |concurrency: Option<usize>| -> Result<(Approach, u64)> {
            let ran = Ran::make(settings, batch_size, concurrency, cancel, emit)?;
            let bill = match ran.bill.clone() {
                Some(bill) => bill,
                None => as_lambda_bills(&ran.receipts, memory_mb, &region, prices)?,
            };
            let side = Approach {
                seconds: ran.seconds,
                function_seconds: ran.receipts.values().map(billed_ms).sum::<f64>() / 1e3,
                peak_concurrency: ran.concurrency,
                cold_starts: ran.receipts.values().filter(|receipt| receipt.cold).count() as u64,
                invocations: ran.receipts.len() as u64,
                bill: Some(bill),
            };
            let batches = ran.batches;
            facts = Some(ran);
            Ok((side, batches))
        };
        let (monolithic, batches) = side(Some(1))?;
        let (parallel, _) = side(backend.concurrency())?;
        rows.push(BatchSize {
            batch_size,
            batches,
            monolithic,
            parallel,
        });
    }
    let facts = facts.expect("there is a batch size");
    let mut assumptions = Vec::new();
    if facts.bill.is_none() {
        assumptions.push(format!(
            "the times are billed as Lambda would bill the functions, at {memory_mb} MB in {region}; no price of this \
             machine is given"
        ));
    }
    Ok(Comparison {
        inputs: settings.run.inputs.clone(),
        model: facts.model.clone(),
        precision: facts.precision.clone(),
        isa: facts.isa.clone(),
        records: facts.records,
        tokens: facts.tokens,
        place: backend.name().to_owned(),
        basis: Basis::Measured,
        concurrency: facts.concurrency,
        assumptions,
        rows,
        paper_baseline: None,
        command: settings.command.clone(),
    })
}

/// What a run came to.
struct Ran {
    seconds: f64,
    receipts: Receipts,
    bill: Option<Bill>,
    batches: u64,
    concurrency: u64,
    records: u64,
    tokens: u64,
    model: String,
    precision: String,
    isa: String,
}

impl Ran {
    /// Makes a run from its start, in a place of its own, and leaves nothing of it.
    fn make(
        settings: &CompareSettings,
        batch_size: u64,
        concurrency: Option<usize>,
        cancel: &Cancel,
        emit: &mut dyn FnMut(&Event),
    ) -> Result<Self> {
        let folder = tempfile::tempdir()
            .map_err(|e| shoal_job::Error::storage("compare in", "a temporary folder", e))?;
        let mut run = settings.run.clone();
        run.output = folder.path().join("labels.csv").display().to_string();
        run.format = None;
        run.parameters.batch_size = batch_size;
        run.backend.set_concurrency(concurrency);
        run.fresh = true;
        // In a store the output's name, which is new, makes a run of its own.
        if run.store.is_none() {
            run.run_dir = Some(folder.path().join("run"));
        }
        let summary = crate::run(&run, cancel, emit)?;
        let dir = RunDir::open(std::path::Path::new(&summary.run_dir))?;
        let receipts = dir.receipts()?;
        if run.store.is_some() {
            crate::remove_run(&dir)?;
        }
        Ok(Self {
            seconds: summary.dispatch_seconds,
            receipts,
            bill: summary.cost,
            batches: summary.batches,
            concurrency: (summary.concurrency as u64).min(summary.batches.max(1)),
            records: summary.records,
            tokens: summary.units,
            model: summary.model,
            precision: summary.precision.unwrap_or_default(),
            isa: summary.isa.join(", "),
        })
    }
}

/// What Lambda would bill for these functions.
fn as_lambda_bills(
    receipts: &Receipts,
    memory_mb: u32,
    region: &str,
    prices: &Prices,
) -> Result<Bill> {
    let gb = f64::from(memory_mb) / 1024.0;
    let seconds = receipts.values().map(billed_ms).sum::<f64>() / 1e3;
    let usage = Usage {
        compute_gb_s: seconds * gb,
        requests: receipts.len() as f64,
        ..Usage::none(region, Architecture::X86, Basis::Predicted)
    };
    usage
        .bill(prices)
        .map_err(|e| Error::Settings(e.to_string()))
}

/// Reads what was measured of the paper's own way, and prices it.
fn paper_baseline(
    file: &PathBuf,
    settings: &CompareSettings,
    prices: &Prices,
) -> Result<PaperBaseline> {
    /// As `tools/paper_baseline.py` writes it.
    #[derive(Deserialize)]
    struct Measured {
        runtime: String,
        records: u64,
        batch_size: u64,
        seconds_per_record: f64,
        start_seconds: f64,
        shoal_seconds_per_record: f64,
    }
    let failed =
        |reason: String| Error::Settings(format!("failed to read {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    let measured: Measured = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let times = [
        measured.seconds_per_record,
        measured.start_seconds,
        measured.shoal_seconds_per_record,
    ];
    if !times.iter().all(|time| time.is_finite() && *time >= 0.0) || measured.batch_size == 0 {
        return Err(failed("it has a time that is no number of seconds".into()));
    }
    let region = settings.region.as_deref().unwrap_or(REGION);
    let gb = f64::from(settings.memory_mb.unwrap_or(DEFAULT_MEMORY)) / 1024.0;
    let usd_per_million = |seconds: f64| -> Result<f64> {
        let usage = Usage {
            compute_gb_s: 1e6 * seconds * gb,
            requests: 1e6 / measured.batch_size as f64,
            ..Usage::none(region, Architecture::X86, Basis::Predicted)
        };
        let bill = usage
            .bill(prices)
            .map_err(|e| Error::Settings(e.to_string()))?;
        Ok(bill.usd())
    };
    Ok(PaperBaseline {
        usd_per_million: usd_per_million(measured.seconds_per_record)?,
        shoal_usd_per_million: usd_per_million(measured.shoal_seconds_per_record)?,
        runtime: measured.runtime,
        records: measured.records,
        batch_size: measured.batch_size,
        seconds_per_record: measured.seconds_per_record,
        start_seconds: measured.start_seconds,
        shoal_seconds_per_record: measured.shoal_seconds_per_record,
    })
}

/// Which backends a comparison can be measured on: those that have a monolithic way, one function at a time.
fn check(settings: &CompareSettings) -> Result<()> {
    let backend = settings.run.backend.kind();
    if settings.simulate && backend != BackendKind::Local && backend != BackendKind::Lambda {
        let reason = format!("runs are simulated on Lambda, not on the backend {backend}");
        return Err(Error::setting(Setting::Simulate, reason));
    }
    if settings.simulate {
        return Ok(());
    }
    match backend {
        BackendKind::Array => Err(Error::setting(
            Setting::Backend,
            "a comparison cannot start the workers of an array job; choose another backend",
        )),
        _ => Ok(()),
    }
}
