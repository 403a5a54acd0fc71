//! The scripted function: the real function with the runner [`HashLabels`] and faults from a script.

use std::fs::File;
use std::io::{BufRead, ErrorKind, Read, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_function::{CallLimits, Host};
use shoal_job::wire::{Failure, FailureKind, Invocation, Outcome, Receipt, Stored};
use shoal_job::{Batch, Cancel, Result, RunDir};

use crate::faults::{self, CrashPoint, Fault};
use crate::runner::HashLabels;

/// The folder with one file for each call.
pub(crate) const CALLS: &str = "calls";
/// The maximum time for which a function waits for the other batches, so that a failing test ends.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The interval between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The result of a call, which the transport reproduces.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// The function answers.
    Answer(Box<std::result::Result<Receipt, Failure>>),
    /// The platform throttles the call.
    Throttle,
    /// The process exits without an answer.
    Crash,
    /// The function never answers.
    Hang,
}

impl From<std::result::Result<Receipt, Failure>> for Act {
    fn from(result: std::result::Result<Receipt, Failure>) -> Self {
        Self::Answer(Box::new(result))
    }
}

/// The scripted function of one run.
#[derive(Debug, Clone)]
pub struct Function {
    run: RunDir,
    folder: PathBuf,
}

impl Function {
    /// The function of `run`, with the script in `folder`.
    pub fn new(run: RunDir, folder: impl Into<PathBuf>) -> Self {
        Self {
            run,
            folder: folder.into(),
        }
    }

    /// The function of the run in `invocation`, with the script in the parent of the run directory.
    ///
    /// # Errors
    /// Fails if the run directory does not exist.
    pub fn find(invocation: &Invocation) -> std::result::Result<Self, Failure> {
        let run = RunDir::open(Path::new(&*invocation.run))?;
        let beside = run.folder().and_then(Path::parent).map(Path::to_owned);
        let folder = beside.ok_or_else(|| {
            let reason = format!("failed to find the script: {} is not a folder", run.uri());
            Failure::new(FailureKind::Input, reason)
        })?;
        Ok(Self { run, folder })
    }

    /// Handles a call for any run.
    ///
    /// # Panics
    /// Panics if the script cannot be read.
    pub(crate) fn find_and_act(invocation: &Invocation) -> Act {
        match Self::find(invocation) {
            Ok(function) => function.act(invocation),
            Err(failure) => Err(failure).into(),
        }
    }

    /// Handles a call for this run.
    ///
    /// # Panics
    /// Panics if the script cannot be read.
    pub fn act(&self, invocation: &Invocation) -> Act {
        let call = self.count(invocation);
        let fault = faults::fault(&self.folder, invocation.batch.index, call);
        match fault {
            Some(Fault::Fail(kind)) => Err(Failure::new(kind, "injected by the script")).into(),
            Some(Fault::Hang) => Act::Hang,
            Some(Fault::Throttle) => Act::Throttle,
            Some(Fault::Crash(CrashPoint::Start)) => Act::Crash,
            Some(Fault::Poison(record)) if is_hit(invocation, record) => Act::Crash,
            Some(Fault::Twice) => self.work_twice(invocation).into(),
            fault => match (self.work(invocation, fault), fault) {
                (Ok(_), Some(Fault::Crash(_))) => Act::Crash,
                (result, _) => result.into(),
            },
        }
    }

