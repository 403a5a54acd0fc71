//! A run from its start to its end: plan, dispatch, collect.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_dispatch::{Backend, DispatchError, Local, RetryPolicy, Work};
use shoal_encoder::{Model, Objective};
use shoal_function::Function;
use shoal_job::collect::{Destination, collect, collect_dead_letters, damaged};
use shoal_job::input::{Found, locate};
use shoal_job::plan::{Request, check_same, plan};
use shoal_job::store::{Location, is_url};
use shoal_job::wire::{Invocation, Receipt};
use shoal_job::{Batch, Cancel, Event, Job, RunDir};

use crate::model::Source;
use crate::spool::spool;
use crate::summary::Clock;
use crate::{Error, OnError, Result, Settings, Summary, VERSION, runs};

/// Standard input, among inputs.
const STDIN: &str = "-";

/// Runs a job, or goes on with it where an earlier call was cut short: labels every record of the inputs.
///
/// `tell` hears of every step. The call blocks, and must not be made from within an asynchronous task.
///
/// # Errors
/// An [`Error`], whose message says what to do. What was finished stays in the run directory, and nothing stands under
/// the output's name that was not there before.
pub fn run(settings: &Settings, cancel: &Cancel, tell: &mut dyn FnMut(&Event)) -> Result<Summary> {
    let started = Instant::now();
    if settings.inputs.is_empty() {
        return Err(Error::Settings(
            "failed to start: name an input, or - for standard input".into(),
        ));
    }
    let (destination, format) = Destination::parse(&settings.output, settings.format)?;
    let mut parameters = settings.parameters.clone();
    parameters.output_format = format;
    let concurrency = concurrency(settings.concurrency)?;
    let inputs = absolute(&settings.inputs)?;
    let spool = inputs
        .iter()
        .any(|input| input == STDIN)
        .then(|| spool(cancel))
        .transpose()?;
    let spooled = spool.as_ref().map(|spooled| &spooled.spool);
    // What is not there is better told before the model is opened than after.
    let found = locate(&inputs, parameters.input_format, spooled)?;
    check_apart(&found, &destination)?;
    let source = Source::find(settings.model.as_deref())?;
    let (model, spec) = source.open(parameters.max_tokens)?;
    check_parameters(settings, &model)?;
    let request = Request {
        inputs: &inputs,
        spool: spooled,
        model: spec,
        parameters,
        output: &destination.name(),
        version: VERSION,
    };
    let (run, lock, job) = open_run(settings, &request)?;
    let is_new = job.is_none();
    let mut tell = Teller::new(&run, tell)?;
    let planned = destination.check(&run.name()).and_then(|()| match job {
        Some(job) => run.batches(&job).map(|batches| (job, batches)),
        None => {
            tell.tell(Event::Planning { records: 0 });
            plan(&request, &run, cancel, &mut |records| {
                tell.tell(Event::Planning { records })
            })
        }
    });
    let (job, batches) = planned.inspect_err(|_| {
        if is_new && settings.run_dir.is_none() {
            // There is nothing to go on with, so it is not left in the list of runs. Best effort: the error that counts
            // is already on its way.
            let _ = run.clear();
            let _ = std::fs::remove_dir_all(run.path());
        }
    })?;
    drop(spool);
    let stage = Stage {
        run,
        job,
        batches,
        model,
        destination,
        concurrency,
        on_error: settings.on_error,
    };
    let summary = stage.finish(started, cancel, &mut tell);
    drop(lock);
    summary
}

/// Goes on with a run by its directory, with all that it was planned with.
///
/// `output` and `concurrency` may differ from the first start's.
///
/// # Errors
/// As [`run`].
pub fn resume(
    run: RunDir,
    output: Option<&str>,
    concurrency_wanted: Option<usize>,
    on_error: OnError,
    cancel: &Cancel,
    tell: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let started = Instant::now();
    let lock = run.lock()?;
    let Some(job) = run.job()? else {
        return Err(Error::NoSuchRun {
            name: run.name(),
            reason: "its planning was cut short; run the command that started it again".into(),
        });
    };
    let output = output.unwrap_or(&job.output);
    let (destination, format) = Destination::parse(output, Some(job.parameters.output_format))?;
    let mut parameters = job.parameters.clone();
    parameters.output_format = format;
    let source = Source::find(Some(&job.model.reference))?;
    let (model, spec) = source.open(parameters.max_tokens)?;
    // Standard input cannot be given again, and is not needed again: the run has its copy.
    let kept = |input: &&String| *input != STDIN;
    let inputs: Vec<_> = job.inputs.iter().filter(kept).cloned().collect();
    let mut as_planned = job.clone();
    as_planned.sources.retain(|source| source.uri != STDIN);
    let request = Request {
        inputs: &inputs,
        spool: None,
        model: spec,
        parameters,
        output,
        version: VERSION,
    };
    check_same(&as_planned, &request, &run)?;
    destination.check(&run.name())?;
    let mut tell = Teller::new(&run, tell)?;
    let batches = run.batches(&job)?;
    let concurrency = concurrency(concurrency_wanted)?;
    let stage = Stage {
        run,
        job,
        batches,
        model,
        destination,
        concurrency,
        on_error,
    };
    let summary = stage.finish(started, cancel, &mut tell);
    drop(lock);
    summary
}

