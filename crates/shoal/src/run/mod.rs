//! A run: plan, dispatch, collect.

mod open;
mod spending;
mod stage;

use std::sync::Arc;
use std::time::Instant;

use shoal_dispatch::Backend;
use shoal_encoder::Precision;
use shoal_function::Runner;
use shoal_job::collect::Destination;
use shoal_job::input::Found;
use shoal_job::plan::{Request, check_same, cut};
use shoal_job::run_dir::{FAILED, JOB};
use shoal_job::spec::Parameters;
use shoal_job::store::Location;
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Cancel, Event, Job, RunDir};
use shoal_runners::EncoderRunner;

use crate::inputs::{Inputs, STDIN};
use crate::model::Upcoming;
use crate::runs::{last_run, planned_job};
use crate::settings::ResumeOptions;
use crate::{
    BackendConfig, Error, ModelSettings, OnError, Result, Setting, Settings, Summary, VERSION,
    trust,
};
use open::{open_run, spool_in};
use stage::{EventSink, Stage};

/// Runs a job, or resumes it if an earlier call was interrupted.
///
/// `emit` receives every event. The call blocks, and must not be made from an asynchronous task.
///
/// # Errors
/// An [`Error`], whose message says what to do. Finished batches stay in the run directory. The output is complete or
/// absent.
pub fn run(settings: &Settings, cancel: &Cancel, emit: &mut dyn FnMut(&Event)) -> Result<Summary> {
    start(settings, None, None, cancel, emit)
}

