//! Calibrates a model on this machine in a few seconds: the model by length, then the function on real records, alone and on
//! all cores, then the start of a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use shoal_dispatch::{Plan, process_batches};
use shoal_encoder::{MICRO_BATCH_TOKENS, Model, Session, Tokens};
use shoal_estimate::{Calibration, Contention, Point};
use shoal_function::Runner;
use shoal_job::Cancel;
use shoal_job::spec::Parameters;
use shoal_job::unix_ms;
use shoal_job::wire::Receipt;
use shoal_runners::EncoderRunner;

use super::median;
use crate::backend::BackendContext;
use crate::bench::random_records;
use crate::inputs::{Inputs, SpoolFolder};
use crate::machine::{architecture, cores};
use crate::scratch::ScratchRun;
use crate::{BackendConfig, BackendKind, EngineSettings, ModelSettings, Result, VERSION, folders};

/// Lengths to time, up to the model's limit.
const LENGTHS: [usize; 7] = [8, 16, 32, 64, 128, 256, 512];
/// Repeated measurements of a length.
const REPEATS: usize = 5;
/// The shortest time of a measurement …
const REPEAT_TIME: Duration = Duration::from_millis(30);
/// … and the time after which a length is not measured again.
const LENGTH_TIME: Duration = Duration::from_millis(400);
/// Approximate time to process real records, on one core and on all.
const REAL_SECONDS: f64 = 1.5;
/// Records per batch; few, so that the time is met closely.
const BATCH_SIZE: usize = 8;
/// The highest number of batches.
const MAX_BATCHES: usize = 4_000;

/// Calibrates a model on `texts` of the job.
///
/// # Errors
/// The engine or a temporary folder cannot be used, or the calibration is cancelled.
pub(super) fn calibrate(
    runner: &Arc<EncoderRunner>,
    settings: &ModelSettings,
    texts: &[String],
    cancel: &Cancel,
) -> Result<Calibration> {
    let (model, spec) = (runner.model(), runner.spec());
    let (points, spread) = points(model, runner.max_tokens());
    let mut calibration = Calibration {
        version: Calibration::VERSION,
        shoal: VERSION.into(),
        model: spec.reference.clone(),
        fingerprint: spec.fingerprint.clone(),
        precision: model.precision(),
        isa: model.isa().target(),
        architecture: architecture(),
        machine: cpu(),
        unix_seconds: unix_ms() / 1000,
        points,
        ratio: 1.0,
        records: 0,
        spread,
        invocation_seconds: 0.0,
        init_seconds: 0.0,
        memory_bytes: 0,
        side_by_side: Vec::new(),
        platform: None,
    };
    let function = Function {
        runner,
        engine: &settings.engine,
        texts,
        cancel,
    };
    let alone = function.process(&calibration, BackendKind::Local, 1, REAL_SECONDS)?;
    calibration.ratio = alone.slowdown();
    calibration.records = alone.receipts.iter().map(|receipt| receipt.records).sum();
    let overheads = alone.receipts.iter();
    let overheads =
        overheads.map(|receipt| (receipt.timings.total / 1e3 - work_seconds(receipt)).max(0.0));
    calibration.invocation_seconds = median(overheads).unwrap_or_default();
    let contention = |functions: usize, slowdown| Contention {
        functions: functions as u32,
        slowdown,
    };
    calibration.side_by_side.push(contention(1, 1.0));
    if cores() > 1 {
        // By now, the predicted time is that of a single function.
        let all = function.process(&calibration, BackendKind::Local, cores(), REAL_SECONDS)?;
        let slowdown = all.slowdown().max(1.0);
        calibration.side_by_side.push(contention(cores(), slowdown));
    }
    match function.process(&calibration, BackendKind::Process, 1, 0.0) {
        Ok(sample) => {
            if let Some(first) = sample.receipts.first() {
                calibration.init_seconds = first.timings.init / 1e3;
                calibration.memory_bytes = first.peak_memory_bytes.unwrap_or_default();
            }
        }
        Err(error) if cancel.is_cancelled() => return Err(error),
        // A program that uses the library may lack the worker program: only opening the model is timed.
        Err(_) => {
            let started = Instant::now();
            settings.open()?;
            calibration.init_seconds = started.elapsed().as_secs_f64();
        }
    }
    Ok(calibration)
}

