//! What this process waits for: requests to stores, workers, model hubs and platforms that have no answer yet. A front end
//! shows the ones that take long.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// All waits, in the order in which they began.
static WAITS: Mutex<Vec<(u64, Wait)>> = Mutex::new(Vec::new());

fn waits() -> MutexGuard<'static, Vec<(u64, Wait)>> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait for an answer. Formats what it waits for, and the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// What does not answer, such as a URL.
    pub what: Arc<str>,
    /// When it began.
    pub since: Instant,
    /// The attempt, from 1, if it is known.
    pub attempt: Option<Attempt>,
    /// Bytes that were received, and all bytes, once some were.
    pub received: Option<(u64, u64)>,
}

/// An attempt at a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The number of attempts, at most.
    pub of: u32,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some((bytes, of)) = self.received {
            let mb = |bytes| bytes as f64 / 1e6;
            return write!(f, " ({:.1} of {:.1} MB)", mb(bytes), mb(of));
        }
        match self.attempt {
            Some(Attempt { number, of }) => write!(f, " (attempt {number} of at most {of})"),
            None => Ok(()),
        }
    }
}

/// The wait that began first.
pub fn longest() -> Option<Wait> {
    waits().first().map(|(_, wait)| wait.clone())
}

/// Announces that the caller waits for `what`, until the result is dropped.
pub fn waiting_for(what: impl Into<Arc<str>>) -> Waiting {
    let mut waits = waits();
    let id = waits.last().map_or(0, |(id, _)| id + 1);
    let wait = Wait {
        what: what.into(),
        since: Instant::now(),
        attempt: None,
        received: None,
    };
    waits.push((id, wait));
    Waiting { id }
}

/// A wait, which ends when this is dropped.
#[derive(Debug)]
#[must_use = "the wait ends when this is dropped"]
pub struct Waiting {
    id: u64,
}

impl Waiting {
    /// Announces an attempt.
    pub fn attempt(&self, number: u32, of: u32) {
        self.change(|wait| wait.attempt = Some(Attempt { number, of }));
    }

    /// Announces the next attempt of at most `of`.
    pub fn next_attempt(&self, of: u32) {
        self.change(|wait| {
            let number = wait.attempt.map_or(0, |attempt| attempt.number) + 1;
            wait.attempt = Some(Attempt { number, of });
        });
    }

    /// Announces an answer, though the caller still waits, such as for the next part of a long answer.
    pub fn answered(&self) {
        self.change(|wait| {
            wait.since = Instant::now();
            wait.attempt = None;
        });
    }

    /// Announces how many bytes of a long answer were received.
    pub fn received(&self, bytes: u64, of: u64) {
        self.change(|wait| wait.received = Some((bytes, of)));
    }

    fn change(&self, change: impl FnOnce(&mut Wait)) {
        let mut waits = waits();
        if let Some((_, wait)) = waits.iter_mut().find(|(id, _)| *id == self.id) {
            change(wait);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        waits().retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wait for `what`. Other tests of this process wait too.
    fn found(what: &str) -> Option<String> {
        let waits = waits();
        let wait = waits.iter().find(|(_, wait)| &*wait.what == what);
        wait.map(|(_, wait)| wait.to_string())
    }

    #[test]
    fn a_wait_is_known_until_it_ends() {
        let (one, other) = (waiting_for("one"), waiting_for("other"));
        assert_eq!(found("one").as_deref(), Some("one"));
        one.attempt(2, 10);
        other.next_attempt(3);
        other.next_attempt(3);
        assert_eq!(
            found("one").as_deref(),
            Some("one (attempt 2 of at most 10)")
        );
        assert_eq!(
            found("other").as_deref(),
            Some("other (attempt 2 of at most 3)")
        );
        one.received(1_500_000, 3_000_000);
        assert_eq!(found("one").as_deref(), Some("one (1.5 of 3.0 MB)"));
        drop(one);
        other.answered();
        assert_eq!(found("one"), None);
        assert_eq!(found("other").as_deref(), Some("other"));
    }
}
