//! The process backend: worker processes of this machine, which are asked and answer by lines of JSON.
//!
//! A crash of one, or its end by the system for want of memory, costs an attempt at one batch, and not the run.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};

/// Runs the function in processes of this machine. `F` makes the command that starts one; it reads an
/// [`Invocation`] a line from its standard input, and writes an [`Outcome`] a line to its standard output.
#[derive(Debug)]
pub struct Process<F> {
    concurrency: usize,
    command: F,
}

impl<F: Fn() -> std::process::Command + Sync> Process<F> {
    /// A backend of `concurrency` processes.
    ///
    /// # Panics
    /// `concurrency` is 0.
    pub fn new(concurrency: usize, command: F) -> Self {
        assert!(concurrency > 0, "a backend needs a worker");
        Self {
            concurrency,
            command,
        }
    }
}

/// A worker process that waits for its next line.
struct Worker {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

/// The processes, by lane; those that work are with their call.
struct Workers<'a, F> {
    command: &'a F,
    idle: Mutex<Vec<Option<Worker>>>,
}

impl<F: Fn() -> std::process::Command + Sync> Workers<'_, F> {
    fn start(&self) -> io::Result<Worker> {
        let mut child = Command::from((self.command)())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A call that nobody waits for any more takes its process with it.
            .kill_on_drop(true)
            .spawn()?;
        let to = child.stdin.take().expect("it is a pipe");
        let from = child.stdout.take().expect("it is a pipe");
        Ok(Worker {
            child,
            to,
            from: BufReader::new(from).lines(),
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Option<Worker>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// The line that answers `line`; `None` where the process has ended.
    async fn ask(&mut self, line: &[u8]) -> io::Result<Option<String>> {
        self.to.write_all(line).await?;
        self.to.flush().await?;
        self.from.next_line().await
    }
}

impl<F: Fn() -> std::process::Command + Sync> Caller for Workers<'_, F> {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let there = self.idle()[lane].take();
        let mut worker = match there {
            Some(worker) => worker,
            None => self.start().map_err(|e| {
                let reason = format!("failed to start a worker process: {e}");
                Failure::new(FailureKind::Storage, reason)
            })?,
        };
        let mut line = serde_json::to_vec(invocation).expect("an invocation is always JSON");
        line.push(b'\n');
        let Ok(Some(answer)) = worker.ask(&line).await else {
            let status = worker.child.wait().await;
            return Err(ended(status));
        };
        let outcome = serde_json::from_str(&answer).map_err(|e| {
            let reason = format!("a worker process answered what is no outcome: {e}");
            Failure::new(FailureKind::Crashed, reason)
        })?;
        self.idle()[lane] = Some(worker);
        match outcome {
            Outcome::Receipt(receipt) => Ok(*receipt),
            Outcome::Failure(failure) => Err(failure),
        }
    }
}

fn ended(status: io::Result<ExitStatus>) -> Failure {
    let how = match status {
        Ok(status) => status.to_string(),
        Err(e) => e.to_string(),
    };
    let hint = if how.contains("SIGKILL") {
        "; the system kills so when memory runs out: use fewer workers (--concurrency)"
    } else {
        ""
    };
    Failure::new(
        FailureKind::Crashed,
        format!("a worker process ended in the middle of the batch ({how}){hint}"),
    )
}

impl<F: Fn() -> std::process::Command + Sync> Backend for Process<F> {
    fn name(&self) -> &'static str {
        "process"
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let concurrency = self.concurrency.min(work.batches.len()).max(1);
        let workers = Workers {
            command: &self.command,
            idle: Mutex::new((0..concurrency).map(|_| None).collect()),
        };
        let settings = FanOut {
            concurrency,
            ramp: None,
            second_attempts: true,
        };
        fan_out(&workers, settings, work, emit)
    }
}
