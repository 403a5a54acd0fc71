//! The state that all actors of a run share: objects, outage, injected faults and counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::scenario::Scenario;
use crate::scheduler::Scheduler;
use crate::{Fault, Faults};

/// The maximum age of changes that a stale list misses.
const LONGEST_LAG: Duration = Duration::from_secs(20);

/// The shared state of a run.
#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) scenario: Scenario,
    pub(crate) objects: Arc<dyn ObjectStore>,
    state: Mutex<State>,
    _folder: Option<tempfile::TempDir>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Whether no more faults are injected.
    pub(crate) is_fault_free: bool,
    /// The next outage, and the number of requests until then.
    next_outage: Option<(u64, Fault)>,
    pub(crate) outage: Option<Fault>,
    /// The number of requests to the store so far, by all processes.
    pub(crate) requests: u64,
    /// The number of calls so far.
    pub(crate) calls: u64,
    /// The faults injected so far.
    pub(crate) faults: Faults,
    /// Calls that a fault affected, as batch and call number.
    pub(crate) disturbed: BTreeSet<(u64, u64)>,
    /// Every put (`true`) and every deletion (`false`) of an object.
    changes: Vec<(Duration, Path, bool)>,
}

impl Simulation {
    pub(crate) fn new(scheduler: Arc<Scheduler>, scenario: Scenario) -> Arc<Self> {
        let folder = scenario.on_disk.then(tempfile::tempdir).transpose();
        let folder = folder.expect("a temporary folder can be created");
        let objects: Arc<dyn ObjectStore> = match &folder {
            Some(folder) => {
                let store = LocalFileSystem::new_with_prefix(folder.path());
                Arc::new(store.expect("the folder exists"))
            }
            None => Arc::new(InMemory::new()),
        };
        Arc::new(Self {
            scheduler,
            scenario,
            objects,
            state: Mutex::default(),
            _folder: folder,
        })
    }

    /// The state, locked until the guard is dropped. All other methods lock it, too.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the current outage and schedules the next one.
    pub(crate) fn schedule_outage(&self, outage: Option<(u64, Fault)>) {
        let mut state = self.state();
        state.outage = None;
        state.next_outage = outage;
    }

    /// Injects no more faults from now on.
    pub(crate) fn stop_faults(&self) {
        self.schedule_outage(None);
        self.state().is_fault_free = true;
    }

    /// The current probability of a fault.
    pub(crate) fn rate(&self, fault: Fault) -> f64 {
        if self.state().is_fault_free {
            0.0
        } else {
            self.scenario.rate(fault)
        }
    }

    /// Counts a request and returns the current outage, if there is one.
    pub(crate) fn request(&self) -> Option<Fault> {
        let mut state = self.state();
        state.requests += 1;
        if let Some((left, fault)) = &mut state.next_outage {
            let fault = *fault;
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.next_outage = None;
                state.outage = Some(fault);
                state.faults.count(fault);
                drop(state);
                self.scheduler.log(format_args!("outage: {fault}"));
                return Some(fault);
            }
        }
        state.outage
    }

    /// The number of a new call of the function.
    pub(crate) fn number_call(&self) -> u64 {
        let mut state = self.state();
        state.calls += 1;
        state.calls
    }

    /// Counts an injected fault.
    pub(crate) fn inject(&self, fault: Fault) {
        self.state().faults.count(fault);
    }

    /// Records that a fault affected a call for `batch`.
    pub(crate) fn mark_disturbed(&self, batch: u64, call: u64) {
        self.state().disturbed.insert((batch, call));
    }

    /// The number of calls for `batch` that a fault affected, without the first `before` calls of the run.
    pub(crate) fn disturbed_calls_of(&self, batch: u64, before: u64) -> usize {
        let state = self.state();
        state
            .disturbed
            .range((batch, before + 1)..=(batch, u64::MAX))
            .count()
    }

    /// Records that an object was put or deleted.
    pub(crate) fn change(&self, path: &Path, is_there: bool) {
        let at = self.scheduler.now();
        self.state().changes.push((at, path.clone(), is_there));
    }

    /// The objects under `prefix` that were recently put, and those that were recently deleted.
    pub(crate) fn recent_changes(&self, prefix: &Path) -> (BTreeSet<Path>, BTreeSet<Path>) {
        let now = self.scheduler.now();
        let mut last = BTreeMap::new();
        for (at, path, is_there) in &self.state().changes {
            if *at + LONGEST_LAG >= now && path.prefix_matches(prefix) {
                last.insert(path.clone(), *is_there);
            }
        }
        let (put, deleted): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, exists)| *exists);
        let paths = |changes: Vec<(Path, bool)>| changes.into_iter().map(|(path, _)| path);
        (paths(put).collect(), paths(deleted).collect())
    }
}
