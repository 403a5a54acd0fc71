//! Execution environments of a platform.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::task::Moment;
use super::{Ramp, Scenario};

/// The platform's environments, numbered from 0 by first use.
pub(super) struct Environments {
    /// Busy environments and when each becomes free, earliest first.
    busy: BinaryHeap<Reverse<(Moment, u64)>>,
    /// Warm, free environments, lowest number first.
    free: BinaryHeap<Reverse<u64>>,
    /// Number of environments used so far.
    used: u64,
    /// Number of environments allowed so far.
    allowed: u64,
    /// Maximum number of environments.
    most: u64,
    ramp: Option<Ramp>,
    /// When the ramp starts.
    since: f64,
    /// Number of steps of the ramp so far.
    steps: u64,
}

impl Environments {
    pub(super) fn new(scenario: &Scenario) -> Self {
        // Maximum number of concurrent calls per batch.
        let calls = if scenario.speculation.is_some() { 2 } else { 1 };
        let most = scenario
            .environments
            .min(scenario.batches.saturating_mul(calls).max(1));
        Self {
            busy: BinaryHeap::new(),
            free: BinaryHeap::new(),
            used: 0,
            allowed: scenario.ramp.map_or(most, |ramp| ramp.start.min(most)),
            most,
            ramp: scenario.ramp,
            since: scenario.setup_seconds,
            steps: 0,
        }
    }

    /// Advances to `now`: frees environments and takes the steps of the ramp that are due. Calls
    /// `ended` for each environment that becomes free, in chronological order.
    pub(super) fn advance(&mut self, now: f64, mut ended: impl FnMut(u64)) {
        while let Some(&Reverse((end, environment))) = self.busy.peek()
            && end.seconds() <= now
        {
            self.busy.pop();
            self.free.push(Reverse(environment));
            ended(environment);
        }
        while let Some((at, ramp)) = self.next_step()
            && at <= now
        {
            self.steps += 1;
            self.allowed = self.allowed.saturating_add(ramp.step).min(self.most);
        }
    }

    /// When the next step of the ramp is due, if there is one.
    fn next_step(&self) -> Option<(f64, Ramp)> {
        let ramp = self.ramp.filter(|_| self.allowed < self.most)?;
        // A running sum would accumulate rounding errors.
        let at = self.since + (self.steps + 1) as f64 * ramp.every_seconds;
        Some((at, ramp))
    }

    /// Whether another invocation can begin.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.used < self.allowed
    }

    /// Whether the next invocation would start cold.
    pub(super) fn is_next_cold(&self) -> bool {
        self.free.is_empty()
    }

    /// When the next environment becomes free or allowed.
    pub(super) fn next_change(&self) -> f64 {
        let free = self.busy.peek();
        let free = free.map_or(f64::INFINITY, |Reverse((end, _))| end.seconds());
        self.next_step().map_or(free, |(at, _)| free.min(at))
    }

    /// Takes the environment for the next invocation, and returns it and whether it starts cold.
    /// Requires [`has_room`](Self::has_room).
    pub(super) fn take(&mut self) -> (u64, bool) {
        if let Some(Reverse(environment)) = self.free.pop() {
            return (environment, false);
        }
        self.used += 1;
        (self.used - 1, true)
    }

    /// Marks an environment as busy until `end`.
    pub(super) fn occupy(&mut self, environment: u64, end: f64) {
        self.busy.push(Reverse((Moment::at(end), environment)));
    }

    /// Number of busy environments.
    pub(super) fn busy(&self) -> u64 {
        self.busy.len() as u64
    }
}
