//! Which workers there are, and which of them rest.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

/// The first rest of a worker that is away; it doubles with each further one.
const FIRST_REST: Duration = Duration::from_millis(500);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The workers behind the URLs.
pub(super) struct Workers {
    urls: Vec<Url>,
    rests: Mutex<Vec<Rest>>,
}

/// How long a worker is left alone.
#[derive(Clone)]
struct Rest {
    until: Option<Instant>,
    next: Duration,
}

const NONE: Rest = Rest {
    until: None,
    next: FIRST_REST,
};

impl Workers {
    pub(super) fn new(urls: Vec<Url>) -> Self {
        let rests = Mutex::new(vec![NONE; urls.len()]);
        Self { urls, rests }
    }

    pub(super) fn url(&self, worker: usize) -> &Url {
        &self.urls[worker]
    }

    /// The workers that do not rest, in the order in which a lane tries them. Lanes are spread over all of them.
    pub(super) fn for_lane(&self, lane: usize) -> Vec<usize> {
        let now = Instant::now();
        let mut awake: Vec<_> = self
            .rests()
            .iter()
            .enumerate()
            .filter(|(_, rest)| rest.until.is_none_or(|until| until <= now))
            .map(|(worker, _)| worker)
            .collect();
        if !awake.is_empty() {
            let first = lane % awake.len();
            awake.rotate_left(first);
        }
        awake
    }

    /// A worker answers.
    pub(super) fn is_there(&self, worker: usize) {
        self.rests()[worker] = NONE;
    }

    /// A worker is away. Calls that are lost together say it once.
    pub(super) fn rest(&self, worker: usize) {
        let now = Instant::now();
        let rest = &mut self.rests()[worker];
        if rest.until.is_none_or(|until| until <= now) {
            rest.until = Some(now + rest.next.mul_f64(0.5 + fastrand::f64() / 2.0));
            rest.next = (rest.next * 2).min(LONGEST_REST);
        }
    }

    /// A call to a worker that took it was lost: it may be dead, or starting again. If it is dead, the next call will tell.
    pub(super) fn lost(&self, worker: usize) {
        let until = Instant::now() + FIRST_REST.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.rests()[worker].until = Some(until);
    }

    fn rests(&self) -> std::sync::MutexGuard<'_, Vec<Rest>> {
        self.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lanes_go_to_those_that_are_there() {
        let urls = ["http://a", "http://b", "http://c"].map(|url| Url::parse(url).unwrap());
        let workers = Workers::new(urls.to_vec());
        assert_eq!(workers.for_lane(0), [0, 1, 2]);
        assert_eq!(workers.for_lane(4), [1, 2, 0]);
        workers.rest(1);
        assert_eq!(workers.for_lane(4), [0, 2]);
        assert_eq!(workers.for_lane(1), [2, 0]);
        tokio::time::advance(FIRST_REST).await;
        assert_eq!(workers.for_lane(0), [0, 1, 2]);
        (0..3).for_each(|worker| workers.rest(worker));
        assert!(workers.for_lane(0).is_empty());
        // Those that rested for the first time are back before the one that did again.
        tokio::time::advance(FIRST_REST).await;
        assert_eq!(workers.for_lane(0).first(), Some(&0));
        workers.is_there(1);
        assert!(workers.for_lane(0).contains(&1));
        // Losing calls makes no rest longer.
        for _ in 0..10 {
            workers.lost(1);
            assert!(!workers.for_lane(0).contains(&1));
            tokio::time::advance(FIRST_REST).await;
            assert!(workers.for_lane(0).contains(&1));
        }
    }
}
