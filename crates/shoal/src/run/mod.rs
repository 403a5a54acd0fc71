//! A run from its start to its end: plan, dispatch, collect.

mod open;
mod spending;
mod stage;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use shoal_dispatch::Backend;
use shoal_encoder::Precision;
use shoal_function::Runner;
use shoal_job::collect::Destination;
use shoal_job::input::{Found, locate};
use shoal_job::plan::{Request, check_same, cut};
use shoal_job::run_dir::{FAILED, JOB};
use shoal_job::store::{Location, is_url};
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Cancel, Event, Job, RunDir};
use shoal_runners::EncoderRunner;
use shoal_tasks::TaskOptions;

use crate::model::Upcoming;
use crate::spool::spool;
use crate::{
    BackendConfig, BackendKind, EngineSettings, Error, Limits, ModelSettings, OnError,
    PrecisionChoice, Result, Setting, Settings, Summary, VERSION, trust,
};
use open::{open_run, planned_precision};
use stage::{EventSink, Stage};

/// Standard input, among inputs.
const STDIN: &str = "-";

/// Runs a job, or resumes it where an earlier call was interrupted.
///
/// `emit` gets every event. The call blocks, and must not be made from within an asynchronous task.
///
/// # Errors
/// An [`Error`], whose message says what to do. Finished batches stay in the run directory. The output appears whole or not
/// at all.
pub fn run(settings: &Settings, cancel: &Cancel, emit: &mut dyn FnMut(&Event)) -> Result<Summary> {
    start(settings, None, None, cancel, emit)
}

/// As [`run`], with a function of your own instead of `settings.model`, and perhaps with a backend of your own instead of
/// `settings.backend`. Such a backend calls functions by a [`Host`](shoal_function::Host) that opens the same runner.
///
/// # Errors
/// As [`run`]; and [`Error::Settings`] where `settings.backend` starts processes of shoal, which know models only.
pub fn run_with(
    settings: &Settings,
    runner: Arc<dyn Runner>,
    backend: Option<&dyn Backend>,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let is_known = runner.spec().kind == EncoderRunner::KIND;
    if backend.is_none() && !is_known && settings.backend.kind() != BackendKind::Local {
        return Err(Error::Settings(format!(
            "failed to start: workers of the backend {} run models; a function of the kind {:?} runs on the local backend, or \
             on one of your own",
            settings.backend.kind(),
            runner.spec().kind
        )));
    }
    start(settings, Some(runner), backend, cancel, emit)
}

fn start(
    settings: &Settings,
    runner: Option<Arc<dyn Runner>>,
    own_backend: Option<&dyn Backend>,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let started = Instant::now();
    if settings.inputs.is_empty() {
        return Err(Error::Settings(
            "failed to start: name an input, or - for standard input".into(),
        ));
    }
    let (destination, format) = Destination::parse(&settings.output, settings.format)?;
    let mut parameters = settings.parameters.clone();
    parameters.output_format = format;
    if parameters.batch_size == 0 {
        return Err(Error::setting(Setting::BatchSize, "it must be at least 1"));
    }
    settings.backend.check()?;
    settings.limits.check(&settings.backend)?;
    check_reach(settings)?;
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
    let (runner, choice) = match runner {
        Some(runner) => (runner, PrecisionChoice::Given),
        None => {
            let content = spooled.map(|spool| spool.digest.as_str());
            open_model(
                settings,
                &inputs,
                &destination,
                content,
                &found,
                &parameters,
            )?
        }
    };
    let inputs_at = settings
        .store
        .as_ref()
        .map(|store| format!("{}/inputs", store.trim_end_matches('/')));
    let request = Request {
        inputs: &inputs,
        spool: spooled,
        function: runner.spec().clone(),
        parameters,
        output: &destination.name(),
        version: VERSION,
        inputs_at: inputs_at.as_deref(),
    };
    let (run, lock, job) = open_run(settings, &request)?;
    let is_new = job.is_none();
    // One that is there already may say of itself what it likes, though its job is the same.
    let is_own = is_new || trust::is_own(&run)?;
    let mut emit = EventSink::new(&run, emit)?;
    let planned = destination.check(&run.name()).and_then(|()| match job {
        Some(job) => Ok(job),
        None => {
            emit.emit(Event::Planning { records: 0 });
            let cut = cut(&request, &run, cancel, &mut |records| {
                emit.emit(Event::Planning { records })
            });
            cut.and_then(|cut| {
                trust::announce(&run, JOB, &cut.job().file());
                cut.save(&run)
            })
        }
    });
    let job = planned.inspect_err(|error| {
        emit.emit(match error {
            shoal_job::Error::Cancelled => Event::Cancelled,
            error => Event::Stopped {
                reason: error.to_string(),
            },
        });
        if is_new
            && settings.run_dir.is_none()
            && let Some(folder) = run.folder()
        {
            // There is nothing to resume, so it is not left in the list of runs. Best effort: the error that counts
            // is already on its way.
            let _ = std::fs::remove_dir_all(folder);
        }
    })?;
    drop(spool);
    if is_new {
        trust::remember(&run);
    }
    Stage {
        run,
        job,
        batches_at_once: settings.batches_at_once,
        runner,
        precision: choice,
        destination,
        backend: settings.backend.clone(),
        own_backend,
        command: settings.command.clone(),
        engine: settings.model.engine.clone(),
        on_error: settings.on_error,
        limits: settings.limits.clone(),
        is_own,
        _lock: lock,
    }
    .finish(started, cancel, &mut emit)
}

