//! Whose run directory it is. A run directory says where the output goes, what is read, which model is opened and where
//! functions run. Of one that this user did not make, none of that is taken unasked.
//!
//! Runs in this user's data folder are their own. Of others, the data folder keeps a note: what their plan and place were
//! when they were last started from here.

use std::io::Write;
use std::path::PathBuf;

use shoal_job::run_dir::{BACKEND, EXECUTION, JOB};
use shoal_job::{Job, RunDir};

use crate::backend::BackendConfig;
use crate::{BackendKind, Error, Result, ResumeOptions, runs};

/// Whether this user made the run.
///
/// # Errors
/// It cannot be read.
pub fn is_own(run: &RunDir) -> Result<bool> {
    if is_at_home(run) {
        return Ok(true);
    }
    let Some(note) = note(run) else {
        return Ok(false);
    };
    match std::fs::read_to_string(note) {
        Ok(noted) => {
            let digest = digest(run, None)?;
            Ok(noted.lines().any(|line| line == digest))
        }
        Err(_) => Ok(false),
    }
}

/// Notes that this user is about to write `content` under `name` into the run, which is theirs: whoever is killed on the way from
/// the file to its note finds the run to be theirs by either. Best effort, as [`remember`].
pub(crate) fn announce(run: &RunDir, name: &str, content: &[u8]) {
    let digests = [digest(run, None), digest(run, Some((name, content)))];
    write_note(run, digests.into_iter().flatten());
}

/// Notes that this user made the run. Best effort: without the note the run is taken for that of somebody else.
pub(crate) fn remember(run: &RunDir) {
    write_note(run, digest(run, None).into_iter());
}

fn write_note(run: &RunDir, digests: impl Iterator<Item = String>) {
    let write = || -> Option<()> {
        let note = note(run)?;
        let folder = note.parent()?;
        std::fs::create_dir_all(folder).ok()?;
        // Whole or not at all: half a note would be that of no run.
        let mut file = tempfile::NamedTempFile::new_in(folder).ok()?;
        for digest in digests {
            writeln!(file, "{digest}").ok()?;
        }
        file.persist(note).ok().map(drop)
    };
    if !is_at_home(run) {
        let _ = write();
    }
}

/// Removes the note, as the run is removed. Best effort: it says nothing of another run in the same place.
pub(crate) fn forget(run: &RunDir) {
    if let Some(note) = note(run) {
        let _ = std::fs::remove_file(note);
    }
}

/// Whether a run that somebody else made may be resumed: its output and place must be given, and its inputs and model
/// must not be asked for.
///
/// # Errors
/// [`Error::Foreign`], with all that it would have shoal do.
pub(crate) fn check(run: &RunDir, job: &Job, options: &ResumeOptions) -> Result<()> {
    let mut wants = collecting(job, options.output.as_deref());
    let last = BackendConfig::last(run)?;
    let given = options.backend.as_ref().map(BackendConfig::kind);
    if given.is_none() && last.kind() != BackendKind::Local {
        let at = match last.urls() {
            [] => String::new(),
            urls => format!(" at {}", urls.join(", ")),
        };
        wants.push(format!("call functions by {}{at}", last.name()));
    }
    if given == Some(BackendKind::StepFunctions) && run.get(EXECUTION)?.is_some() {
        wants.push(format!("continue the execution in {EXECUTION}"));
    }
    let inputs = job.inputs.iter().filter(|input| *input != "-");
    wants.extend(inputs.take(3).map(|input| format!("read {input}")));
    if job.function.reference != crate::bundled::NAME {
        wants.push(format!("open the model {}", job.function.reference));
    }
    refuse(run, wants)
}

/// The same where the run is only collected.
///
/// # Errors
/// [`Error::Foreign`], where its output is not given.
pub(crate) fn check_collecting(run: &RunDir, job: &Job, output: Option<&str>) -> Result<()> {
    refuse(run, collecting(job, output))
}

fn collecting(job: &Job, output: Option<&str>) -> Vec<String> {
    let is_said = output.is_some() || job.output == "-";
    let wants = (!is_said).then(|| format!("write {}", job.output));
    wants.into_iter().collect()
}

fn refuse(run: &RunDir, wants: Vec<String>) -> Result<()> {
    if wants.is_empty() {
        return Ok(());
    }
    Err(Error::Foreign {
        run: run.reference(),
        wants: wants.join(", "),
    })
}

/// Whether the run lies in this user's data folder, and nobody else has put it there.
fn is_at_home(run: &RunDir) -> bool {
    let (Some(folder), Ok(home)) = (run.folder(), runs::home()) else {
        return false;
    };
    let Ok(home) = home.canonicalize() else {
        return false;
    };
    folder.parent() == Some(&home)
        && [JOB, BACKEND]
            .iter()
            .all(|name| is_of_owner(&home, folder, name))
}

/// Whether what is in the folder belongs to whom the home of runs belongs to, if it is there.
#[cfg(unix)]
fn is_of_owner(home: &std::path::Path, folder: &std::path::Path, name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &std::path::Path| path.metadata().map(|meta| meta.uid()).ok();
    let user = owner(home);
    owner(folder) == user && owner(&folder.join(name)).is_none_or(|owner| Some(owner) == user)
}

#[cfg(not(unix))]
fn is_of_owner(_: &std::path::Path, _: &std::path::Path, _: &str) -> bool {
    true
}

/// Where the note of a run is.
fn note(run: &RunDir) -> Option<PathBuf> {
    let name = blake3::hash(run.uri().as_bytes()).to_hex()[..32].to_owned();
    Some(runs::data_dir().ok()?.join("known").join(name))
}

/// What tells whether plan and place are still those of the note, with `instead` in the place of one of the two.
fn digest(run: &RunDir, instead: Option<(&str, &[u8])>) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for name in [JOB, BACKEND] {
        let content = match instead.filter(|(other, _)| *other == name) {
            Some((_, content)) => content.to_vec().into(),
            None => run.get(name)?.unwrap_or_default(),
        };
        hasher
            .update(&(content.len() as u64).to_le_bytes())
            .update(&content);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
