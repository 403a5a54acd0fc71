//! What all actors of a run share: the objects, the outage that is on, what was injected so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

use crate::scenario::Scenario;
use crate::world::World;
use crate::{Fault, Faults};

/// Changes of objects that a stale list may not show yet are not older.
const LONGEST_LAG: Duration = Duration::from_secs(20);

/// The objects of a run, and the weather.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) world: Arc<World>,
    pub(crate) scenario: Scenario,
    pub(crate) objects: Arc<dyn ObjectStore>,
    weather: Mutex<Weather>,
    _folder: Option<tempfile::TempDir>,
}

#[derive(Debug, Default)]
struct Weather {
    /// Nothing more goes wrong.
    is_calm: bool,
    /// When and what breaks down next, by requests that are still to come, and what has.
    next_outage: Option<(u64, Fault)>,
    outage: Option<Fault>,
    requests: u64,
    calls: u64,
    faults: Faults,
    /// Calls that something went wrong with, by their batch.
    hurt: BTreeSet<(u64, u64)>,
    changed: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    at: Duration,
    path: Path,
    is_there: bool,
}

impl Cloud {
    pub(crate) fn new(world: Arc<World>, scenario: Scenario) -> Arc<Self> {
        let mut folder = None;
        let objects: Arc<dyn ObjectStore> = if scenario.on_disk {
            let dir = tempfile::tempdir().expect("the system has room for a folder");
            let store = LocalFileSystem::new_with_prefix(dir.path()).expect("the folder is there");
            folder = Some(dir);
            Arc::new(store)
        } else {
            Arc::new(InMemory::new())
        };
        Arc::new(Self {
            world,
            scenario,
            objects,
            weather: Mutex::default(),
            _folder: folder,
        })
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the outage, and has the next one come after so many requests.
    pub(crate) fn expect(&self, outage: Option<(u64, Fault)>) {
        let mut weather = self.weather();
        weather.outage = None;
        weather.next_outage = outage;
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm_down(&self) {
        self.expect(None);
        self.weather().is_calm = true;
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.weather().is_calm
    }

    /// How probable a fault is now.
    pub(crate) fn rate(&self, fault: Fault) -> f64 {
        if self.is_calm() {
            0.0
        } else {
            self.scenario.rate(fault)
        }
    }

    /// Counts a request, and tells the outage that is on, if one is.
    pub(crate) fn request(&self) -> Option<Fault> {
        let mut weather = self.weather();
        weather.requests += 1;
        if let Some((left, fault)) = &mut weather.next_outage {
            let fault = *fault;
            *left = left.saturating_sub(1);
            if *left == 0 {
                weather.next_outage = None;
                weather.outage = Some(fault);
                weather.faults.count(fault);
                drop(weather);
                self.world.emit(format_args!("outage: {fault}"));
                return Some(fault);
            }
        }
        weather.outage
    }

    /// The outage that is on, if one is.
    pub(crate) fn outage(&self) -> Option<Fault> {
        self.weather().outage
    }

    /// Requests to the store so far, of everybody.
    pub(crate) fn requests(&self) -> u64 {
        self.weather().requests
    }

    /// A number for a call of the function.
    pub(crate) fn number_call(&self) -> u64 {
        let mut weather = self.weather();
        weather.calls += 1;
        weather.calls
    }

    /// Something goes wrong.
    pub(crate) fn inject(&self, fault: Fault) {
        self.weather().faults.count(fault);
    }

    /// What went wrong so far.
    pub(crate) fn faults(&self) -> Faults {
        self.weather().faults.clone()
    }

    /// Something goes wrong with a call for `batch`.
    pub(crate) fn hurt(&self, batch: u64, call: u64) {
        self.weather().hurt.insert((batch, call));
    }

    /// Calls for `batch` that something went wrong with, after the first `before` calls of all.
    pub(crate) fn hurts(&self, batch: u64, before: u64) -> usize {
        let weather = self.weather();
        weather
            .hurt
            .range((batch, before + 1)..=(batch, u64::MAX))
            .count()
    }

    /// Calls that something went wrong with.
    pub(crate) fn all_hurts(&self) -> usize {
        self.weather().hurt.len()
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.weather().calls
    }

    /// An object was put or deleted.
    pub(crate) fn change(&self, path: &Path, is_there: bool) {
        let at = self.world.now();
        self.weather().changed.push(Change {
            at,
            path: path.clone(),
            is_there,
        });
    }

    /// What was put or deleted a short time ago under `prefix`: the last state of each.
    pub(crate) fn lately(&self, prefix: &Path) -> (BTreeSet<Path>, BTreeSet<Path>) {
        let now = self.world.now();
        let mut last = BTreeMap::new();
        for change in &self.weather().changed {
            if change.at + LONGEST_LAG >= now && change.path.prefix_matches(prefix) {
                last.insert(change.path.clone(), change.is_there);
            }
        }
        let (put, deleted): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, there)| *there);
        let paths = |changes: Vec<(Path, bool)>| changes.into_iter().map(|(path, _)| path);
        (paths(put).collect(), paths(deleted).collect())
    }
}
