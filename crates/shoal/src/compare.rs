//! The paper's experiment: the same job as one long process and as many functions, for several batch sizes.

use std::path::{Path, PathBuf};

use shoal_estimate::{Approach, Architecture, Basis, BatchSize, Comparison, PaperBaseline, Prices};
use shoal_function::Runner;
use shoal_job::{Cancel, Event, Receipts, RunDir};
use shoal_report::{billed_ms, engine};

use crate::cost::{DEFAULT_REGION, PricedFunction, prices};
use crate::plan::{self, Candidate, DEFAULT_MEMORY, DEFAULT_QUOTA, Study};
use crate::platform::Platform;
use crate::{Error, Result, Setting, Settings, Summary, folders};

/// The batch sizes of the paper (arXiv 2502.12017).
pub const PAPER_BATCH_SIZES: [u64; 9] = [50, 100, 125, 200, 250, 333, 500, 625, 1000];

/// The settings of a comparison.
#[derive(Debug, Clone)]
pub struct CompareSettings {
    /// Inputs, model, engine, columns, backend and store; the output is not kept.
    pub run: Settings,
    /// Batch sizes in any order; those of the paper if empty.
    pub batch_sizes: Vec<u64>,
    /// Whether to simulate runs on Lambda instead of executing them.
    pub simulate: bool,
    /// Memory of the billed functions in MB, if no platform reports it.
    pub memory_mb: Option<u32>,
    /// The region whose prices apply, if no platform reports it.
    pub region: Option<String>,
    /// Calibrations for simulated runs, at most one for each architecture.
    pub calibrations: Vec<PathBuf>,
    /// The architecture of simulated functions.
    pub architecture: Option<Architecture>,
    /// The measurements of `tools/paper_baseline.py`.
    pub paper_baseline: Option<PathBuf>,
    /// The command that repeats the comparison.
    pub command: String,
}

impl CompareSettings {
    fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(DEFAULT_REGION)
    }

    fn memory_mb(&self) -> u32 {
        self.memory_mb.unwrap_or(DEFAULT_MEMORY)
    }

    /// The function whose prices apply if no platform reports one.
    fn function<'a>(&'a self, prices: &'a Prices) -> PricedFunction<'a> {
        PricedFunction {
            prices,
            region: self.region(),
            architecture: Architecture::X86,
            memory_mb: self.memory_mb(),
        }
    }
}

/// Compares the monolithic approach with the parallel one for every batch size.
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
    sizes.sort_unstable();
    sizes.dedup();
    let prices = prices(settings.run.limits.prices.as_deref())?;
    let mut comparison = if settings.simulate {
        simulate(settings, &sizes, &prices, cancel, emit)?
    } else {
        measure(settings, &sizes, &prices, cancel, emit)?
    };
    if let Some(file) = &settings.paper_baseline {
        comparison.paper_baseline = Some(paper_baseline(file, settings, &prices)?);
    }
    Ok(comparison)
}