/// As [`run`], with `runner` instead of `settings.model`, and with `backend`, if given, instead of `settings.backend`. The
/// backend calls functions by a [`Host`](shoal_function::Host) that opens the same runner.
///
/// # Errors
/// As [`run`]; and [`Error::Settings`] if the workers of `settings.backend` can only run models.
pub fn run_with(
    settings: &Settings,
    runner: Arc<dyn Runner>,
    backend: Option<&dyn Backend>,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let kind = &runner.spec().kind;
    let is_in_process = settings.backend.settings().is_in_process();
    if backend.is_none() && kind != EncoderRunner::KIND && !is_in_process {
        return Err(Error::Settings(format!(
            "failed to start: workers of the backend {} can only run models; run a function of the kind {kind:?} on the local \
             backend, or on your own",
            settings.backend.name()
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
    let (destination, format) = Destination::parse(&settings.output, settings.format)?;
    let mut parameters = settings.parameters.clone();
    parameters.output_format = format;
    parameters.error_column |= settings.on_error == Some(OnError::Keep);
    if parameters.batch_size == 0 {
        return Err(Error::setting(Setting::BatchSize, "it must be at least 1"));
    }
    settings.check()?;
    // Missing inputs are reported before the model is opened, which takes longer.
    let inputs = Inputs::find(
        &settings.inputs,
        parameters.input_format,
        || spool_in(settings),
        cancel,
    )?;
    check_apart(&inputs.found, &destination)?;
    let (runner, precision_choice) = match runner {
        Some(runner) => (runner, None),
        None => open_model(settings, &inputs, &destination, &parameters)?,
    };
    let store = settings.store.as_deref();
    let inputs_at = store.map(|store| format!("{}/inputs", store.trim_end_matches('/')));
    let request = Request {
        inputs: &inputs.names,
        spool: inputs.spool(),
        function: runner.spec().clone(),
        parameters,
        output: &destination.name(),
        version: VERSION,
        inputs_at: inputs_at.as_deref(),
    };
    let (run, lock, job) = open_run(settings, &request)?;
    let is_new = job.is_none();
    // An existing directory with the same job may still belong to another user.
    let is_own = is_new || trust::is_own(&run)?;
    let mut emit = EventSink::new(&run, emit)?;
    let planned = destination.check(&run.name()).and_then(|()| match job {
        Some(job) => Ok(job),
        None => {
            emit.emit(Event::Planning { records: 0 });
            let cut = cut(&request, &run, cancel, &mut |records| {
                emit.emit(Event::Planning { records })
            })?;
            trust::announce(&run, JOB, &cut.job().file());
            cut.save(&run)
        }
    });
    let job = planned.inspect_err(|error| {
        emit.emit(match error {
            shoal_job::Error::Cancelled => Event::Cancelled,
            error => Event::Stopped {
                reason: error.to_string(),
            },
        });
        if let Some(folder) = run.folder()
            && is_new
            && settings.run_dir.is_none()
        {
            // There is nothing to resume. A failure is ignored: the error of the plan is reported.
            let _ = std::fs::remove_dir_all(folder);
        }
    })?;
    drop(inputs);
    if is_new {
        trust::remember(&run);
    }
    Stage {
        run,
        job,
        runner,
        precision_choice,
        destination,
        settings: Settings {
            // None, rather than that of an earlier start.
            command: Some(settings.command.clone().unwrap_or_default()),
            ..settings.clone()
        },
        own_backend,
        is_own,
        _lock: lock,
    }
    .finish(started, cancel, &mut emit)
}

/// Opens the model of a run. A run keeps its precision, though a new comparison might choose another one.
fn open_model(
    settings: &Settings,
    inputs: &Inputs,
    destination: &Destination,
    parameters: &Parameters,
) -> Result<(Arc<dyn Runner>, Option<String>)> {
    let mut model = settings.model.clone();
    if model.engine.precision.is_none() && !settings.fresh {
        let reference = model.resolved_reference()?;
        let content = inputs.spool().map(|spool| spool.digest.as_str());
        let last = last_run(settings, &inputs.names, &destination.name(), content)?;
        let job = last.map(|(_, job)| job);
        let job = job.filter(|job| job.function.reference == reference);
        let precision = job
            .as_ref()
            .and_then(|job| job.function.setting("precision"));
        model.engine.precision = precision.and_then(Precision::named);
    }
    let (runner, choice) = model.open_for(Some(Upcoming {
        found: &inputs.found,
        parameters,
    }))?;
    Ok((runner, choice))
}

/// Resumes a run with the settings that it was planned with.
///
/// # Errors
/// [`Error::Foreign`] if another user created the run and `options` lack what it would determine; otherwise as [`run`].
pub fn resume(
    run: RunDir,
    options: &ResumeOptions,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let started = Instant::now();
    let lock = run.lock()?;
    let job = planned_job(&run)?;
    if options.on_error == Some(OnError::Keep) && !job.parameters.error_column {
        return Err(Error::setting(
            Setting::OnError,
            "this run was planned without bad records in its output; start a new run that keeps them",
        ));
    }
    let is_own = options.trust || trust::is_own(&run)?;
    if !is_own {
        trust::check(&run, &job, options)?;
    }
    // The run has its copy of standard input.
    let inputs = job.inputs.iter().filter(|input| *input != STDIN);
    let output = options.output.as_ref().unwrap_or(&job.output);
    let settings = Settings {
        model: ModelSettings::planned(&job.function, &options.engine).map_err(|reason| {
            let run = run.name();
            shoal_job::Error::Corrupt { run, reason }
        })?,
        backend: match &options.backend {
            Some(backend) => backend.clone(),
            None if is_own => BackendConfig::last(&run)?,
            None => BackendConfig::default(),
        },
        on_error: options.on_error,
        limits: options.limits.clone(),
        ..Settings::new(inputs, output)
    };
    settings.backend.check()?;
    settings.limits.check(&settings.backend)?;
    let (destination, format) = Destination::parse(output, Some(job.parameters.output_format))?;
    let mut parameters = job.parameters.clone();
    parameters.output_format = format;
    let runner = settings.model.open()?;
    let mut as_planned = job.clone();
    as_planned.sources.retain(|source| source.uri != STDIN);
    let request = Request {
        inputs: &settings.inputs,
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
        runner,
        precision_choice: None,
        destination,
        settings,
        own_backend: None,
        is_own,
        _lock: lock,
    }
    .finish(started, cancel, &mut emit)
}

/// Deletes the dead letters of records that crashed their function, so that they are retried, for example with more memory
/// or time. Rows that cannot be read stay dead letters.
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
        let others = match failed {
            0 => "there are no dead letters".to_owned(),
            _ => format!(
                "its dead letters cannot be read or processed; {FAILED} of the run gives the reasons"
            ),
        };
        return Err(Error::Settings(format!(
            "failed to retry run {}: none of its records crashed its function; {others}",
            run.reference()
        )));
    }
    for range in quarantined {
        run.forget(range, job.parameters.output_format)?;
    }
    Ok(())
}

/// Writes the output of a finished run without processing any batch.
///
/// # Errors
/// Batches are missing ([`Error::Unfinished`]); another user created the run, and neither `output` nor `trust` is given
/// ([`Error::Foreign`]); or as [`run`].
pub fn collect(
    run: RunDir,
    output: Option<&str>,
    trust: bool,
    emit: &mut dyn FnMut(&Event),
) -> Result<Summary> {
    let started = Instant::now();
    let _lock = run.lock()?;
    let job = planned_job(&run)?;
    if !trust && !trust::is_own(&run)? {
        trust::check_collecting(&run, &job, output)?;
    }
    let output = output.unwrap_or(&job.output);
    let (destination, format) = Destination::parse(output, Some(job.parameters.output_format))?;
    if format != job.parameters.output_format {
        return Err(Error::Settings(format!(
            "failed to write {output}: the parts of this run are {}, and are not converted to {}",
            job.parameters.output_format.extension(),
            format.extension()
        )));
    }
    destination.check(&run.name())?;
    let mut emit = EventSink::new(&run, emit)?;
    stage::collect_only(&run, &job, &destination, started, &mut emit)
}

/// Fails if the output would replace an input, whatever their paths look like.
fn check_apart(inputs: &[Found], output: &Destination) -> Result<()> {
    let (Destination::File(path) | Destination::Folder(path)) = output else {
        return Ok(());
    };
    let Ok(path) = path.canonicalize() else {
        return Ok(()); // It does not exist yet.
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
