//! A process that runs functions.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shoal_job::wire::{Failure, FailureKind};
use shoal_job::{FunctionSpec, RunDir};

use crate::{Function, Runner};

/// Number of cached jobs. Environments of a platform rarely process several runs at once.
const CACHED_JOBS: usize = 4;

/// Opens the runner that a job was planned with.
pub type OpenRunner = dyn Fn(&FunctionSpec) -> Result<Arc<dyn Runner>, Failure> + Send + Sync;

/// A process that runs functions. Its environments share the runner and a cache of jobs.
pub struct Host {
    name: String,
    /// The time from the start of the process.
    pub(crate) init: Duration,
    open_runner: Box<OpenRunner>,
    runner: Mutex<Option<Arc<dyn Runner>>>,
    functions: Mutex<Vec<(Arc<str>, Arc<Function>)>>,
    environments: AtomicUsize,
}

impl Host {
    /// A host that opens runners with `open_runner`. Receipts contain its `name`, and those of cold starts also `init`, the
    /// time since the process started.
    pub fn new(name: impl Into<String>, init: Duration, open_runner: Box<OpenRunner>) -> Self {
        Self {
            name: name.into(),
            init,
            open_runner,
            runner: Mutex::default(),
            functions: Mutex::default(),
            environments: AtomicUsize::new(0),
        }
    }

    /// A host of a function that is already open.
    pub fn of(function: Function) -> Self {
        let runner = function.runner.clone();
        let host = Self::new(
            format!("process-{}", std::process::id()),
            Duration::ZERO,
            Box::new(move |_| Ok(runner.clone())),
        );
        host.remember(function.run.uri().into(), Arc::new(function));
        host
    }

    /// The name of a new environment.
    pub(crate) fn environment_name(&self) -> String {
        let number = self.environments.fetch_add(1, Ordering::Relaxed);
        format!("{}/{number}", self.name)
    }

    /// The function of the job in the run directory `run`.
    pub(crate) fn function(&self, run: &Arc<str>) -> Result<Arc<Function>, Failure> {
        let cached = self.functions.lock();
        let cached = cached.unwrap_or_else(PoisonError::into_inner);
        if let Some((_, function)) = cached.iter().find(|(name, _)| name == run) {
            return Ok(function.clone());
        }
        drop(cached);
        let dir = RunDir::open(Path::new(&**run))?;
        let job = dir.job()?.ok_or_else(|| {
            Failure::new(
                FailureKind::Input,
                format!(
                    "failed to find the job: there is no job.json in {run}; check that this function has access to the same store"
                ),
            )
        })?;
        let runner = self.runner(&job.function)?;
        let function = Arc::new(Function::new(dir, job, runner)?);
        self.remember(run.clone(), function.clone());
        Ok(function)
    }

    fn remember(&self, run: Arc<str>, function: Arc<Function>) {
        let cached = self.functions.lock();
        let mut cached = cached.unwrap_or_else(PoisonError::into_inner);
        if cached.len() == CACHED_JOBS {
            cached.remove(0);
        }
        cached.push((run, function));
    }

    /// The runner of a job, opened unless the current one matches.
    fn runner(&self, spec: &FunctionSpec) -> Result<Arc<dyn Runner>, Failure> {
        // Locked while the runner is opened, so that environments do not open it twice.
        let mut open = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runner) = open.as_ref()
            && crate::check(spec, runner.spec()).is_ok()
        {
            return Ok(runner.clone());
        }
        let runner = (self.open_runner)(spec)?;
        *open = Some(runner.clone());
        Ok(runner)
    }
}
