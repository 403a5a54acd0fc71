//! Which run directory a command works in, and whether it may.

use std::path::{Path, PathBuf};

use shoal_encoder::Precision;
use shoal_job::plan::{Request, check_same};
use shoal_job::run_dir::RunLock;
use shoal_job::store::is_url;
use shoal_job::{Job, RunDir};

use crate::{Error, Result, Setting, Settings, runs};

/// The run directory of `settings`, locked, with the job that it holds if it is the same one.
pub(super) fn open_run(
    settings: &Settings,
    request: &Request<'_>,
) -> Result<(RunDir, RunLock, Option<Job>)> {
    if let Some(path) = &settings.run_dir {
        let run = RunDir::create(path)?;
        if !run.is_ours()? {
            let reason = format!(
                "{} holds other files; name an empty or new folder",
                path.display()
            );
            return Err(Error::setting(Setting::RunDir, reason));
        }
        let lock = run.lock()?;
        if settings.fresh {
            run.clear()?;
        }
        let job = run.job()?;
        match &job {
            Some(job) => check_same(job, request, &run)?,
            // What a planning that was cut short has left.
            None => run.clear_leftovers()?,
        }
        return Ok((run, lock, job));
    }
    let content = request.spool.map(|spool| spool.digest.as_str());
    let base = runs::default_dir(
        request.inputs,
        request.output,
        content,
        settings.store.as_deref(),
    )?;
    // A finished run of another job keeps its place; the new one goes beside it.
    for generation in 1u32.. {
        let run = RunDir::create(&generation_path(&base, generation))?;
        let lock = run.lock()?;
        let job = match run.job() {
            Err(shoal_job::Error::Corrupt { .. }) if settings.fresh => {
                run.clear()?;
                None
            }
            job => job?,
        };
        let Some(job) = job else {
            // What a planning that was cut short has left.
            run.clear_leftovers()?;
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

fn generation_path(base: &Path, generation: u32) -> PathBuf {
    match generation {
        1 => base.to_owned(),
        n => base.with_file_name(format!(
            "{}-{n}",
            base.file_name().unwrap_or_default().to_string_lossy()
        )),
    }
}

/// The precision with which an earlier start of the same command was planned for the model `reference`. A run keeps it,
/// though a new comparison may come to another one.
pub(super) fn planned_precision(
    settings: &Settings,
    inputs: &[String],
    output: &str,
    content: Option<&str>,
    reference: &str,
) -> Result<Option<Precision>> {
    let planned = |path: &Path| -> Result<Option<Job>> {
        let is_there = path.to_str().is_some_and(is_url) || path.is_dir();
        Ok(match is_there {
            // A damaged one is reported when it is opened for the run.
            true => RunDir::open(path)?.job().ok().flatten(),
            false => None,
        })
    };
    let job = match &settings.run_dir {
        Some(path) => planned(path)?,
        None => {
            let base = runs::default_dir(inputs, output, content, settings.store.as_deref())?;
            let mut last = None;
            let mut generation = 1;
            while let Some(job) = planned(&generation_path(&base, generation))? {
                last = Some(job);
                generation += 1;
            }
            last
        }
    };
    let job = job.filter(|job| job.function.reference == reference);
    Ok(job.and_then(|job| job.function.setting("precision").and_then(Precision::named)))
}
