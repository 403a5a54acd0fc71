//! The inputs of a job. Standard input is copied to a file, since it can be read only once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, SystemTime};

use shoal_job::format::Format;
use shoal_job::input::{Found, Spool, locate};
use shoal_job::run_dir::SPOOL;
use shoal_job::store::is_url;
use shoal_job::{Cancel, file_name};
use tempfile::{NamedTempFile, TempDir};

use crate::{Error, Result, folders};

/// The name of standard input.
pub(crate) const STDIN: &str = "-";
/// How often cancellation is checked while standard input is silent.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// The inputs of a job, located.
pub(crate) struct Inputs {
    /// Absolute paths and URLs.
    pub(crate) names: Vec<String>,
    pub(crate) found: Vec<Found>,
    spooled: Option<Spooled>,
}

/// The copy of standard input, deleted when this is dropped.
struct Spooled {
    spool: Spool,
    /// Locked to mark it as in use.
    file: Option<NamedTempFile>,
    folder: SpoolFolder,
}

/// The folder for the copy of standard input.
pub(crate) enum SpoolFolder {
    /// A folder that several processes may use. It is removed when it is empty.
    Shared(PathBuf),
    /// A folder for this copy only.
    Temporary(TempDir),
}

impl SpoolFolder {
    /// The one beside the runs on this machine.
    pub(crate) fn data() -> Result<Self> {
        Ok(Self::Shared(folders::data()?.join(SPOOL)))
    }

    /// A new temporary folder.
    pub(crate) fn temporary() -> Result<Self> {
        Ok(Self::Temporary(folders::temporary()?))
    }

    /// The one beside the runs on this machine if it can be written, as temporary folders may be in memory; else a temporary
    /// one.
    pub(crate) fn data_or_temporary() -> Result<Self> {
        match Self::data() {
            Ok(folder) if locked_file(folder.path()).is_ok() => Ok(folder),
            _ => Self::temporary(),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Shared(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl Drop for Spooled {
    fn drop(&mut self) {
        self.file = None;
        // Fails if the folder has copies of other processes.
        let _ = std::fs::remove_dir(self.folder.path());
    }
}

impl Inputs {
    /// Locates `inputs`, and reads standard input to its end if it is among them. Its copy is in the folder that `spool_in`
    /// returns.
    pub(crate) fn find(
        inputs: &[String],
        format: Option<Format>,
        spool_in: impl FnOnce() -> Result<SpoolFolder>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let names = absolute(inputs)?;
        let has_stdin = names.iter().any(|name| name == STDIN);
        let spooled = has_stdin.then(|| copy(spool_in()?, cancel)).transpose()?;
        let found = locate(&names, format, spooled.as_ref().map(|copy| &copy.spool))?;
        Ok(Self {
            names,
            found,
            spooled,
        })
    }

    /// Names the copy of standard input instead of standard input, so that it can be read several times.
    pub(crate) fn name_copy(&mut self) -> Result<()> {
        let stdin = self.found.iter().find(|found| found.uri == STDIN);
        let (Some(stdin), Some(copy)) = (stdin, &mut self.spooled) else {
            return Ok(());
        };
        // The name of a file has its format.
        let path = copy.spool.path.with_extension(stdin.format.name());
        std::fs::rename(&copy.spool.path, &path)
            .map_err(|e| shoal_job::Error::storage("rename", path.display().to_string(), e))?;
        let name = file_name::text(&path)?.to_owned();
        for known in self.names.iter_mut().filter(|name| *name == STDIN) {
            known.clone_from(&name);
        }
        copy.spool.path = path;
        Ok(())
    }

    /// The copy of standard input.
    pub(crate) fn spool(&self) -> Option<&Spool> {
        self.spooled.as_ref().map(|copy| &copy.spool)
    }
}

/// The size of all inputs in bytes, as far as it is known.
pub(crate) fn bytes(found: &[Found]) -> u64 {
    let sizes = found.iter().filter_map(|found| found.location.meta().ok());
    sizes.map(|meta| meta.bytes).sum()
}

/// Names of inputs that do not depend on the working directory.
pub(crate) fn absolute(inputs: &[String]) -> Result<Vec<String>> {
    if inputs.is_empty() || inputs.iter().any(String::is_empty) {
        return Err(Error::Settings(
            "failed to find the input: it has no name; name a file, or - for standard input".into(),
        ));
    }
    let absolute = |input: &String| {
        if input == STDIN || is_url(input) {
            return Ok(input.clone());
        }
        let path =
            std::path::absolute(input).map_err(|e| shoal_job::Error::storage("find", input, e))?;
        Ok(file_name::text(&path)?.to_owned())
    };
    inputs.iter().map(absolute).collect()
}

/// Copies standard input to a file in `folder`.
fn copy(folder: SpoolFolder, cancel: &Cancel) -> Result<Spooled> {
    let path = folder.path();
    let failed = |e: io::Error| {
        shoal_job::Error::storage("copy standard input to", path.display().to_string(), e)
    };
    let mut file = locked_file(path).map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let chunks = read_stdin();
    loop {
        if cancel.is_cancelled() {
            return Err(shoal_job::Error::Cancelled.into());
        }
        let chunk = match chunks.recv_timeout(CHECK_INTERVAL) {
            Ok(chunk) => {
                chunk.map_err(|e| shoal_job::Error::storage("read", "standard input", e))?
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(failed)?;
    }
    let spool = Spool {
        path: file.path().to_owned(),
        digest: hasher.finalize().to_hex().to_string(),
    };
    Ok(Spooled {
        spool,
        file: Some(file),
        folder,
    })
}

/// A new temporary file in `folder`. It is locked, so that other processes do not remove it.
pub(crate) fn locked_file(folder: &Path) -> io::Result<NamedTempFile> {
    std::fs::create_dir_all(folder)?;
    remove_stale(folder);
    let file = NamedTempFile::new_in(folder)?;
    file.as_file().lock()?;
    Ok(file)
}

/// Reads standard input in chunks. A read cannot be interrupted, so a thread does it, until the input or the process ends.
fn read_stdin() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, chunks) = sync_channel(4);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut buffer = vec![0; 1 << 18];
        loop {
            let chunk = match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(buffer[..read].to_vec()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => Err(e),
            };
            let is_last = chunk.is_err();
            if sender.send(chunk).is_err() || is_last {
                return;
            }
        }
    });
    chunks
}

/// Removes files of killed processes. Failures are ignored: the next call tries again.
fn remove_stale(folder: &Path) {
    /// A younger file may not be locked yet.
    const GRACE: Duration = Duration::from_secs(60);
    let is_stale = |path: &PathBuf| -> io::Result<bool> {
        let file = File::open(path)?;
        let age = SystemTime::now().duration_since(file.metadata()?.modified()?);
        Ok(age.is_ok_and(|age| age > GRACE) && file.try_lock().is_ok())
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if is_stale(&path).unwrap_or(false) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_copies_that_nobody_holds_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, old: bool| {
            let file = File::create(folder.path().join(name)).unwrap();
            if old {
                file.set_modified(SystemTime::now() - Duration::from_secs(3600))
                    .unwrap();
            }
            file
        };
        make("new", false);
        make("stale", true);
        let held = make("held", true);
        held.lock().unwrap();
        remove_stale(folder.path());
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!(
            (left("new"), left("stale"), left("held")),
            (true, false, true)
        );
    }
}