fn concurrency(wanted: Option<usize>) -> Result<usize> {
    match wanted {
        Some(0) => Err(Error::Settings("--concurrency must be at least 1".into())),
        Some(wanted) => Ok(wanted),
        None => Ok(std::thread::available_parallelism().map_or(1, Into::into)),
    }
}

/// Inputs that mean the same wherever the command is called.
fn absolute(inputs: &[String]) -> Result<Vec<String>> {
    inputs
        .iter()
        .map(|input| {
            if input.is_empty() {
                return Err(Error::Settings(
                    "failed to start: the name of an input is empty".into(),
                ));
            }
            if input == STDIN || is_url(input) {
                return Ok(input.clone());
            }
            std::path::absolute(Path::new(input))
                .map(|path| path.display().to_string())
                .map_err(|e| shoal_job::Error::storage("find", input, e).into())
        })
        .collect()
}

/// An output that stands there already is replaced, which must not happen to an input, whatever its path is written like.
fn check_apart(inputs: &[Found], output: &Destination) -> Result<()> {
    let (Destination::File(path) | Destination::Folder(path)) = output else {
        return Ok(());
    };
    let Ok(path) = path.canonicalize() else {
        return Ok(()); // nothing is there yet
    };
    let is_replaced = |found: &&Found| match &found.location {
        Location::Local(input) => input
            .canonicalize()
            .is_ok_and(|input| input.starts_with(&path)),
        Location::Remote(_) => false,
    };
    match inputs.iter().find(is_replaced) {
        Some(found) => Err(Error::Settings(format!(
            "failed to start: the output {} would replace the input {}; name another output",
            output.name(),
            found.uri
        ))),
        None => Ok(()),
    }
}

/// Options that would have no effect are errors.
fn check_parameters(settings: &Settings, model: &Model) -> Result<()> {
    let parameters = &settings.parameters;
    if let Some(threshold) = parameters.threshold {
        if model.objective() != Objective::MultiLabel {
            return Err(Error::Settings(
                "--threshold is for multi-label models; this model gives exactly one label".into(),
            ));
        }
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Error::Settings(format!(
                "--threshold {threshold} is not between 0 and 1"
            )));
        }
    }
    if parameters.label_column.is_some() && model.objective() != Objective::SingleLabel {
        return Err(Error::Settings(
            "--label-column compares single labels; this model gives several, or a number".into(),
        ));
    }
    Ok(())
}

/// The run directory of `settings`, locked, with the job that it holds if it is the same one.
fn open_run(
    settings: &Settings,
    request: &Request<'_>,
) -> Result<(RunDir, shoal_job::run_dir::RunLock, Option<Job>)> {
    if let Some(path) = &settings.run_dir {
        if path.to_str().is_some_and(is_url) {
            return Err(Error::Settings(format!(
                "failed to use --run-dir {}: run directories lie on this machine",
                path.display()
            )));
        }
        let run = RunDir::create(path)?;
        if !run.is_ours()? {
            return Err(Error::Settings(format!(
                "failed to use --run-dir {}: the folder holds other files; name an empty or new folder",
                path.display()
            )));
        }
        let lock = run.lock()?;
        if settings.fresh {
            run.clear()?;
        }
        let job = run.job()?;
        match &job {
            Some(job) => check_same(job, request, &run)?,
            // What a planning that was cut short has left.
            None => run.clear()?,
        }
        return Ok((run, lock, job));
    }
    let content = request.spool.map(|spool| spool.digest.as_str());
    let base = runs::default_dir(request.inputs, request.output, content)?;
    // A finished run of another job keeps its place; the new one goes beside it.
    for generation in 1.. {
        let path = match generation {
            1 => base.clone(),
            n => base.with_file_name(format!(
                "{}-{n}",
                base.file_name().unwrap_or_default().to_string_lossy()
            )),
        };
        let run = RunDir::create(&path)?;
        let lock = run.lock()?;
        let job = match run.job() {
            Err(shoal_job::Error::Corrupt { .. }) if settings.fresh => None,
            job => job?,
        };
        let Some(job) = job else {
            // What a planning that was cut short has left.
            run.clear()?;
            return Ok((run, lock, None));
        };
        match check_same(&job, request, &run) {
            Ok(()) if !settings.fresh => return Ok((run, lock, Some(job))),
            Ok(()) => {}
            Err(shoal_job::Error::Conflict { .. })
                if runs::status(&run)?.state == runs::FINISHED =>
            {
                continue;
            }
            Err(shoal_job::Error::Conflict { .. }) if settings.fresh => {}
            Err(e) => return Err(e.into()),
        }
        run.clear()?;
        return Ok((run, lock, None));
    }
    unreachable!("there are more numbers than folders")
}

