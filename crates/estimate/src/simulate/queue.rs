//! Pending tasks, and when they may begin.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::second::Second;
use super::{Scenario, ScenarioError};

/// A time in seconds with a total order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(pub(super) f64);

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// A batch, or the remainder of one, for one attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) batch: u64,
    /// From 1, restarting for each remainder.
    pub(super) attempt: u32,
    /// Number of previous invocations that processed a part of the batch.
    pub(super) range: u32,
    /// Remaining work of the batch, in seconds on a warm environment.
    pub(super) seconds: f64,
    /// When it may begin.
    pub(super) due: f64,
    /// When the batch's first invocation began.
    pub(super) first_start: f64,
    /// Set if this is a second attempt while the first is active.
    pub(super) second: Option<Second>,
    /// Whether the batch already had its second attempt.
    pub(super) had_second: bool,
}

impl Task {
    /// Ordered by time, then by batch, so that the order is deterministic.
    fn key(&self) -> (Moment, u64) {
        (Moment(self.due), self.batch)
    }
}

impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Task {}

impl PartialOrd for Task {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Task {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Pending batches: those never called in order, all others by time.
pub(super) struct Queue<'a, W> {
    scenario: &'a Scenario,
    work: W,
    next: u64,
    /// When the platform may start the next batch.
    next_start: f64,
    start_seconds: f64,
    waiting: BinaryHeap<Reverse<Task>>,
}

impl<'a, W: FnMut(u64) -> f64> Queue<'a, W> {
    pub(super) fn new(scenario: &'a Scenario, work: W) -> Self {
        Self {
            scenario,
            work,
            next: 0,
            next_start: scenario.setup_seconds,
            start_seconds: scenario.starts_per_second.map_or(0.0, f64::recip),
            waiting: BinaryHeap::new(),
        }
    }

    /// Takes the next task that may begin at `now`.
    pub(super) fn take(&mut self, now: f64) -> Result<Option<Task>, ScenarioError> {
        if self
            .waiting
            .peek()
            .is_some_and(|Reverse(task)| task.due <= now)
        {
            return Ok(self.waiting.pop().map(|Reverse(task)| task));
        }
        if self.next == self.scenario.batches || self.next_start > now {
            return Ok(None);
        }
        let batch = self.next;
        let seconds = (self.work)(batch);
        self.scenario.check_work(batch, seconds)?;
        self.next += 1;
        self.next_start = now + self.start_seconds;
        Ok(Some(Task {
            batch,
            attempt: 1,
            range: 0,
            seconds,
            due: now,
            first_start: now,
            second: None,
            had_second: false,
        }))
    }

    /// Whether some batches were never called.
    pub(super) fn has_unstarted(&self) -> bool {
        self.next < self.scenario.batches
    }

    /// When the next task may begin, if none may begin now; `None` if none is left.
    pub(super) fn next_change(&self) -> Option<f64> {
        let next = self.has_unstarted().then_some(self.next_start);
        let waiting = self.waiting.peek().map(|Reverse(task)| task.due);
        match (next, waiting) {
            (Some(next), Some(waiting)) => Some(next.min(waiting)),
            (next, waiting) => next.or(waiting),
        }
    }

    /// Queues a task until it is due.
    pub(super) fn push(&mut self, task: Task) {
        self.waiting.push(Reverse(task));
    }
}
