//! Threads of this process.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;
use shoal_function::{CallLimits, Function, Host};
use shoal_job::Cancel;
use shoal_job::wire::Invocation;

use super::{BackendContext, BackendSettings};
use crate::machine::cores;
use crate::platform::Platform;
use crate::{Error, Machine, Result};

/// Threads of this process.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Local {
    /// Batches in flight; the number of cores if `None`.
    pub concurrency: Option<usize>,
    /// The price of this machine.
    pub machine: Option<Machine>,
}

impl BackendSettings for Local {
    fn default_concurrency(&self) -> usize {
        cores()
    }

    fn is_in_process(&self) -> bool {
        true
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::Local]
    }

    fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        let (run, job) = (context.run.clone(), context.job.clone());
        let function = Function::new(run, job, context.runner.clone());
        let function = function.map_err(|failure| Error::Batch { batch: 0, failure })?;
        let concurrency = self.concurrency.unwrap_or_else(cores);
        Ok(Box::new(threads(concurrency, Arc::new(Host::of(function)))))
    }
}

/// Threads of this process that call the functions of `host`.
pub(crate) fn threads(concurrency: usize, host: Arc<Host>) -> impl Backend {
    shoal_dispatch::Local::new(concurrency, move || {
        let mut environment = host.environment();
        move |invocation: &Invocation, cancel: &Cancel| {
            let limits = CallLimits {
                cancel: cancel.clone(),
                deadline: None,
            };
            let called = Instant::now();
            let result = environment.handle(invocation, &limits);
            crate::log::invocation(invocation, &result, called.elapsed());
            result
        }
    })
}