/// Simulates every run on Lambda.
fn simulate(
    settings: &CompareSettings,
    sizes: &[u64],
    prices: &Prices,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Comparison> {
    let architecture = settings.architecture.unwrap_or(Architecture::X86);
    let run = &settings.run;
    let given = plan::read_calibrations(&settings.calibrations)?;
    let study = Study::read(&run.inputs, &run.model, &run.parameters, cancel, emit)?;
    let mut assumptions = Vec::new();
    let wanted = vec![architecture];
    let calibration = &study.calibrations(wanted, &given, cancel, &mut assumptions)?[0];
    let (region, memory_mb) = (settings.region(), settings.memory_mb());
    let context = study.context(calibration, prices, region, DEFAULT_QUOTA);
    let concurrency = run.backend.concurrency();
    let concurrency = concurrency.map_or(DEFAULT_QUOTA, |count| count as u64);
    let mut rows: Vec<BatchSize> = Vec::new();
    for &batch_size in sizes {
        if add_same(&mut rows, batch_size) {
            continue;
        }
        let approach = |concurrency| -> Result<(Approach, u64)> {
            let simulated = context.simulate(&Candidate {
                platform: Platform::Lambda,
                batch_size,
                concurrency,
                memory_mb,
            })?;
            let outcome = simulated.outcome;
            let approach = Approach {
                seconds: outcome.seconds,
                function_seconds: outcome.billed_ms / 1e3,
                peak_concurrency: outcome.peak_concurrency,
                cold_starts: outcome.cold_starts,
                invocations: outcome.invocations,
                bill: Some(simulated.bill),
            };
            Ok((approach, simulated.batches))
        };
        let (monolithic, batches) = approach(1)?;
        rows.push(BatchSize {
            batch_size,
            same_batches: Vec::new(),
            batches,
            monolithic,
            parallel: approach(concurrency)?.0,
        });
    }
    plan::assume_lambda(calibration.platform, &mut assumptions);
    Ok(Comparison {
        inputs: run.inputs.clone(),
        function: study.runner.spec().reference.clone(),
        engine: engine(Some(calibration.precision.name()), calibration.isa.name()),
        records: study.workload.records,
        unit: study.runner.spec().unit.clone(),
        units: study.workload.tokens() as u64,
        place: format!("lambda, {memory_mb} MB, {architecture}, {region}"),
        basis: Basis::Predicted,
        concurrency,
        assumptions,
        rows,
        paper_baseline: None,
        command: settings.command.clone(),
    })
}

/// Executes every run, one after the other.
fn measure(
    settings: &CompareSettings,
    sizes: &[u64],
    prices: &Prices,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Comparison> {
    let function = settings.function(prices);
    let mut rows: Vec<BatchSize> = Vec::new();
    let mut last = None;
    for &batch_size in sizes {
        if add_same(&mut rows, batch_size) {
            continue;
        }
        let mut approach = |concurrency: Option<usize>| -> Result<(Approach, Summary)> {
            let (summary, receipts) = execute(settings, batch_size, concurrency, cancel, emit)?;
            let invocations = receipts.len() as u64;
            let seconds = receipts.values().map(billed_ms).sum::<f64>() / 1e3;
            let bill = match &summary.cost {
                Some(bill) => bill.clone(),
                None => {
                    let calls = invocations as f64;
                    function.bill(&function.usage(Basis::Predicted, calls, seconds, 0.0))?
                }
            };
            let approach = Approach {
                seconds: summary.dispatch_seconds,
                function_seconds: seconds,
                peak_concurrency: concurrency_of(&summary),
                cold_starts: receipts.values().filter(|receipt| receipt.cold).count() as u64,
                invocations,
                bill: Some(bill),
            };
            Ok((approach, summary))
        };
        let (monolithic, _) = approach(Some(1))?;
        let (parallel, summary) = approach(settings.run.backend.concurrency())?;
        rows.push(BatchSize {
            batch_size,
            same_batches: Vec::new(),
            batches: summary.batches,
            monolithic,
            parallel,
        });
        last = Some(summary);
    }
    let summary = last.expect("there is a batch size");
    let mut assumptions = Vec::new();
    if summary.cost.is_none() {
        assumptions.push(format!(
            "the functions are billed as Lambda would bill them, at {} MB in {}; this machine has no price",
            function.memory_mb, function.region
        ));
    }
    let precision = summary.precision.map(|precision| precision.to_string());
    Ok(Comparison {
        inputs: settings.run.inputs.clone(),
        concurrency: concurrency_of(&summary),
        function: summary.model,
        engine: engine(precision.as_deref(), &summary.isa.join(", ")),
        records: summary.records,
        unit: summary.unit,
        units: summary.units,
        place: settings.run.backend.name().to_owned(),
        basis: Basis::Measured,
        assumptions,
        rows,
        paper_baseline: None,
        command: settings.command.clone(),
    })
}

/// Adds a batch size to the last row, if that is one batch of all records; larger sizes give the same one.
fn add_same(rows: &mut [BatchSize], batch_size: u64) -> bool {
    match rows.last_mut().filter(|last| last.batches <= 1) {
        Some(last) => {
            last.same_batches.push(batch_size);
            true
        }
        None => false,
    }
}

fn concurrency_of(summary: &Summary) -> u64 {
    (summary.concurrency as u64).min(summary.batches.max(1))
}

/// Executes a new run, and deletes it.
fn execute(
    settings: &CompareSettings,
    batch_size: u64,
    concurrency: Option<usize>,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<(Summary, Receipts)> {
    let folder = folders::temporary()?;
    let mut run = settings.run.clone();
    run.output = folder.path().join("labels.csv").display().to_string();
    run.format = None;
    run.parameters.batch_size = batch_size;
    run.backend.set_concurrency(concurrency);
    run.fresh = true;
    // In a store, the new name of the output makes a new run.
    if run.store.is_none() {
        run.run_dir = Some(folder.path().join("run"));
    }
    let summary = crate::run(&run, cancel, emit)?;
    let dir = RunDir::open(Path::new(&summary.run_dir))?;
    let receipts = dir.receipts()?;
    if run.store.is_some() {
        crate::remove_run(&dir)?;
    }
    Ok((summary, receipts))
}

/// Reads the measurements of `tools/paper_baseline.py`, and prices them.
fn paper_baseline(
    file: &Path,
    settings: &CompareSettings,
    prices: &Prices,
) -> Result<PaperBaseline> {
    let failed =
        |reason: String| Error::Settings(format!("failed to read {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    let measured: PaperBaseline = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    let times = [
        measured.seconds_per_record,
        measured.start_seconds,
        measured.shoal_seconds_per_record,
    ];
    if !times.iter().all(|time| time.is_finite() && *time >= 0.0) || measured.batch_size == 0 {
        return Err(failed("it contains invalid times or batch sizes".into()));
    }
    let function = settings.function(prices);
    let calls = 1e6 / measured.batch_size as f64;
    let usd_per_million = |seconds: f64| -> Result<f64> {
        let usage = function.usage(Basis::Predicted, calls, 1e6 * seconds, 0.0);
        Ok(function.bill(&usage)?.usd())
    };
    Ok(PaperBaseline {
        usd_per_million: usd_per_million(measured.seconds_per_record)?,
        shoal_usd_per_million: usd_per_million(measured.shoal_seconds_per_record)?,
        ..measured
    })
}

fn check(settings: &CompareSettings) -> Result<()> {
    let wrong = |setting, reason: String| Err(Error::setting(setting, reason));
    if settings.batch_sizes.contains(&0) {
        return wrong(Setting::BatchSizes, "each must be at least 1".into());
    }
    let backend = &settings.run.backend;
    if settings.simulate {
        // The default backend stands for none.
        let platforms = backend.settings().platforms();
        if backend.settings().is_in_process() || platforms == [Platform::Lambda] {
            return Ok(());
        }
        let reason = format!(
            "runs are simulated on Lambda, not on the backend {}",
            backend.name()
        );
        return wrong(Setting::Simulate, reason);
    }
    if !backend.settings().has_workers() {
        let reason = "a comparison cannot start the workers of this backend; choose another one";
        return wrong(Setting::Backend, reason.into());
    }
    if backend.settings().detaches() {
        return wrong(Setting::Detach, "a comparison waits for its runs".into());
    }
    Ok(())
}
