//! Processes of this machine.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};
use shoal_dispatch::Backend;
use shoal_job::Job;

use super::{BackendContext, BackendSettings};
use crate::machine::cores;
use crate::platform::Platform;
use crate::{EngineSettings, Machine, Result};

/// Processes of this machine, each a `shoal worker` ([`EngineSettings::worker_program`]).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Process {
    /// Batches in flight, each in a process; the number of cores if `None`.
    pub concurrency: Option<usize>,
    /// Time limit of one call, in seconds.
    pub timeout: Option<u64>,
    /// The price of this machine.
    pub machine: Option<Machine>,
}

impl BackendSettings for Process {
    fn default_concurrency(&self) -> usize {
        cores()
    }

    fn timeout(&self) -> Option<u64> {
        self.timeout
    }

    fn uses_local_cores(&self) -> bool {
        true
    }

    fn platforms(&self) -> Vec<Platform> {
        vec![Platform::Process]
    }

    fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    fn build(&self, context: &BackendContext<'_>) -> Result<Box<dyn Backend>> {
        let (job, engine) = (context.job.clone(), context.engine.clone());
        let concurrency = self.concurrency.unwrap_or_else(cores);
        let backend = shoal_dispatch::Process::new(concurrency, move || worker(&job, &engine));
        Ok(Box::new(backend))
    }
}

/// The command that starts a worker process for `job`.
fn worker(job: &Job, engine: &EngineSettings) -> Command {
    let program = engine.worker_program.as_deref();
    let mut command = Command::new(program.unwrap_or(Path::new("shoal")));
    command.args(["worker", "--stdio"]);
    command.args(["--model", &job.function.reference]);
    if let Some(precision) = job.function.setting("precision") {
        command.args(["--precision", precision]);
    }
    if let Some(isa) = engine.isa {
        command.args(["--isa", isa.name()]);
    }
    if let Some(folder) = &engine.cache_dir {
        command.arg("--cache-dir").arg(folder);
    }
    // A terminal sends Ctrl-C to the whole process group; the dispatcher ends its workers itself.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}
