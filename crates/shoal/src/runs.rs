//! The runs of this machine: their folders, their names and their progress.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use shoal_job::store::is_url;
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Job, RunDir};
use shoal_report::{End, Phase, RunState};

use crate::{Error, Result, Settings, folders};

/// The default folder or URL of a run. It is named after the inputs and the output, so that the same command finds it
/// again. `content` is the digest of standard input.
pub(crate) fn default_dir(
    inputs: &[String],
    output: &str,
    content: Option<&str>,
    store: Option<&str>,
) -> Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    let output = [output, content.unwrap_or_default()];
    for part in inputs.iter().map(String::as_str).chain(output) {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part.as_bytes());
    }
    let stem = inputs.first().map_or("run", |input| stem(input));
    let name = format!("{stem}-{}", &hasher.finalize().to_hex()[..8]);
    Ok(match store {
        Some(store) => PathBuf::from(format!("{}/runs/{name}", store.trim_end_matches('/'))),
        None => folders::runs()?.join(name),
    })
}

/// The directory of a numbered run beside `base`, which is the first.
pub(crate) fn numbered(base: &Path, number: u32) -> PathBuf {
    match number {
        1 => base.to_owned(),
        number => {
            let name = base.file_name().unwrap_or_default().to_string_lossy();
            base.with_file_name(format!("{name}-{number}"))
        }
    }
}

/// The run that an earlier start of the same command planned last, with its job.
pub(crate) fn last_run(
    settings: &Settings,
    inputs: &[String],
    output: &str,
    content: Option<&str>,
) -> Result<Option<(RunDir, Job)>> {
    let planned = |path: &Path| -> Result<Option<(RunDir, Job)>> {
        let exists = path.to_str().is_some_and(is_url) || path.is_dir();
        if !exists {
            return Ok(None);
        }
        let run = RunDir::open(path)?;
        // A damaged job is reported when the run is opened.
        let job = run.job().ok().flatten();
        Ok(job.map(|job| (run, job)))
    };
    if settings.fresh {
        return Ok(None);
    }
    if let Some(path) = &settings.run_dir {
        return planned(path);
    }
    let base = default_dir(inputs, output, content, settings.store.as_deref())?;
    let mut last = None;
    for number in 1.. {
        match planned(&numbered(&base, number))? {
            Some(run) => last = Some(run),
            None => break,
        }
    }
    Ok(last)
}

/// The job of a planned run.
pub(crate) fn planned_job(run: &RunDir) -> Result<Job> {
    run.job()?.ok_or_else(|| Error::NoSuchRun {
        name: run.reference(),
        reason: "its planning did not finish; run the command that started it again".into(),
    })
}

/// The state of `run` according to its events. The needed memory does not depend on the length of the run.
pub(crate) fn state(run: &RunDir) -> Result<RunState> {
    let mut state = RunState::default();
    run.each_event(&mut |at, event| drop(state.apply(at, &event)))?;
    Ok(state)
}

/// The readable part of a run's name.
fn stem(input: &str) -> &str {
    let name = input
        .trim_end_matches('/')
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default();
    let end = name
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'))
        .unwrap_or(name.len());
    match &name[..end.min(40)] {
        "" | "-" => "run",
        stem => stem,
    }
}

/// The state of a run whose output is complete.
pub(crate) const FINISHED: &str = "finished";

/// The progress of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunStatus {
    /// Its name, by which `shoal status` and `shoal resume` find it.
    pub name: String,
    /// Its folder or URL.
    pub path: String,
    /// One of `planning`, `unfinished` and `finished`.
    pub state: &'static str,
    /// Its inputs.
    pub inputs: Vec<String>,
    /// Its output.
    pub output: String,
    /// The model.
    pub model: String,
    /// Records in all.
    pub records: u64,
    /// Records in finished batches.
    pub records_done: u64,
    /// Of these, in the dead letters.
    pub failed: u64,
    /// Batches in all.
    pub batches: u64,
    /// Finished batches.
    pub batches_done: u64,
    /// Seconds since its last event.
    pub idle_seconds: Option<u64>,
    /// The reason of the latest failure, if no answer followed it.
    pub last_failure: Option<String>,
}

impl RunStatus {
    /// Whether the run is finished, or has dead letters only.
    pub(crate) fn is_over(&self) -> bool {
        let has_no_result = self.records_done > 0 && self.failed == self.records_done;
        self.state == FINISHED || has_no_result
    }
}

