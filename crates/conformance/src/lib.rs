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
mod harness;
mod memory;
mod runner;
mod server;
mod test_run;

use std::io::Write;
use std::time::Instant;

pub use faults::{CrashPoint, Fault, FaultRule};
pub use function::{Act, Function, scripted, work_lines};
pub use harness::{BackendHarness, TestRun};
pub use memory::InMemory;
pub use runner::HashLabels;
pub use server::{Protocol, TestServer};

/// Runs every case and prints its name.
///
/// # Panics
/// Panics if a case fails.
pub fn conformance(harness: &dyn BackendHarness) {
    let skipped = harness.skipped();
    let is_case = |name: &str| cases::ALL.iter().any(|case| case.name == name);
    if let Some((name, _)) = skipped.iter().find(|(name, _)| !is_case(name)) {
        panic!("{}: unknown case {name:?} in `skipped`", harness.name());
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