/// The model of a run, in the precision of an earlier start where there was one.
fn open_model(
    settings: &Settings,
    inputs: &[String],
    destination: &Destination,
    content: Option<&str>,
    found: &[Found],
    parameters: &shoal_job::spec::Parameters,
) -> Result<(Arc<dyn Runner>, PrecisionChoice)> {
    let mut model = settings.model.clone();
    if model.engine.precision.is_none() && !settings.fresh {
        let reference = model.resolved_reference()?;
        let output = destination.name();
        model.engine.precision = planned_precision(settings, inputs, &output, content, &reference)?;
    }
    let upcoming = Upcoming { found, parameters };
    let (runner, choice) = model.open_for(Some(upcoming))?;
    Ok((runner, choice))
}

/// What may differ from a run's first start when it is resumed.
#[derive(Debug, Clone, Default)]
pub struct ResumeOptions {
    /// Where the output goes; where it was to go at first, if `None`.
    pub output: Option<String>,
    /// The backend; where `None`, the one of the last start ([`BackendConfig::last`]).
    pub backend: Option<BackendConfig>,
    /// Whether to take output, inputs, model and backend from a run directory that another user created.
    pub trust: bool,
    /// Limits of cost and time.
    pub limits: Limits,
    /// What a bad record does.
    pub on_error: OnError,
    /// Whether to retry the records that crashed their function.
    pub retry: bool,
    /// How the engine runs the model; the precision is the run's own.
    pub engine: EngineSettings,
}

/// Resumes a run by its directory, with the settings with which it was planned.
///
/// # Errors
/// [`Error::Foreign`] where this user did not make the run and does not give what it would decide; else as [`run`].
pub fn resume(
    run: RunDir,
    options: &ResumeOptions,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let started = Instant::now();
    let lock = run.lock()?;
    let Some(job) = run.job()? else {
        return Err(Error::NoSuchRun {
            name: run.name(),
            reason: "its planning was cut short; run the command that started it again".into(),
        });
    };
    let is_own = options.trust || trust::is_own(&run)?;
    if !is_own {
        trust::check(&run, &job, options)?;
    }
    let backend = match &options.backend {
        Some(backend) => backend.clone(),
        None if is_own => BackendConfig::last(&run)?,
        None => BackendConfig::default(),
    };
    backend.check()?;
    options.limits.check(&backend)?;
    let output = options.output.as_deref().unwrap_or(&job.output);
    let (destination, format) = Destination::parse(output, Some(job.parameters.output_format))?;
    let mut parameters = job.parameters.clone();
    parameters.output_format = format;
    let model = planned_model(&job, &options.engine)?;
    let engine = model.engine.clone();
    let runner = model.open()?;
    // Standard input cannot be given again, and is not needed again: the run has its copy.
    let kept = |input: &&String| *input != STDIN;
    let inputs: Vec<_> = job.inputs.iter().filter(kept).cloned().collect();
    let mut as_planned = job.clone();
    as_planned.sources.retain(|source| source.uri != STDIN);
    let request = Request {
        inputs: &inputs,
        spool: None,
        function: runner.spec().clone(),
        parameters,
        output,
        version: VERSION,
        inputs_at: None,
    };
    check_same(&as_planned, &request, &run)?;
    destination.check(&run.name())?;
    if options.retry {
        retry_quarantined(&run, &job)?;
    }
    let mut emit = EventSink::new(&run, emit)?;
    Stage {
        run,
        job,
        batches_at_once: BATCHES_AT_ONCE,
        runner,
        precision: PrecisionChoice::Given,
        destination,
        backend,
        own_backend: None,
        command: None,
        engine,
        on_error: options.on_error,
        limits: options.limits.clone(),
        is_own,
        _lock: lock,
    }
    .finish(started, cancel, &mut emit)
}