/// The time of a record in the model by its length, and the relative spread of repeated measurements.
pub(super) fn points(model: &Arc<Model>, max_tokens: usize) -> (Vec<Point>, f64) {
    let mut lengths: Vec<usize> = LENGTHS.into_iter().filter(|&l| l < max_tokens).collect();
    lengths.push(max_tokens);
    let mut session = Session::new(model.clone());
    let mut spreads = Vec::new();
    let mut points = Vec::new();
    for length in lengths {
        let records = (MICRO_BATCH_TOKENS / length).max(1);
        let micro_batch = random_records(model, length, records);
        let started = Instant::now();
        session.run(&micro_batch[..1]); // Warms the caches.
        let mut times = vec![time(&mut session, &micro_batch)];
        while times.len() < REPEATS && started.elapsed() < LENGTH_TIME {
            times.push(time(&mut session, &micro_batch));
        }
        times.sort_by(f64::total_cmp);
        let middle = times[times.len() / 2];
        // The slowest measurement is often disturbed by other processes, so it is not used.
        let slow = times[times.len().saturating_sub(2)];
        spreads.push((slow - times[0]) / 2.0 / middle);
        points.push(Point {
            tokens: length as u32,
            seconds: middle,
        });
    }
    (points, median(spreads).unwrap_or_default())
}

/// Seconds per record of the micro-batch.
fn time(session: &mut Session, micro_batch: &[Tokens]) -> f64 {
    let started = Instant::now();
    let mut records = 0;
    loop {
        session.run(micro_batch);
        records += micro_batch.len();
        let elapsed = started.elapsed();
        if elapsed >= REPEAT_TIME {
            return elapsed.as_secs_f64() / records as f64;
        }
    }
}

/// Seconds of reading and of the stages.
pub(super) fn work_seconds(receipt: &Receipt) -> f64 {
    let timings = &receipt.timings;
    (timings.read + timings.stages.total()) / 1e3
}

/// A function that processes real records in a temporary run directory.
struct Function<'a> {
    runner: &'a Arc<EncoderRunner>,
    engine: &'a EngineSettings,
    texts: &'a [String],
    cancel: &'a Cancel,
}

/// Processed batches.
struct Sample {
    receipts: Vec<Receipt>,
    /// The time that the calibration predicted for them.
    predicted_seconds: f64,
}

impl Sample {
    /// Measured time relative to the predicted time.
    fn slowdown(&self) -> f64 {
        self.receipts.iter().map(work_seconds).sum::<f64>() / self.predicted_seconds
    }
}

impl Function<'_> {
    /// Processes texts for about `seconds` on each of `concurrency` functions, at least one batch on each.
    fn process(
        &self,
        calibration: &Calibration,
        backend: BackendKind,
        concurrency: usize,
        seconds: f64,
    ) -> Result<Sample> {
        let (mut records, mut predicted_seconds) = (0, 0.0);
        let mut lines = String::new();
        // A job without texts is timed on an empty one.
        let empty = self.texts.is_empty().then_some("");
        let texts = self.texts.iter().map(String::as_str).chain(empty);
        for text in texts.cycle() {
            let is_enough = predicted_seconds >= seconds * concurrency as f64
                || records >= MAX_BATCHES * BATCH_SIZE;
            let has_all = records % BATCH_SIZE == 0 && records / BATCH_SIZE >= concurrency;
            if has_all && is_enough {
                break;
            }
            let tokens = self.runner.encode(text)?;
            predicted_seconds += calibration.record_seconds(tokens.ids.len() as u32);
            records += 1;
            lines += &format!("{}\n", json!({ "text": text }));
        }
        let folder = folders::temporary()?;
        let input = folder.path().join("texts.jsonl");
        std::fs::write(&input, lines)
            .map_err(|e| shoal_job::Error::storage("calibrate in", "a temporary folder", e))?;
        let parameters = Parameters {
            batch_size: BATCH_SIZE as u64,
            columns: [("text".into(), "text".into())].into(),
            ..Parameters::default()
        };
        let inputs = [input.display().to_string()];
        let (spec, cancel) = (self.runner.spec(), self.cancel);
        let inputs = Inputs::find(&inputs, None, SpoolFolder::temporary, cancel)?;
        let scratch = ScratchRun::plan(&inputs, spec, parameters, cancel, &mut |_| {})?;
        let ScratchRun {
            run, job, batches, ..
        } = &scratch;
        let mut backend = BackendConfig::from(backend);
        backend.set_concurrency(Some(concurrency));
        let runner: Arc<dyn Runner> = self.runner.clone();
        let backend = backend.settings().build(&BackendContext {
            run,
            job,
            batches,
            runner: &runner,
            engine: self.engine,
        })?;
        let plan = Plan::new(run, job, batches);
        let processed = process_batches(&plan, backend.as_ref(), cancel, &mut |_| {})?;
        Ok(Sample {
            receipts: processed.receipts.values().cloned().collect(),
            predicted_seconds,
        })
    }
}

/// The name of this machine's CPU.
fn cpu() -> String {
    // Only Linux has this file.
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':'));
    name.map_or(std::env::consts::ARCH, |(_, name)| name.trim())
        .to_owned()
}
