//! The reference backend: tasks in this process on an in-memory store.

use std::path::Path;
use std::sync::Arc;

use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Event, RunDir};

use crate::function::{Act, Function, throttled};
use crate::harness::{BackendHarness, TestRun};
use shoal_dispatch::{Backend, Caller, DispatchError, FanOut, Work, fan_out};

const CONCURRENCY: usize = 4;

/// The harness for the in-memory backend.
#[derive(Debug, Clone, Copy)]
pub struct InMemory;

impl BackendHarness for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn backend<'a>(&'a self, run: &'a TestRun) -> Box<dyn Backend + 'a> {
        Box::new(Tasks(run.function()))
    }

    fn run_dir(&self, _: &Path) -> RunDir {
        let store = Arc::new(object_store::memory::InMemory::new());
        RunDir::on(store, "runs/run".into(), "memory:///runs/run")
    }
}

struct Tasks(Function);

impl Caller for Tasks {
    async fn call(&self, _lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let (function, invocation) = (self.0.clone(), invocation.clone());
        // The function blocks on the store, which must not happen within an async task.
        let act = tokio::task::spawn_blocking(move || function.act(&invocation));
        match act.await.expect("the function does not panic") {
            Act::Answer(result) => *result,
            Act::Throttle => Err(throttled()),
            Act::Crash => Err(Failure::new(FailureKind::Crashed, "injected by the script")),
            Act::Hang => std::future::pending().await,
        }
    }
}

impl Backend for Tasks {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let settings = FanOut {
            concurrency: CONCURRENCY,
            ramp: None,
            allow_speculation: true,
        };
        fan_out(self, settings, work, emit)
    }
}
