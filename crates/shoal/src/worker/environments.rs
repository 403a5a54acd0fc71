//! The environments of a worker, reused by later calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shoal_function::{CallLimits, Environment, Host};
use shoal_job::wire::{Failure, Invocation, Receipt};

use crate::log;

/// Environments of one host, as many as the highest number of concurrent calls so far.
pub(super) struct Environments {
    host: Arc<Host>,
    idle: Mutex<Vec<Environment>>,
}

impl Environments {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            idle: Mutex::default(),
        }
    }

    /// Processes a batch on this thread. A panic is a failure, and its environment is dropped, since it may be inconsistent.
    pub(super) fn handle(
        &self,
        invocation: &Invocation,
        limits: &CallLimits,
    ) -> Result<Receipt, Failure> {
        let called = Instant::now();
        let result = self.work(invocation, limits);
        log::invocation(invocation, &result, called.elapsed());
        result
    }

    fn work(&self, invocation: &Invocation, limits: &CallLimits) -> Result<Receipt, Failure> {
        // The caches of the last used one are the warmest.
        let warm = self.idle().pop();
        let mut environment = warm.unwrap_or_else(|| self.host.environment());
        let result = catch_unwind(AssertUnwindSafe(|| environment.handle(invocation, limits)));
        match result {
            Ok(result) => {
                self.idle().push(environment);
                result
            }
            Err(panic) => Err(Failure::crashed(&*panic)),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Environment>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use arrow_schema::Schema;
    use shoal_job::wire::FailureKind;
    use shoal_job::{Batch, FunctionSpec, RunDir};

    use super::*;
    use crate::runs::tests::job;

    /// A host whose function panics, and a run for which it does.
    pub(in crate::worker) fn crashing() -> (Arc<Host>, tempfile::TempDir, Invocation) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::open(folder.path()).unwrap();
        let function = FunctionSpec::new("encoder", "1", Vec::new(), Schema::empty().into());
        let batch = Batch {
            records: 1,
            ..Batch::default()
        };
        let mut table = run.table_writer();
        table.push(&batch).unwrap();
        run.save_plan(&job(function, 1), table).unwrap();
        let invocation = Invocation::first(run.uri().into(), batch);
        let open = |_: &_| panic!("no such model");
        let host = Host::new("test", Duration::ZERO, Box::new(open));
        (Arc::new(host), folder, invocation)
    }

    #[test]
    fn a_panic_is_a_failure_and_the_next_call_is_taken() {
        let (host, _folder, invocation) = crashing();
        let environments = Environments::new(host);
        for _ in 0..2 {
            let failure = environments
                .handle(&invocation, &CallLimits::default())
                .unwrap_err();
            assert_eq!(failure.kind, FailureKind::Crashed);
            assert!(failure.reason.contains("no such model"), "{failure}");
        }
    }
}
