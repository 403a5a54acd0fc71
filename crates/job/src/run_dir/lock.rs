//! The lock of a run directory.

use std::fs::{File, TryLockError};
use std::time::Duration;

use super::{LOCK, Root, RunDir};
use crate::{Error, Result};

/// How often the lock is retried, and after which delay.
const LOCK_PAUSES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// An exclusive lock, released on drop or when the process ends. In a store it locks nothing.
#[derive(Debug)]
pub struct RunLock {
    _file: Option<File>,
}

impl RunDir {
    /// Locks the directory. Retries for a moment, because a child process that is being spawned may hold the open files of a
    /// killed parent.
    ///
    /// # Errors
    /// Another process holds the lock.
    pub fn lock(&self) -> Result<RunLock> {
        self.lock_within(LOCK_PAUSES, || std::thread::sleep(LOCK_PAUSE))
    }

    fn lock_within(&self, mut pauses: u32, mut pause: impl FnMut()) -> Result<RunLock> {
        let Root::Folder(root) = &self.root else {
            return Ok(RunLock { _file: None });
        };
        let path = root.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::file("lock", &path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(RunLock { _file: Some(file) }),
                Err(TryLockError::WouldBlock) if pauses == 0 => {
                    return Err(Error::Busy { run: self.name() });
                }
                Err(TryLockError::WouldBlock) => {
                    pauses -= 1;
                    pause();
                }
                Err(TryLockError::Error(e)) => {
                    return Err(Error::storage("lock", path.display().to_string(), e));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_retried_for_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        let mut first = Some(run.lock().unwrap());
        let mut pauses = 0;
        let busy = run.lock_within(3, || pauses += 1);
        assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
        assert_eq!(pauses, 3);
        run.lock_within(3, || drop(first.take())).unwrap();
        assert!(first.is_none());
    }
}
