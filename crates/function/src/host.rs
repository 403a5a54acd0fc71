//! A process that runs functions.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shoal_encoder::Model;
use shoal_job::RunDir;
use shoal_job::spec::ModelSpec;
use shoal_job::wire::{Failure, FailureKind};

use crate::{Environment, Function};

/// Jobs that a host remembers: environments of a platform serve one run after the other, seldom some at once.
const REMEMBERED_JOBS: usize = 4;

/// Finds and opens the model that a job was planned with.
pub type OpenModel = dyn Fn(&ModelSpec) -> Result<Arc<Model>, Failure> + Send + Sync;

/// A process that runs functions: it knows jobs by their run directories, and keeps the model. Environments share it.
pub struct Host {
    name: String,
    init: Duration,
    open_model: Box<OpenModel>,
    model: Mutex<Option<Arc<Model>>>,
    functions: Mutex<Vec<(Arc<str>, Arc<Function>)>>,
    environments: AtomicUsize,
}

impl Host {
    /// A host that opens models by `open_model`. `name` tells it from others in receipts, and `init` is the time that
    /// it took to come so far, which the receipts of first invocations tell.
    pub fn new(name: impl Into<String>, init: Duration, open_model: Box<OpenModel>) -> Self {
        Self {
            name: name.into(),
            init,
            open_model,
            model: Mutex::default(),
            functions: Mutex::default(),
            environments: AtomicUsize::new(0),
        }
    }

    /// A host in the process that planned the job: it has the function already.
    pub fn of(function: Function) -> Self {
        let model = function.model.clone();
        let host = Self::new(
            format!("process-{}", std::process::id()),
            Duration::ZERO,
            Box::new(move |_| Ok(model.clone())),
        );
        host.remember(function.run.uri().into(), Arc::new(function));
        host
    }

    /// A new environment.
    pub fn environment(self: &Arc<Self>) -> Environment {
        let number = self.environments.fetch_add(1, Ordering::Relaxed);
        Environment::new(self.clone(), format!("{}/{number}", self.name), self.init)
    }

    /// The function of the job in the run directory `run`.
    pub(crate) fn function(&self, run: &Arc<str>) -> Result<Arc<Function>, Failure> {
        let known = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, function)) = known.iter().find(|(name, _)| name == run) {
            return Ok(function.clone());
        }
        drop(known);
        let dir = RunDir::open(Path::new(&**run))?;
        let job = dir.job()?.ok_or_else(|| {
            Failure::new(
                FailureKind::Input,
                format!(
                    "failed to find the job: there is no job.json in {run}; does this function see the same store?"
                ),
            )
        })?;
        let function = Arc::new(Function::new(dir, job.clone(), self.model(&job.model)?)?);
        self.remember(run.clone(), function.clone());
        Ok(function)
    }

    fn remember(&self, run: Arc<str>, function: Arc<Function>) {
        let mut known = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() == REMEMBERED_JOBS {
            known.remove(0);
        }
        known.push((run, function));
    }

    /// The model of a job; the one that is open already if it is that.
    fn model(&self, spec: &ModelSpec) -> Result<Arc<Model>, Failure> {
        // Held while the model is opened, so that environments do not open it side by side.
        let mut open = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = open.as_ref()
            && crate::check(spec, model).is_ok()
        {
            return Ok(model.clone());
        }
        let model = (self.open_model)(spec)?;
        *open = Some(model.clone());
        Ok(model)
    }
}
