//! Tracks which workers are available.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use shoal_job::http::Url;
use tokio::time::Instant;

/// How long an unavailable worker is skipped at first; the time doubles with each further failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
/// The longest time for which a worker is skipped.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The workers behind the URLs.
pub(super) struct Workers {
    urls: Vec<Url>,
    backoffs: Mutex<Vec<Backoff>>,
}

/// How long a worker is skipped.
#[derive(Clone)]
struct Backoff {
    until: Option<Instant>,
    next: Duration,
}

const AVAILABLE: Backoff = Backoff {
    until: None,
    next: FIRST_BACKOFF,
};

impl Workers {
    pub(super) fn new(urls: Vec<Url>) -> Self {
        let backoffs = Mutex::new(vec![AVAILABLE; urls.len()]);
        Self { urls, backoffs }
    }

    pub(super) fn url(&self, worker: usize) -> &Url {
        &self.urls[worker]
    }

    /// The available workers, in the order in which a lane tries them. Lanes are spread over all of them.
    pub(super) fn for_lane(&self, lane: usize) -> Vec<usize> {
        let now = Instant::now();
        let mut available: Vec<_> = self
            .backoffs()
            .iter()
            .enumerate()
            .filter(|(_, backoff)| backoff.until.is_none_or(|until| until <= now))
            .map(|(worker, _)| worker)
            .collect();
        if !available.is_empty() {
            let first = lane % available.len();
            available.rotate_left(first);
        }
        available
    }

    /// Records that a worker answered.
    pub(super) fn mark_available(&self, worker: usize) {
        self.backoffs()[worker] = AVAILABLE;
    }

    /// Records that a worker is unavailable. Calls that fail at the same time count once.
    pub(super) fn mark_unavailable(&self, worker: usize) {
        let now = Instant::now();
        let backoff = &mut self.backoffs()[worker];
        if backoff.until.is_none_or(|until| until <= now) {
            backoff.until = Some(now + backoff.next.mul_f64(0.5 + fastrand::f64() / 2.0));
            backoff.next = (backoff.next * 2).min(MAX_BACKOFF);
        }
    }

    /// Records that a worker lost a call that it had accepted. It may be restarting; the next call shows whether it is
    /// unavailable.
    pub(super) fn mark_lost(&self, worker: usize) {
        let until = Instant::now() + FIRST_BACKOFF.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.backoffs()[worker].until = Some(until);
    }

    fn backoffs(&self) -> std::sync::MutexGuard<'_, Vec<Backoff>> {
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lanes_use_available_workers() {
        let urls = ["http://a", "http://b", "http://c"].map(|url| Url::parse(url).unwrap());
        let workers = Workers::new(urls.to_vec());
        assert_eq!(workers.for_lane(0), [0, 1, 2]);
        assert_eq!(workers.for_lane(4), [1, 2, 0]);
        workers.mark_unavailable(1);
        assert_eq!(workers.for_lane(4), [0, 2]);
        assert_eq!(workers.for_lane(1), [2, 0]);
        tokio::time::advance(FIRST_BACKOFF).await;
        assert_eq!(workers.for_lane(0), [0, 1, 2]);
        (0..3).for_each(|worker| workers.mark_unavailable(worker));
        assert!(workers.for_lane(0).is_empty());
        // Worker 1 failed for the second time, so it is skipped for longer than the others.
        tokio::time::advance(FIRST_BACKOFF).await;
        assert_eq!(workers.for_lane(0).first(), Some(&0));
        workers.mark_available(1);
        assert!(workers.for_lane(0).contains(&1));
        // Lost calls do not increase the backoff.
        for _ in 0..10 {
            workers.mark_lost(1);
            assert!(!workers.for_lane(0).contains(&1));
            tokio::time::advance(FIRST_BACKOFF).await;
            assert!(workers.for_lane(0).contains(&1));
        }
    }
}
