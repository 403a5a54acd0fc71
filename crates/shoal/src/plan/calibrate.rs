//! Measuring what the engine takes on this machine, in some seconds: the model by length, then the function itself on real
//! records, alone and on all cores, then a process from its start.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shoal_dispatch::{Plan, RetryPolicy, process_batches};
use shoal_encoder::{MICRO_BATCH_TOKENS, Model, Session, Tokens};
use shoal_estimate::{Architecture, Calibration, Contention, Point};
use shoal_function::Runner;
use shoal_job::plan::{Request, plan};
use shoal_job::spec::Parameters;
use shoal_job::wire::Receipt;
use shoal_job::{Cancel, Receipts, RunDir};
use shoal_runners::EncoderRunner;

use crate::backend::BackendContext;
use crate::bench::made_up_records;
use crate::{BackendConfig, BackendKind, EngineSettings, Error, ModelSettings, Result, VERSION};

/// Lengths that are timed, as far as the model reads them.
const LENGTHS: [usize; 7] = [8, 16, 32, 64, 128, 256, 512];
/// A length is timed so often; the median counts.
const REPEATS: usize = 5;
/// Each time for so long at least …
const REPEAT_TIME: Duration = Duration::from_millis(30);
/// … and no more often than this allows, but once.
const LENGTH_TIME: Duration = Duration::from_millis(400);
/// Real records are worked on for about so long, on one core and on all.
const REAL_SECONDS: f64 = 1.5;
/// Records of a batch while calibrating: small, so that little more than needed is done.
const BATCH: u64 = 8;
/// A calibration does not need more batches than this, however short their records are.
const MOST_BATCHES: usize = 4_000;

/// Calibrates `model` on `texts`, which are of the kind that it is to work on.
///
/// # Errors
/// The engine or a folder for temporary files cannot be used, or `cancel` asks for the end.
pub(crate) fn calibrate(
    runner: &Arc<EncoderRunner>,
    settings: &ModelSettings,
    texts: &[String],
    cancel: &Cancel,
) -> Result<Calibration> {
    let (model, spec) = (runner.model(), runner.spec());
    let (points, spread) = points(model, runner.max_tokens());
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let mut calibration = Calibration {
        version: Calibration::VERSION,
        shoal: VERSION.into(),
        model: spec.reference.clone(),
        fingerprint: spec.fingerprint.clone(),
        precision: model.precision().to_string(),
        isa: model.isa().name().into(),
        architecture: architecture(),
        machine: machine(),
        unix_seconds: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
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
    let real = Real {
        runner,
        engine: &settings.engine,
        texts,
        cancel,
    };
    let alone = real.work(&calibration, BackendKind::Local, 1, REAL_SECONDS)?;
    let working = |receipts: &[Receipt]| {
        receipts
            .iter()
            .map(|receipt| {
                let timings = &receipt.timings;
                (timings.read + timings.stages.total()) / 1e3
            })
            .sum::<f64>()
    };
    let Sample {
        receipts,
        predicted_seconds,
    } = &alone;
    calibration.ratio = working(receipts) / predicted_seconds;
    calibration.records = receipts.iter().map(|receipt| receipt.records).sum();
    let beside: Vec<f64> = receipts
        .iter()
        .map(|receipt| {
            let timings = &receipt.timings;
            (timings.total - timings.read - timings.stages.total()).max(0.0) / 1e3
        })
        .collect();
    calibration.invocation_seconds = median(beside);
    calibration.side_by_side.push(Contention {
        functions: 1,
        slowdown: 1.0,
    });
    if cores > 1 {
        let together = real.work(&calibration, BackendKind::Local, cores, REAL_SECONDS)?;
        // What was predicted is by now what one function alone takes.
        let slowdown = working(&together.receipts) / together.predicted_seconds;
        calibration.side_by_side.push(Contention {
            functions: cores as u32,
            slowdown: slowdown.max(1.0),
        });
    }
    match real.work(&calibration, BackendKind::Process, 1, 0.0) {
        Ok(started) => {
            if let Some(first) = started.receipts.first() {
                calibration.init_seconds = first.timings.init / 1e3;
                calibration.memory_bytes = first.peak_memory_bytes.unwrap_or_default();
            }
        }
        Err(error) if cancel.is_cancelled() => return Err(error),
        // Users of the library may not have the worker program: then only opening the model is timed.
        Err(_) => {
            let started = Instant::now();
            settings.open()?;
            calibration.init_seconds = started.elapsed().as_secs_f64();
        }
    }
    Ok(calibration)
}

/// The time of a record in the model by its length, and how far repeated measurements lie apart.
pub(crate) fn points(model: &Arc<Model>, max_tokens: usize) -> (Vec<Point>, f64) {
    let mut lengths: Vec<usize> = LENGTHS.into_iter().filter(|&l| l < max_tokens).collect();
    lengths.push(max_tokens);
    let mut session = Session::new(model.clone());
    let mut spreads = Vec::new();
    let points = lengths
        .into_iter()
        .map(|length| {
            let records = (MICRO_BATCH_TOKENS / length).max(1);
            let micro_batch = made_up_records(model, length, records);
            let started = Instant::now();
            session.run(&micro_batch[..1]); // the first one warms the caches
            let mut times = vec![time(&mut session, &micro_batch)];
            while times.len() < REPEATS && started.elapsed() < LENGTH_TIME {
                times.push(time(&mut session, &micro_batch));
            }
            times.sort_by(f64::total_cmp);
            let middle = times[times.len() / 2];
            // The slowest is as often a neighbour as it is the engine.
            let slowest = times[times.len().saturating_sub(2)];
            spreads.push((slowest - times[0]) / 2.0 / middle);
            Point {
                tokens: length as u32,
                seconds: middle,
            }
        })
        .collect();
    (points, median(spreads))
}

/// Seconds of a record of the micro-batch.
fn time(session: &mut Session, micro_batch: &[Tokens]) -> f64 {
    let started = Instant::now();
    let mut records = 0;
    loop {
        session.run(micro_batch);
        records += micro_batch.len();
        let took = started.elapsed();
        if took >= REPEAT_TIME {
            return took.as_secs_f64() / records as f64;
        }
    }
}

/// The function at work on real records, in a run directory for the purpose.
struct Real<'a> {
    runner: &'a Arc<EncoderRunner>,
    engine: &'a EngineSettings,
    texts: &'a [String],
    cancel: &'a Cancel,
}

