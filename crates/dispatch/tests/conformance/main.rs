//! Runs the conformance suite for every backend, or for those whose name contains one of the arguments.
//!
//! The executable is also the worker that the process backend starts.

mod servers;

use std::process::Command;
use std::thread;
use std::time::Duration;

use shoal_conformance::{
    BackendHarness, InMemory, Protocol, TestRun, TestServer, conformance, scripted, work_lines,
};
use shoal_dispatch::{Backend, DispatchError, Http, Local, Process, Watch, Work, process_batches};
use shoal_job::{Batch, Event};

use servers::PlainServer;

const WORK: &str = "--work";

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == WORK) {
        return work_lines();
    }
    let names: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let harnesses: [&dyn BackendHarness; 7] = [
        &InMemory,
        &Threads,
        &Processes,
        &Array,
        &Workers(TestServer::start(Protocol::Worker)),
        &PlainServer::new(Protocol::Worker),
        &PlainServer::new(Protocol::Lambda),
    ];
    for harness in harnesses {
        if names.is_empty() || names.iter().any(|name| harness.name().contains(&**name)) {
            conformance(harness);
        }
    }
}

/// Threads in this process.
struct Threads;

impl BackendHarness for Threads {
    fn name(&self) -> &'static str {
        "local"
    }

    fn backend<'a>(&'a self, _: &'a TestRun) -> Box<dyn Backend + 'a> {
        Box::new(Local::new(4, || scripted))
    }

    fn skipped(&self) -> &'static [(&'static str, &'static str)] {
        &[("timeout", "a thread cannot be killed")]
    }
}

/// Local processes, which really crash.
struct Processes;

impl BackendHarness for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn backend<'a>(&'a self, _: &'a TestRun) -> Box<dyn Backend + 'a> {
        let program = std::env::current_exe().expect("the executable has a path");
        Box::new(Process::new(3, move || {
            let mut command = Command::new(&program);
            command.arg(WORK);
            command
        }))
    }
}

/// HTTP workers.
struct Workers(TestServer);

impl BackendHarness for Workers {
    fn name(&self) -> &'static str {
        "http"
    }

    fn backend<'a>(&'a self, _: &'a TestRun) -> Box<dyn Backend + 'a> {
        let backend = Http::connect(&[self.0.url()], None, Some(4));
        Box::new(backend.expect("the worker answers"))
    }
}

/// Array workers that pick their own share, and a watcher that waits for them.
struct Array;

const SHARES: usize = 2;

impl BackendHarness for Array {
    fn name(&self) -> &'static str {
        "array"
    }

    fn backend<'a>(&'a self, run: &'a TestRun) -> Box<dyn Backend + 'a> {
        Box::new(Shares(run))
    }

    fn reports_attempts(&self) -> bool {
        false
    }

    fn skipped(&self) -> &'static [(&'static str, &'static str)] {
        const NO_BUDGET: &str = "array workers run without coordination";
        const UNSEEN: &str = "the watcher sees receipts, but no failures";
        &[
            ("permanent error", UNSEEN),
            ("attempts exhausted", UNSEEN),
            ("every call crashes", UNSEEN),
            ("timeout", "the workers of this test are threads"),
            (
                "wrong checksum",
                "both the worker and the watcher may repeat the batch",
            ),
            ("budget exhausted, then resumed", NO_BUDGET),
            ("budget exhausted by a damaged part", NO_BUDGET),
        ]
    }
}

struct Shares<'a>(&'a TestRun);

impl Shares<'_> {
    /// Processes the open batches of one worker's share.
    fn share(&self, number: usize, work: &Work<'_>) {
        let share = self.0.batches.iter().skip(number).step_by(SHARES);
        let share: Vec<Batch> = share.cloned().collect();
        let plan = self.0.plan(&share);
        let end = process_batches(&plan, &Local::new(2, || scripted), work.cancel, &mut |_| {});
        assert!(
            matches!(end, Ok(_) | Err(DispatchError::Cancelled)),
            "{end:?}"
        );
    }
}

impl Backend for Shares<'_> {
    fn name(&self) -> &'static str {
        "array"
    }

    fn concurrency(&self) -> usize {
        SHARES
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let watch = Watch {
            workers: SHARES,
            every: Duration::from_millis(1),
            detach: false,
        };
        thread::scope(|scope| {
            for number in 0..SHARES {
                scope.spawn(move || self.share(number, work));
            }
            watch.run(work, emit)
        })
    }
}