/// Writes events to the run's log and hands them on.
struct Teller<'a> {
    log: shoal_job::run_dir::EventLog,
    tell: &'a mut dyn FnMut(&Event),
}

impl<'a> Teller<'a> {
    fn new(run: &RunDir, tell: &'a mut dyn FnMut(&Event)) -> Result<Self> {
        Ok(Self {
            log: run.event_log()?,
            tell,
        })
    }

    fn tell(&mut self, event: Event) {
        if event.is_recorded() {
            // The log explains a run; a run must not fail because its log does. A disk that is full ends it soon
            // enough, with a better message.
            let _ = self.log.append(&event);
        }
        (self.tell)(&event);
    }
}

/// A planned run, ready to be worked off.
struct Stage {
    run: RunDir,
    job: Job,
    batches: Vec<Batch>,
    model: Arc<Model>,
    destination: Destination,
    concurrency: usize,
    on_error: OnError,
}

impl Stage {
    fn finish(self, started: Instant, cancel: &Cancel, tell: &mut Teller<'_>) -> Result<Summary> {
        let Self { run, job, .. } = &self;
        tell.tell(Event::Planned {
            records: job.records,
            batches: job.batches,
        });
        let function = Function::new(run.clone(), job.clone(), self.model.clone())
            .map_err(|failure| Error::Batch { batch: 0, failure })?;
        let backend = Local::new(self.concurrency, || {
            let mut worker = function.worker();
            move |invocation: &Invocation, cancel: &Cancel| worker.handle(invocation, cancel)
        });
        let mut receipts = self.receipts()?;
        let reused = (
            receipts.len() as u64,
            receipts
                .values()
                .map(|receipt| receipt.records)
                .sum::<u64>(),
        );
        tell.tell(Event::Started {
            backend: backend.name().to_owned(),
            concurrency: backend.concurrency(),
            reused_batches: reused.0,
            reused_records: reused.1,
        });
        if self.on_error == OnError::Fail
            && let Some((batch, _)) = receipts.iter().find(|(_, receipt)| receipt.failed > 0)
        {
            return Err(Error::BadRecord {
                dead_letter: self.first_dead_letter(*batch),
            });
        }
        let mut dispatch_time = Duration::ZERO;
        loop {
            let dispatched = Instant::now();
            self.dispatch(&backend, &mut receipts, cancel, tell)?;
            dispatch_time += dispatched.elapsed();
            let damaged = damaged(run, job, &receipts)?;
            if damaged.is_empty() {
                break;
            }
            // The disk lost what it had taken; the batch is done again.
            for batch in damaged {
                run.forget(batch, job.parameters.output_format)?;
                receipts.remove(&batch);
            }
        }
        collect(run, job, &self.destination, &mut |event| tell.tell(event))?;
        collect_dead_letters(run, &receipts)?;
        let clock = Clock {
            total: started.elapsed(),
            dispatch: dispatch_time,
        };
        let output = self.destination.name();
        let summary = Summary::new(run, job, output, &receipts, reused, self.concurrency, clock);
        tell.tell(Event::Completed {
            results: summary.results,
            failed: summary.failed,
        });
        Ok(summary)
    }

    /// The receipts of this job's batches; what else may lie among them is passed over.
    fn receipts(&self) -> Result<BTreeMap<u64, Receipt>> {
        let mut receipts = self.run.receipts()?;
        receipts.retain(|batch, receipt| {
            self.batches
                .get(*batch as usize)
                .is_some_and(|planned| planned.records == receipt.records)
        });
        Ok(receipts)
    }

    /// Has every batch without a receipt worked off.
    fn dispatch(
        &self,
        backend: &dyn Backend,
        receipts: &mut BTreeMap<u64, Receipt>,
        cancel: &Cancel,
        tell: &mut Teller<'_>,
    ) -> Result<()> {
        let is_open = |batch: &&Batch| !receipts.contains_key(&batch.index);
        let work = Work {
            batches: self.batches.iter().filter(is_open).collect(),
            retry: RetryPolicy::default(),
            stop_on_bad_record: self.on_error == OnError::Fail,
            cancel,
        };
        let end = backend.run(&work, &mut |event| {
            if let Event::Finished { receipt, .. } = &event {
                receipts.insert(receipt.batch, (**receipt).clone());
            }
            tell.tell(event);
        });
        end.map_err(|error| {
            if error == DispatchError::Cancelled {
                tell.tell(Event::Cancelled);
            }
            Error::from_dispatch(error, self.run.name(), |batch| {
                self.first_dead_letter(batch)
            })
        })
    }

    fn first_dead_letter(&self, batch: u64) -> String {
        let letters = self
            .run
            .get(&RunDir::dead_letters_name(batch))
            .ok()
            .flatten();
        let letters = letters.unwrap_or_default();
        let first = letters
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        String::from_utf8_lossy(first).into_owned()
    }
}