/// What was worked on.
struct Sample {
    receipts: Vec<Receipt>,
    /// What the model should take for it by length alone.
    predicted_seconds: f64,
}

impl Real<'_> {
    /// Works for about `seconds` on each of `concurrency` functions, on one batch at least.
    fn work(
        &self,
        calibration: &Calibration,
        backend: BackendKind,
        concurrency: usize,
        seconds: f64,
    ) -> Result<Sample> {
        let failed = |e| shoal_job::Error::storage("calibrate in", "a temporary folder", e);
        let folder = tempfile::tempdir().map_err(failed)?;
        let input = folder.path().join("texts.jsonl");
        let mut predicted = Vec::new();
        let mut lines = Vec::new();
        let enough = seconds * concurrency as f64;
        let mut sum = 0.0;
        let texts = self.texts.iter().map(String::as_str);
        // A job without texts still has a time: that of none.
        let texts = texts.chain([""].into_iter().take(usize::from(self.texts.is_empty())));
        for text in texts.cycle() {
            let is_whole = predicted.len() % BATCH as usize == 0;
            let batches = predicted.len() / BATCH as usize;
            if is_whole && batches >= concurrency && (sum >= enough || batches >= MOST_BATCHES) {
                break;
            }
            let tokens = self.runner.encode(text)?;
            let time = calibration.record_seconds(tokens.ids.len() as u32);
            predicted.push(time);
            sum += time;
            serde_json::to_writer(&mut lines, &serde_json::json!({ "text": text }))
                .expect("memory takes every line");
            lines.push(b'\n');
        }
        std::fs::File::create(&input)
            .and_then(|mut file| file.write_all(&lines))
            .map_err(failed)?;
        let run = RunDir::create(&folder.path().join("run"))?;
        let inputs = [input.display().to_string()];
        let request = Request {
            inputs: &inputs,
            spool: None,
            function: self.runner.spec().clone(),
            parameters: Parameters {
                batch_size: BATCH,
                columns: [("text".into(), "text".into())].into(),
                ..Parameters::default()
            },
            output: "-",
            version: VERSION,
            inputs_at: None,
        };
        let job = plan(&request, &run, self.cancel, &mut |_| {})?;
        let batches = run.batches(&job)?;
        let mut backend = BackendConfig::from(backend);
        backend.set_concurrency(Some(concurrency));
        let runner: Arc<dyn Runner> = self.runner.clone();
        let backend = backend.build(&BackendContext {
            run: &run,
            job: &job,
            batches: &batches,
            runner: &runner,
            engine: self.engine,
        })?;
        let work = Plan {
            run: &run,
            job: &job,
            batches: &batches,
            listed: None,
            timeout: None,
            retry: RetryPolicy::default(),
            stop_on_bad_record: false,
            speculation: None,
            budget: None,
        };
        let processed = process_batches(&work, backend.as_ref(), self.cancel, &mut |_| {});
        let processed = processed.map_err(|error| {
            Error::from_dispatch(error, "the calibration".into(), |_| String::new())
        })?;
        Ok(Sample {
            receipts: in_order(&processed.receipts),
            predicted_seconds: sum,
        })
    }
}

fn in_order(receipts: &Receipts) -> Vec<Receipt> {
    receipts.values().cloned().collect()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

/// This machine's.
pub(crate) fn architecture() -> Architecture {
    std::env::consts::ARCH.parse().unwrap_or(Architecture::X86)
}

/// The CPU, as the system names it.
fn machine() -> String {
    // Only Linux has the file.
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
