//! The conformance suite that every backend must pass.
//!
//! A [`BackendHarness`] creates the backend under test, which calls a scripted function. The script is a list of
//! [fault rules](FaultRule): calls fail, crash, hang, are throttled, crash between part and receipt, or run out of time.
//! [`conformance`] runs every case. It compares the collected output, byte by byte, with that of an undisturbed run on the
//! [in-memory backend](InMemory), and the events with the calls that were made.
//!
//! ```no_run
//! # use shoal_conformance::{BackendHarness, TestRun, conformance, scripted};
//! # use shoal_dispatch::{Backend, Local};
//! struct Threads;
//!
//! impl BackendHarness for Threads {
//!     fn name(&self) -> &'static str {
//!         "local"
//!     }
//!
//!     fn backend<'a>(&'a self, _: &'a TestRun) -> Box<dyn Backend + 'a> {
//!         Box::new(Local::new(4, || scripted))
//!     }
//!
//!     fn skipped(&self) -> &'static [(&'static str, &'static str)] {
//!         &[("timeout", "a thread cannot be killed")]
//!     }
//! }
//!
//! conformance(&Threads);
//! ```

mod cases;
mod event_log;
mod faults;
mod function;
mod memory;
mod runner;
mod server;
mod test_run;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use shoal_job::RunDir;

use shoal_dispatch::Backend;

pub use faults::{CrashPoint, Fault, FaultRule};
pub use function::{Act, Function, scripted, work_lines};
pub use memory::InMemory;
pub use runner::HashLabels;
pub use server::{Protocol, TestServer};
pub use test_run::TestRun;

/// Creates the backend under test.
pub trait BackendHarness {
    /// The name in the output of the suite.
    fn name(&self) -> &'static str;

    /// The backend for `run`. It has a concurrency of at least 3 and calls the scripted function.
    fn backend<'a>(&'a self, run: &'a TestRun) -> Box<dyn Backend + 'a>;

    /// Creates the run directory in the empty folder `folder`.
    ///
    /// [`scripted`] and [`work_lines`] look for the script in the parent of the run directory. A harness that overrides
    /// this default must use [`TestRun::function`] instead.
    ///
    /// # Panics
    /// Panics if the run directory cannot be created.
    fn run_dir(&self, folder: &Path) -> RunDir {
        RunDir::create(&folder.join("run")).expect("the folder can be written")
    }

    /// Whether the backend emits an event for every call and every failure, or only for finished batches.
    fn reports_attempts(&self) -> bool {
        true
    }

    /// Whether the backend looks for a receipt before it retries a batch. A platform with its own retries calls the
    /// function again, which then finds the receipt.
    fn checks_receipt_before_retry(&self) -> bool {
        true
    }

    /// The names of cases that do not apply to this backend, each with the reason.
    fn skipped(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}

/// Runs every case and prints its name.
///
/// # Panics
/// Panics if a case fails.
pub fn conformance(harness: &dyn BackendHarness) {
    let skipped = harness.skipped();
    let is_case = |name: &str| cases::ALL.iter().any(|case| case.name == name);
    if let Some((name, _)) = skipped.iter().find(|(name, _)| !is_case(name)) {
        panic!("{}: there is no case {name:?} to skip", harness.name());
    }
    let input = test_run::Input::new();
    for case in cases::ALL {
        let title = format!("{}: {}", harness.name(), case.name);
        if let Some((_, reason)) = skipped.iter().find(|(name, _)| *name == case.name) {
            println!("{title} … skipped: {reason}");
            continue;
        }
        let started = Instant::now();
        // Printed before the case runs, so that it precedes a panic message.
        print!("{title} … ");
        let _ = std::io::stdout().flush();
        (case.run)(&test_run::TestContext {
            harness,
            input: &input,
        });
        println!("ok ({} ms)", started.elapsed().as_millis());
    }
}
