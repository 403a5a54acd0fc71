//! The process backend: local worker processes that read and write lines of JSON.
//!
//! A worker that crashes or is killed by the system costs one attempt at one batch, not the run.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use shoal_job::Event;
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};

/// Runs the function in local processes. `F` builds the command that starts one. The process reads one [`Invocation`]
/// per line from its standard input and writes one [`Outcome`] per line to its standard output.
#[derive(Debug)]
pub struct Process<F> {
    concurrency: usize,
    command: F,
}

impl<F: Fn() -> std::process::Command + Sync> Process<F> {
    /// Creates a backend with `concurrency` processes.
    ///
    /// # Panics
    /// Panics if `concurrency` is 0.
    pub fn new(concurrency: usize, command: F) -> Self {
        assert!(concurrency > 0, "a backend needs a worker");
        Self {
            concurrency,
            command,
        }
    }
}

/// A running worker process.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// The idle processes, by lane. A busy process is owned by its call.
struct Workers<'a, F> {
    command: &'a F,
    idle: Mutex<Vec<Option<Worker>>>,
}

impl<F: Fn() -> std::process::Command + Sync> Workers<'_, F> {
    fn start(&self) -> io::Result<Worker> {
        let mut child = Command::from((self.command)())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Dropping a call kills its process.
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        Ok(Worker {
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Option<Worker>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// Sends `line` and returns the answering line, or `None` if the process has ended.
    async fn request(&mut self, line: &[u8]) -> io::Result<Option<String>> {
        self.stdin.write_all(line).await?;
        self.stdin.flush().await?;
        self.stdout.next_line().await
    }
}

impl<F: Fn() -> std::process::Command + Sync> Caller for Workers<'_, F> {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let idle = self.idle()[lane].take();
        let mut worker = match idle {
            Some(worker) => worker,
            None => self.start().map_err(|e| {
                let reason = format!("failed to start a worker process: {e}");
                Failure::new(FailureKind::Storage, reason)
            })?,
        };
        let mut line = serde_json::to_vec(invocation).expect("an invocation is always JSON");
        line.push(b'\n');
        let Ok(Some(answer)) = worker.request(&line).await else {
            let status = worker.child.wait().await;
            return Err(exited(status));
        };
        let outcome = serde_json::from_str(&answer).map_err(|e| {
            let reason = format!("failed to parse the answer of a worker process: {e}");
            Failure::new(FailureKind::Crashed, reason)
        })?;
        self.idle()[lane] = Some(worker);
        match outcome {
            Outcome::Receipt(receipt) => Ok(*receipt),
            Outcome::Failure(failure) => Err(failure),
        }
    }
}

fn exited(status: io::Result<ExitStatus>) -> Failure {
    let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
    let hint = match status.contains("SIGKILL") {
        true => "; the system may have run out of memory: use fewer workers",
        false => "",
    };
    let reason = format!("a worker process exited while it processed a batch ({status}){hint}");
    Failure::new(FailureKind::Crashed, reason)
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
            allow_speculation: true,
        };
        fan_out(&workers, settings, work, emit)
    }
}
