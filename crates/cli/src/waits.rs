//! Reports what does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::output::say;
use shoal::job::waits::{Attempt, Wait, longest};

/// A wait is reported after this time.
pub(crate) const LONG: Duration = Duration::from_secs(2);
/// The time after which it is reported again, and until another one is reported.
const AGAIN: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_secs(10);
/// How often waits are looked at.
const EVERY: Duration = Duration::from_millis(200);

/// Whether nothing is reported any more.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Reports no more waits, because the screen belongs to something else.
pub(crate) fn stop() {
    STOPPED.store(true, Ordering::Relaxed);
}

/// Reports long waits on standard error from now on.
pub(crate) fn report() {
    let mut reporter = Reporter::default();
    let watch = move || {
        while !STOPPED.load(Ordering::Relaxed) {
            thread::sleep(EVERY);
            if let Some(wait) = long()
                && reporter.is_due(&wait, Instant::now())
            {
                say(&format!("waiting for {wait}"));
            }
        }
    };
    // Without the thread, the run works as well.
    let _ = thread::Builder::new().name("waits".into()).spawn(watch);
}

/// The wait that takes longest, if it takes long.
pub(crate) fn long() -> Option<Wait> {
    longest().filter(|wait| wait.since.elapsed() >= LONG)
}

/// What was reported last.
#[derive(Default)]
struct Reporter {
    last: Option<(Arc<str>, Option<Attempt>, Instant)>,
}

impl Reporter {
    /// Whether the wait is to be reported at `now`.
    fn is_due(&mut self, wait: &Wait, now: Instant) -> bool {
        let is_due = match &self.last {
            None => true,
            Some((what, attempt, at)) => {
                let pause = match *what == wait.what {
                    true if *attempt != wait.attempt => LONG,
                    true if wait.received.is_none() => AGAIN,
                    _ => BETWEEN,
                };
                now.duration_since(*at) >= pause
            }
        };
        if is_due {
            self.last = Some((wait.what.clone(), wait.attempt, now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_reported_for_each_attempt_and_others_seldom() {
        let start = Instant::now();
        let wait = |what: &str, number| Wait {
            what: what.into(),
            since: start,
            attempt: Some(Attempt { number, of: 3 }),
            received: None,
        };
        let mut reporter = Reporter::default();
        for (seconds, what, attempt, expected) in [
            (2, "a", 1, true),
            (3, "a", 2, false),
            (4, "a", 2, true),
            (20, "a", 2, false),
            (34, "a", 2, true),
            (40, "b", 1, false),
            (44, "b", 1, true),
        ] {
            let now = start + Duration::from_secs(seconds);
            let found = reporter.is_due(&wait(what, attempt), now);
            assert_eq!(found, expected, "{what} at {seconds} s");
        }
    }
}