    fn work_twice(&self, invocation: &Invocation) -> std::result::Result<Receipt, Failure> {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| self.work(invocation, None));
            let one = self.work(invocation, None);
            let other = other.join().unwrap_or_else(|panic| resume_unwind(panic));
            assert_eq!(one, other, "both calls return the first receipt");
            one
        })
    }

    /// Creates a file for this call. Returns the number of the call among those for the same range, from 1.
    fn count(&self, invocation: &Invocation) -> u32 {
        let Invocation { batch, attempt, .. } = invocation;
        let folder = self.folder.join(CALLS);
        for call in 1.. {
            let name = format!("{:08}.{:08}.{call:04}", batch.index, batch.offset);
            match File::create_new(folder.join(name)) {
                Ok(mut file) => {
                    write!(file, "{attempt}").expect("the folder can be written");
                    return call;
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => panic!("failed to count a call: {e}"),
            }
        }
        unreachable!("a range has fewer than 2^32 calls")
    }

    fn work(
        &self,
        invocation: &Invocation,
        fault: Option<Fault>,
    ) -> std::result::Result<Receipt, Failure> {
        if fault == Some(Fault::Last) {
            self.wait_for_others()?;
        }
        let mut invocation = invocation.clone();
        // Only faults cause timeouts: the time limits of the suite are too short for the real function to start.
        invocation.timeout_ms = None;
        if let Some(Fault::Cut(records)) = fault {
            let Batch { offset, .. } = invocation.batch;
            let end = invocation.batch.end().min(offset.saturating_add(records));
            invocation.batch = invocation.batch.range(offset, end);
        }
        let job = self.run.job()?.expect("the run has a job");
        let runner = Arc::new(HashLabels::default());
        let function = shoal_function::Function::new(self.run.clone(), job, runner)?;
        let mut environment = Arc::new(Host::of(function)).environment();
        let mut receipt = environment.handle(&invocation, &CallLimits::default())?;
        let name = RunDir::receipt_name(receipt.batch, receipt.offset);
        match fault {
            Some(Fault::Crash(CrashPoint::BeforeReceipt)) => self.run.delete(&name)?,
            Some(Fault::WrongChecksum) => {
                receipt.part = Stored::of(b"another part");
                let content = serde_json::to_vec(&receipt).expect("a receipt is always JSON");
                self.run.replace(&name, content)?;
            }
            _ => {}
        }
        Ok(receipt)
    }

    fn wait_for_others(&self) -> Result<()> {
        let others = self.run.job()?.expect("the run has a job").batches - 1;
        let started = Instant::now();
        while self.run.receipts()?.finished_batches() < others {
            assert!(
                started.elapsed() < LONGEST_WAIT,
                "the other batches have not finished in time"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

/// Whether the invocation processes this record of its batch.
fn is_hit(invocation: &Invocation, record: u64) -> bool {
    let batch = &invocation.batch;
    invocation.quarantine.is_none() && (batch.offset..batch.end()).contains(&record)
}

/// Runs the scripted function in this process. A crash is a panic, and a hang ends when `cancel` is set.
///
/// # Errors
/// Returns the failures in the script.
///
/// # Panics
/// Panics if the script contains a crash or cannot be read.
pub fn scripted(invocation: &Invocation, cancel: &Cancel) -> std::result::Result<Receipt, Failure> {
    match Function::find_and_act(invocation) {
        Act::Answer(result) => *result,
        Act::Throttle => Err(throttled()),
        // A panic that the panic hook does not print.
        Act::Crash => resume_unwind(Box::new("injected by the script")),
        Act::Hang => {
            while !cancel.is_cancelled() {
                std::thread::sleep(POLL_INTERVAL);
            }
            Err(Failure::new(FailureKind::Cancelled, "cancelled"))
        }
    }
}

pub(crate) fn throttled() -> Failure {
    Failure::new(FailureKind::Throttled, "the script throttles the call")
}

/// Runs the scripted function as a worker process, which reads invocations from standard input and writes outcomes to
/// standard output, one per line. A crash aborts the process, and a hang ends when standard input is closed.
pub fn work_lines() {
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    while input.read_line(&mut line).is_ok_and(|read| read > 0) {
        let invocation: Invocation = serde_json::from_str(&line).expect("a line is an invocation");
        line.clear();
        let result = match Function::find_and_act(&invocation) {
            Act::Answer(result) => *result,
            Act::Throttle => Err(throttled()),
            Act::Crash => std::process::abort(),
            Act::Hang => {
                let _ = input.read_to_end(&mut Vec::new());
                return;
            }
        };
        let answer =
            serde_json::to_string(&Outcome::from(result)).expect("an outcome is always JSON");
        // Standard output is flushed at the end of a line.
        if writeln!(std::io::stdout(), "{answer}").is_err() {
            return;
        }
    }
}

/// The range of a file in [`CALLS`], as batch and offset.
pub(crate) fn parse_call(name: &str) -> Option<(u64, u64)> {
    let mut numbers = name.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
