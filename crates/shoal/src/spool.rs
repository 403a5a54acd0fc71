//! Standard input, copied to a file, since it can be read only once.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, SystemTime};

use shoal_job::Cancel;
use shoal_job::input::Spool;
use tempfile::NamedTempFile;

use crate::{Result, runs};

/// A copy of standard input; it is gone when this is dropped.
pub(crate) struct Spooled {
    pub(crate) spool: Spool,
    /// Holds a lock on the file, too, which tells others that it is in use.
    _file: NamedTempFile,
}

/// How long a wish to stop may wait while standard input gives nothing.
const PATIENCE: Duration = Duration::from_millis(50);

/// Reads standard input to its end. The copy lies in the platform's data folder rather than in the one for temporary
/// files, which may be memory.
pub(crate) fn spool(cancel: &Cancel) -> Result<Spooled> {
    let folder = runs::data_dir()?.join("spool");
    let failed = |e: io::Error| {
        shoal_job::Error::storage("copy standard input to", folder.display().to_string(), e)
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    remove_stale(&folder);
    let mut file = NamedTempFile::new_in(&folder).map_err(failed)?;
    file.as_file().lock().map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let chunks = read_stdin();
    loop {
        if cancel.is_cancelled() {
            return Err(shoal_job::Error::Cancelled.into());
        }
        let chunk = match chunks.recv_timeout(PATIENCE) {
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
    Ok(Spooled { spool, _file: file })
}

/// The chunks of standard input. A thread waits for them, since a read cannot be told to stop; it ends with the input,
/// or with the process.
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

/// Removes copies whose process was killed. What cannot be removed is tried again the next time.
pub(crate) fn remove_stale(folder: &Path) {
    /// A file younger than this may belong to a process that has not come to locking it.
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
