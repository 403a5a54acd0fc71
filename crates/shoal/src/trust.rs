//! The owner of a run directory. A run directory determines the output, the inputs, the model and the backend, so those of
//! other users are not trusted.
//!
//! Runs in this user's data folder are their own. For others, the data folder holds a note with a digest of the plan and
//! the backend when they were last started by this user.

use std::io::Write;
use std::path::{Path, PathBuf};

use shoal_job::run_dir::{BACKEND, JOB};
use shoal_job::{Job, RunDir};

use crate::backend::BackendConfig;
use crate::inputs::STDIN;
use crate::settings::ResumeOptions;
use crate::{Error, Result, folders};

/// Whether this user created the run.
///
/// # Errors
/// It cannot be read.
pub fn is_own(run: &RunDir) -> Result<bool> {
    if is_in_data_folder(run) {
        return Ok(true);
    }
    let Some(noted) = note(run).and_then(|note| std::fs::read_to_string(note).ok()) else {
        return Ok(false);
    };
    let digest = digest(run, None)?;
    Ok(noted.lines().any(|line| line == digest))
}

/// Notes that this user is about to write `content` as `name` into their run. The note covers both contents, so that the run
/// stays trusted if the process is killed before or after the write. Failures are ignored, as in [`remember`].
pub(crate) fn announce(run: &RunDir, name: &str, content: &[u8]) {
    let digests = [digest(run, None), digest(run, Some((name, content)))];
    write_note(run, digests.into_iter().flatten());
}

/// Notes that this user created the run. Failures are ignored: without the note, the run is not trusted.
pub(crate) fn remember(run: &RunDir) {
    write_note(run, digest(run, None).into_iter());
}

fn write_note(run: &RunDir, digests: impl Iterator<Item = String>) {
    let write = || -> Option<()> {
        let note = note(run)?;
        let folder = note.parent()?;
        std::fs::create_dir_all(folder).ok()?;
        // The note appears as a whole or not at all.
        let mut file = tempfile::NamedTempFile::new_in(folder).ok()?;
        for digest in digests {
            writeln!(file, "{digest}").ok()?;
        }
        file.persist(note).ok().map(drop)
    };
    if !is_in_data_folder(run) {
        let _ = write();
    }
}

/// Removes the note of a removed run. Failures are ignored: the note does not match another run in the same place.
pub(crate) fn forget(run: &RunDir) {
    if let Some(note) = note(run) {
        let _ = std::fs::remove_file(note);
    }
}

/// Fails unless a run of another user may be resumed: `options` must give its output and backend, and it must not read
/// inputs or open a model.
///
/// # Errors
/// [`Error::Foreign`], with all that the run directory would make shoal do.
pub(crate) fn check(run: &RunDir, job: &Job, options: &ResumeOptions) -> Result<()> {
    let mut wants = output_of(job, options.output.as_deref());
    match &options.backend {
        None => {
            let last = BackendConfig::last(run)?;
            let at = match last.settings().urls() {
                [] => String::new(),
                urls => format!(" at {}", urls.join(", ")),
            };
            if !last.settings().is_in_process() {
                wants.push(format!("call functions by {}{at}", last.name()));
            }
        }
        Some(backend) => {
            if let Some(file) = backend.settings().execution()
                && run.get(file)?.is_some()
            {
                wants.push(format!("continue the execution in {file}"));
            }
        }
    }
    let inputs = job.inputs.iter().filter(|input| *input != STDIN);
    wants.extend(inputs.take(3).map(|input| format!("read {input}")));
    if job.function.reference != crate::bundled::NAME {
        wants.push(format!("open the model {}", job.function.reference));
    }
    refuse(run, wants)
}

/// Fails unless a run of another user may be collected.
///
/// # Errors
/// [`Error::Foreign`] if `output` is not given.
pub(crate) fn check_collecting(run: &RunDir, job: &Job, output: Option<&str>) -> Result<()> {
    refuse(run, output_of(job, output))
}

/// The output that the job would write, if it is a file and none is given.
fn output_of(job: &Job, given: Option<&str>) -> Vec<String> {
    match given {
        None if job.output != "-" => vec![format!("write {}", job.output)],
        _ => Vec::new(),
    }
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

/// Whether the run is in this user's data folder and belongs to this user.
fn is_in_data_folder(run: &RunDir) -> bool {
    let (Some(folder), Ok(home)) = (run.folder(), folders::runs()) else {
        return false;
    };
    let Ok(home) = home.canonicalize() else {
        return false;
    };
    folder.parent() == Some(&home)
        && [JOB, BACKEND]
            .iter()
            .all(|name| has_owner_of(&home, folder, name))
}

/// Whether the folder, and the file `name` in it if it exists, have the same owner as `home`.
#[cfg(unix)]
fn has_owner_of(home: &Path, folder: &Path, name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let owner = |path: &Path| path.metadata().map(|meta| meta.uid()).ok();
    let user = owner(home);
    owner(folder) == user && owner(&folder.join(name)).is_none_or(|owner| Some(owner) == user)
}

#[cfg(not(unix))]
fn has_owner_of(_: &Path, _: &Path, _: &str) -> bool {
    true
}

/// The path of a run's note.
fn note(run: &RunDir) -> Option<PathBuf> {
    let name = blake3::hash(run.uri().as_bytes()).to_hex()[..32].to_owned();
    Some(folders::data().ok()?.join("known").join(name))
}

/// The digest of plan and backend, with the file `replaced` replaced by a content.
fn digest(run: &RunDir, replaced: Option<(&str, &[u8])>) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for name in [JOB, BACKEND] {
        let content = match replaced.filter(|(other, _)| *other == name) {
            Some((_, content)) => content.to_vec().into(),
            None => run.get(name)?.unwrap_or_default(),
        };
        hasher
            .update(&(content.len() as u64).to_le_bytes())
            .update(&content);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
