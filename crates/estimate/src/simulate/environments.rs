//! Where invocations run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::queue::Moment;
use super::{Ramp, Scenario};

/// The platform's environments, numbered from 0 by their first use.
pub(super) struct Environments {
    /// When each taken one is free again, the first on top.
    busy: BinaryHeap<Reverse<(Moment, u64)>>,
    /// Those that are warm and free, the lowest on top.
    free: BinaryHeap<Reverse<u64>>,
    /// Those that were ever used.
    used: u64,
    /// Those that may be used by now.
    allowed: u64,
    most: u64,
    growth: Option<Growth>,
}

/// How more become allowed.
struct Growth {
    ramp: Ramp,
    since: f64,
    steps: u64,
}

impl Growth {
    fn next_step(&self) -> f64 {
        // Not a sum of steps, which would drift.
        self.since + (self.steps + 1) as f64 * self.ramp.every_seconds
    }
}

impl Environments {
    pub(super) fn new(scenario: &Scenario) -> Self {
        // No batch is worked on more often at a time.
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
            growth: scenario.ramp.map(|ramp| Growth {
                ramp,
                since: scenario.setup_seconds,
                steps: 0,
            }),
        }
    }

    /// Frees what is free by `now`, and allows what is allowed by then. `ended` is told each that becomes free, in the order
    /// of time.
    pub(super) fn advance(&mut self, now: f64, mut ended: impl FnMut(u64)) {
        while let Some(&Reverse((end, environment))) = self.busy.peek()
            && end.0 <= now
        {
            self.busy.pop();
            self.free.push(Reverse(environment));
            ended(environment);
        }
        while let Some(growth) = &mut self.growth
            && self.allowed < self.most
            && growth.next_step() <= now
        {
            growth.steps += 1;
            self.allowed = self.allowed.saturating_add(growth.ramp.step).min(self.most);
        }
    }

    /// Whether another invocation may begin.
    pub(super) fn has_room(&self) -> bool {
        !self.free.is_empty() || self.used < self.allowed
    }

    /// Whether another invocation would start cold.
    pub(super) fn is_next_cold(&self) -> bool {
        self.free.is_empty()
    }

    /// When the next one becomes free or allowed.
    pub(super) fn next_change(&self) -> f64 {
        let free = self
            .busy
            .peek()
            .map_or(f64::INFINITY, |Reverse((end, _))| end.0);
        match &self.growth {
            Some(growth) if self.allowed < self.most => free.min(growth.next_step()),
            _ => free,
        }
    }

    /// The environment of the next invocation, and whether it starts cold. There must be room.
    pub(super) fn take(&mut self) -> (u64, bool) {
        if let Some(Reverse(environment)) = self.free.pop() {
            return (environment, false);
        }
        self.used += 1;
        (self.used - 1, true)
    }

    /// Has an environment be taken up to `end`.
    pub(super) fn occupy(&mut self, environment: u64, end: f64) {
        self.busy.push(Reverse((Moment(end), environment)));
    }

    /// How many are taken.
    pub(super) fn busy(&self) -> u64 {
        self.busy.len() as u64
    }
}
