//! The backend that all others are measured against: tasks of this process, over a store in memory.

use std::path::Path;
use std::sync::Arc;

use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Event, RunDir};

use super::function::{Act, Function, throttled};
use super::{Scene, Stand};
use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};

const CONCURRENCY: usize = 4;

/// The stand of the in-memory backend.
#[derive(Debug, Clone, Copy)]
pub struct InMemory;

impl Stand for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn backend<'a>(&'a self, scene: &'a Scene) -> Box<dyn Backend + 'a> {
        Box::new(Tasks(scene.function()))
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
        // Reading and writing waits for the store, which must not be done within a task.
        let act = tokio::task::spawn_blocking(move || function.act(&invocation));
        match act.await.expect("the function does not panic") {
            Act::Answer(result) => *result,
            Act::Throttle => Err(throttled()),
            Act::Crash => Err(Failure::new(FailureKind::Crashed, "the script says so")),
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
            second_attempts: true,
        };
        fan_out(self, settings, work, emit)
    }
}