/// The status of the run in `run`.
///
/// # Errors
/// The run directory cannot be read or is damaged.
pub fn status(run: &RunDir) -> Result<RunStatus> {
    let mut status = RunStatus {
        name: run.reference(),
        path: run.uri(),
        state: "planning",
        ..RunStatus::default()
    };
    let Some(job) = run.job()? else {
        return Ok(status);
    };
    run.each_window(&job, BATCHES_AT_ONCE, &mut |_, receipts| {
        status.batches_done += receipts.finished_batches();
        status.records_done += receipts.records();
        status.failed += receipts.values().map(|receipt| receipt.failed).sum::<u64>();
        Ok(())
    })?;
    let events = state(run)?;
    let is_completed = events.phase == Phase::Ended(End::Completed);
    let idle = events.last_unix_ms.and_then(|unix_ms| {
        let then = SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms);
        SystemTime::now().duration_since(then).ok()
    });
    status.state = if is_completed && status.batches_done == job.batches {
        FINISHED
    } else {
        "unfinished"
    };
    Ok(RunStatus {
        inputs: job.inputs,
        output: job.output,
        model: job.function.reference,
        records: job.records,
        batches: job.batches,
        idle_seconds: idle.map(|idle| idle.as_secs()),
        last_failure: events.last_failure,
        ..status
    })
}

/// All runs in the platform's data folder, latest first, each with its status or the error that it cannot be read.
///
/// # Errors
/// The folder of runs cannot be read.
pub fn runs() -> Result<Vec<(String, Result<RunStatus>)>> {
    let folder = folders::runs()?;
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(storage("list", &folder, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| storage("list", &folder, e))?;
        if entry.path().is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let run = RunDir::open(&entry.path()).map_err(Error::from);
            found.push((name, run.and_then(|run| status(&run))));
        }
    }
    found.sort_by_key(|(name, run)| {
        let idle = run.as_ref().ok().and_then(|run| run.idle_seconds);
        (idle.unwrap_or(u64::MAX), name.clone())
    });
    Ok(found)
}

/// The run with this name, folder or URL.
///
/// # Errors
/// There is no such run.
pub fn find_run(name: &str) -> Result<RunDir> {
    let missing = |reason: &str| Error::NoSuchRun {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let by_name = folders::runs().map(|runs| runs.join(name)).ok();
    let is_plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
    let path = match by_name {
        Some(path) if is_plain && path.is_dir() => path,
        _ => PathBuf::from(name),
    };
    if !is_url(name) && !path.is_dir() {
        return Err(missing(
            "`shoal runs` lists all runs; a run directory may also be given by its path or URL",
        ));
    }
    let run = RunDir::open(&path)?;
    if !run.is_ours()? {
        return Err(missing("the folder is not a run directory"));
    }
    if run.folder().is_none() && run.job()?.is_none() {
        return Err(missing("there is no job.json below the URL"));
    }
    Ok(run)
}

/// Removes a run with all its parts. Its output is kept.
///
/// # Errors
/// Another process uses it, or it cannot be removed.
pub fn remove_run(run: &RunDir) -> Result<()> {
    let lock = run.lock()?;
    run.clear()?;
    crate::trust::forget(run);
    drop(lock);
    match run.folder() {
        Some(folder) => std::fs::remove_dir_all(folder).map_err(|e| storage("delete", folder, e)),
        None => Ok(()),
    }
}

fn storage(action: &'static str, path: &Path, error: std::io::Error) -> Error {
    shoal_job::Error::storage(action, path.display().to_string(), error).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use shoal_job::FunctionSpec;

    use super::*;

    /// A job of `batches` batches with one record each, without inputs and columns.
    pub(crate) fn job(function: FunctionSpec, batches: u64) -> Job {
        let job = serde_json::json!({
            "layout": shoal_job::spec::LAYOUT_VERSION, "shoal": "0", "inputs": [], "sources": [],
            "function": function,
            "parameters": shoal_job::spec::Parameters::default(), "output": "-",
            "columns": { "inputs": [], "id": null, "kept": [] },
            "records": batches, "batches": batches,
        });
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn names_are_readable_and_safe() {
        assert_eq!(stem("/data/reviews.jsonl.zst"), "reviews");
        assert_eq!(stem("s3://bucket/a b.csv"), "a");
        assert_eq!(stem("data/*.csv"), "run");
        assert_eq!(stem("-"), "run");
        assert_eq!(stem("aclImdb/"), "aclImdb");
        assert_eq!(stem("../.."), "run");
    }

    #[test]
    fn a_run_is_named_by_what_it_reads_and_writes() {
        let name = |inputs: &[&str], output: &str| {
            let inputs: Vec<_> = inputs.iter().map(|input| (*input).to_owned()).collect();
            default_dir(&inputs, output, None, None).unwrap()
        };
        assert_eq!(name(&["/a.csv"], "/b.csv"), name(&["/a.csv"], "/b.csv"));
        assert_ne!(name(&["/a.csv"], "/b.csv"), name(&["/a.csv"], "/c.csv"));
        assert_ne!(name(&["/ab", "c"], "o"), name(&["/a", "bc"], "o"));
    }
}