/// Forgets the dead letters of records that killed their function, and nothing else: another attempt may end otherwise, with
/// more memory or time, say. Rows that cannot be read stay what they are.
fn retry_quarantined(run: &RunDir, job: &Job) -> Result<()> {
    let (mut quarantined, mut failed) = (Vec::new(), 0);
    run.each_window(job, BATCHES_AT_ONCE, &mut |_, receipts| {
        for receipt in receipts.values() {
            failed += receipt.failed;
            quarantined.extend((receipt.quarantined > 0).then(|| receipt.range()));
        }
        Ok(())
    })?;
    if quarantined.is_empty() {
        return Err(Error::Settings(format!(
            "failed to retry run {}: no record of it killed its function; its {failed} dead letters are rows that cannot be \
             read; {FAILED} of the run says why",
            run.reference()
        )));
    }
    for range in quarantined {
        run.forget(range, job.parameters.output_format)?;
    }
    Ok(())
}

/// Writes the output of a run whose batches are all done, without working on any: what [`resume`] does at its end.
///
/// # Errors
/// Batches are missing ([`Error::Unfinished`]), this user did not make the run and neither gives an output nor says `trust`
/// ([`Error::Foreign`]), or as [`run`].
pub fn collect(
    run: RunDir,
    output: Option<&str>,
    trust: bool,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let started = Instant::now();
    let _lock = run.lock()?;
    let Some(job) = run.job()? else {
        return Err(Error::NoSuchRun {
            name: run.reference(),
            reason: "its planning was cut short; run the command that started it again".into(),
        });
    };
    if !trust && !trust::is_own(&run)? {
        trust::check_collecting(&run, &job, output)?;
    }
    let output = output.unwrap_or(&job.output);
    let (destination, format) = Destination::parse(output, Some(job.parameters.output_format))?;
    if format != job.parameters.output_format {
        return Err(Error::Settings(format!(
            "failed to write {output}: the parts of this run are {}, and are not turned into {}",
            job.parameters.output_format.extension(),
            format.extension()
        )));
    }
    destination.check(&run.name())?;
    let mut emit = EventSink::new(&run, emit)?;
    stage::collect_only(&run, &job, &destination, started, &mut emit)
}

/// Functions of a platform see no files of this machine.
pub(crate) fn check_reach(settings: &Settings) -> Result<()> {
    if settings.store.is_some() && settings.run_dir.is_some() {
        let reason = "the run directory is given too, and both say where the run is kept";
        return Err(Error::setting(Setting::Store, reason));
    }
    if let Some(store) = &settings.store
        && !is_url(store)
    {
        let reason = format!(
            "{store} is not the URL of an object store, such as s3://bucket/shoal; a folder is given as the run directory"
        );
        return Err(Error::setting(Setting::Store, reason));
    }
    let run_dir = settings.run_dir.as_ref().and_then(|path| path.to_str());
    if settings.backend.needs_store() && settings.store.is_none() && !run_dir.is_some_and(is_url) {
        let reason = format!(
            "functions of the backend {} cannot read files of this machine; the run needs an object store, such as \
             s3://bucket/shoal",
            settings.backend.name()
        );
        return Err(Error::setting(Setting::Store, reason));
    }
    Ok(())
}

/// Inputs that mean the same wherever the command is called.
pub(crate) fn absolute(inputs: &[String]) -> Result<Vec<String>> {
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

/// The model that `job` was planned with.
fn planned_model(job: &Job, engine: &EngineSettings) -> Result<ModelSettings> {
    let function = &job.function;
    let task = TaskOptions::from_spec(&function.task).map_err(|e| shoal_job::Error::Corrupt {
        run: job.output.clone(),
        reason: format!("its task is damaged: {e}"),
    })?;
    Ok(ModelSettings {
        reference: Some(function.reference.clone()),
        task,
        max_tokens: function.number("max_tokens"),
        engine: EngineSettings {
            precision: function.setting("precision").and_then(Precision::named),
            ..engine.clone()
        },
    })
}
