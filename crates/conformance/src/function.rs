//! The function with a small runner, and a script that says what goes wrong.

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

/// Where a file lies for every call that was made.
pub(crate) const CALLS: &str = "calls";
/// How long a function waits for the other batches: far longer than they take, so that a test that fails ends.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(2);

/// The result of a call, which the transport delivers.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// The function answers.
    Answer(Box<std::result::Result<Receipt, Failure>>),
    /// The platform does not take the call.
    Throttle,
    /// The process ends, and there is no answer.
    Crash,
    /// There is no answer as long as anybody waits.
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
    /// The function of `run`, whose script lies in `folder`.
    pub fn new(run: RunDir, folder: impl Into<PathBuf>) -> Self {
        Self {
            run,
            folder: folder.into(),
        }
    }

    /// The function of the run that `invocation` names; its script lies beside the run directory.
    ///
    /// # Errors
    /// There is no such run directory.
    pub fn find(invocation: &Invocation) -> std::result::Result<Self, Failure> {
        let run = RunDir::open(Path::new(&*invocation.run))?;
        let beside = run.folder().and_then(Path::parent).map(Path::to_owned);
        let folder = beside.ok_or_else(|| {
            let reason = format!("failed to find the script: {} is no folder", run.uri());
            Failure::new(FailureKind::Input, reason)
        })?;
        Ok(Self { run, folder })
    }

    /// Takes a call, whatever run it is for.
    ///
    /// # Panics
    /// The script cannot be read.
    pub(crate) fn find_and_act(invocation: &Invocation) -> Act {
        match Self::find(invocation) {
            Ok(function) => function.act(invocation),
            Err(failure) => Err(failure).into(),
        }
    }

    /// Takes a call.
    ///
    /// # Panics
    /// The script cannot be read.
    pub fn act(&self, invocation: &Invocation) -> Act {
        let call = self.count(invocation);
        let fault = faults::fault(&self.folder, invocation.batch.index, call);
        match fault {
            Some(Fault::Fail(kind)) => Err(Failure::new(kind, "the script says so")).into(),
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
            assert_eq!(one, other, "the first receipt stands for both");
            one
        })
    }

    /// Leaves a file for this call. Its number among those for the same piece, from 1.
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
        unreachable!("there are not so many calls")
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
        // Faults decide who runs out of time; these deadlines are too short for the real function to begin.
        invocation.timeout_ms = None;
        if let Some(Fault::Cut(records)) = fault {
            let Batch { offset, .. } = invocation.batch;
            let end = invocation.batch.end().min(offset.saturating_add(records));
            invocation.batch = invocation.batch.range(offset, end);
        }
        let job = self.run.job()?.expect("there is a job");
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
        let others = self.run.job()?.expect("there is a job").batches - 1;
        let started = Instant::now();
        while self.run.receipts()?.finished_batches() < others {
            assert!(started.elapsed() < LONGEST_WAIT, "the others are not done");
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

/// Whether a record of the batch is to be worked on.
fn is_hit(invocation: &Invocation, record: u64) -> bool {
    let batch = &invocation.batch;
    invocation.quarantine.is_none() && (batch.offset..batch.end()).contains(&record)
}

/// The scripted function as a worker of this process: a crash is a panic, and what hangs ends with a wish to stop.
///
/// # Errors
/// What the script says.
///
/// # Panics
/// The script says so.
pub fn scripted(invocation: &Invocation, cancel: &Cancel) -> std::result::Result<Receipt, Failure> {
    match Function::find_and_act(invocation) {
        Act::Answer(result) => *result,
        Act::Throttle => Err(throttled()),
        // A panic that the panic hook does not print.
        Act::Crash => resume_unwind(Box::new("the script says so")),
        Act::Hang => {
            while !cancel.is_cancelled() {
                std::thread::sleep(LOOK);
            }
            Err(Failure::new(FailureKind::Cancelled, "cancelled"))
        }
    }
}

pub(crate) fn throttled() -> Failure {
    Failure::new(FailureKind::Throttled, "the script throttles the call")
}

/// The scripted function as a process that is asked and answers by lines: a crash is an abort, and what hangs does so
/// until nobody is there who may ask.
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

/// The piece of a file in [`CALLS`].
pub(crate) fn parse_call(name: &str) -> Option<(u64, u64)> {
    let mut numbers = name.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
