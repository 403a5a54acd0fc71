//! Pending tasks, and when they may begin.

use std::collections::BTreeMap;

use super::task::{Moment, Task};
use super::{Scenario, ScenarioError};

/// Pending tasks: batches that were never called, in order, and all others by time.
pub(super) struct Queue<'a, W> {
    scenario: &'a Scenario,
    work: W,
    /// The next batch that was never called.
    next: u64,
    /// When the platform may start the next batch.
    next_start: f64,
    /// Seconds between the starts of two batches.
    start_seconds: f64,
    /// By due time, then by batch. A batch has at most one waiting task.
    waiting: BTreeMap<(Moment, u64), Task>,
}

impl<'a, W: FnMut(u64) -> f64> Queue<'a, W> {
    pub(super) fn new(scenario: &'a Scenario, work: W) -> Self {
        Self {
            scenario,
            work,
            next: 0,
            next_start: scenario.setup_seconds,
            start_seconds: scenario.starts_per_second.map_or(0.0, f64::recip),
            waiting: BTreeMap::new(),
        }
    }

    /// Takes the next task that may begin at `now`.
    pub(super) fn take(&mut self, now: f64) -> Result<Option<Task>, ScenarioError> {
        if let Some(first) = self.waiting.first_entry()
            && first.get().due <= now
        {
            return Ok(Some(first.remove()));
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
        let waiting = self.waiting.first_key_value().map(|(_, task)| task.due);
        next.into_iter().chain(waiting).reduce(f64::min)
    }

    /// Queues a task until it is due.
    pub(super) fn push(&mut self, task: Task) {
        self.waiting
            .insert((Moment::at(task.due), task.batch), task);
    }
}
