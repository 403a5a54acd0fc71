//! Opens the run directory of a command.

use std::path::Path;

use shoal_job::plan::{Request, check_same};
use shoal_job::run_dir::{RunLock, SPOOL};
use shoal_job::{Error as JobError, Job, RunDir};

use crate::inputs::SpoolFolder;
use crate::{Error, Result, Setting, Settings, runs};

/// The run directory at `path`, which the user named.
fn given(path: &Path) -> Result<RunDir> {
    let run = RunDir::create(path)?;
    if !run.is_ours()? {
        let reason = format!(
            "{} holds other files; name an empty or new folder",
            path.display()
        );
        return Err(Error::setting(Setting::RunDir, reason));
    }
    Ok(run)
}

/// The folder for the copy of standard input: in the run directory that the user named, because there may be no other folder
/// that can be written.
pub(super) fn spool_in(settings: &Settings) -> Result<SpoolFolder> {
    let run = settings.run_dir.as_deref().map(given).transpose()?;
    match &run {
        Some(run) => match run.folder() {
            Some(folder) => Ok(SpoolFolder::Shared(folder.join(SPOOL))),
            None => SpoolFolder::data_or_temporary(),
        },
        None if settings.store.is_some() => SpoolFolder::data_or_temporary(),
        None => SpoolFolder::data(),
    }
}

/// The run directory of `settings`, locked, with its job if that is the same as `request`.
pub(super) fn open_run(
    settings: &Settings,
    request: &Request<'_>,
) -> Result<(RunDir, RunLock, Option<Job>)> {
    if let Some(path) = &settings.run_dir {
        let run = given(path)?;
        let lock = run.lock()?;
        if settings.fresh {
            run.clear()?;
        }
        let job = run.job()?;
        match &job {
            Some(job) => check_same(job, request, &run)?,
            // Planning may have been interrupted.
            None => run.clear_leftovers()?,
        }
        return Ok((run, lock, job));
    }
    let content = request.spool.map(|spool| spool.digest.as_str());
    let store = settings.store.as_deref();
    let base = runs::default_dir(request.inputs, request.output, content, store)?;
    for number in 1.. {
        let run = RunDir::create(&runs::numbered(&base, number))?;
        let lock = run.lock()?;
        let job = match run.job() {
            Err(JobError::Corrupt { .. }) if settings.fresh => {
                run.clear()?;
                None
            }
            job => job?,
        };
        let Some(job) = job else {
            run.clear_leftovers()?;
            return Ok((run, lock, None));
        };
        match check_same(&job, request, &run) {
            Ok(()) if !settings.fresh => return Ok((run, lock, Some(job))),
            // A finished run of another job is kept, and so is one that ended for lack of results; the new one gets a
            // directory beside it.
            Err(JobError::Conflict { .. }) if runs::status(&run)?.is_over() => continue,
            Ok(()) => {}
            Err(JobError::Conflict { .. }) if settings.fresh => {}
            Err(e) => return Err(e.into()),
        }
        run.clear()?;
        return Ok((run, lock, None));
    }
    unreachable!("there are more numbers than folders")
}
