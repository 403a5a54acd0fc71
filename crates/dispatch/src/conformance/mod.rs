//! The suite that every backend passes.
//!
//! A [`Stand`] puts a backend before a function that obeys a [script](Rule): it fails, crashes, hangs, is throttled, dies
//! between part and receipt, runs out of time. [`conformance`] runs every case and compares what is collected, byte by
//! byte, with what the [in-memory backend](InMemory) gives undisturbed, and the events with what was done.
//!
//! ```no_run
//! # use shoal_dispatch::{Backend, Local, conformance::{Scene, Stand, conformance, scripted}};
//! struct Threads;
//!
//! impl Stand for Threads {
//!     fn name(&self) -> &'static str {
//!         "local"
//!     }
//!
//!     fn backend<'a>(&'a self, _: &'a Scene) -> Box<dyn Backend + 'a> {
//!         Box::new(Local::new(4, || scripted))
//!     }
//!
//!     fn left_out(&self) -> &'static [(&'static str, &'static str)] {
//!         &[("timeout", "a thread cannot be stopped")]
//!     }
//! }
//!
//! conformance(&Threads);
//! ```

mod cases;
mod drive;
mod front;
mod function;
mod memory;
mod runner;
mod scene;
mod script;
mod told;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use shoal_job::RunDir;

use crate::Backend;

pub use drive::drive;
pub use front::{Front, Protocol};
pub use function::{Act, Function, scripted, work_lines};
pub use memory::InMemory;
pub use runner::HashLabels;
pub use scene::Scene;
pub use script::{Fault, Moment, Rule};

/// Makes the backend under test.
pub trait Stand {
    /// Its name in what is printed.
    fn name(&self) -> &'static str;

    /// The backend for the run of `scene`. It has at least 3 calls in flight, and calls the scripted function.
    fn backend<'a>(&'a self, scene: &'a Scene) -> Box<dyn Backend + 'a>;

    /// The run directory of a scene that has `folder` to itself.
    ///
    /// A [`Function`] that is told nothing but an invocation finds its script beside the run directory: where it is
    /// another one than this default, functions are made by [`Function::new`].
    ///
    /// # Panics
    /// It cannot be made.
    fn run_dir(&self, folder: &Path) -> RunDir {
        RunDir::create(&folder.join("run")).expect("the folder can be written")
    }

    /// Whether the backend tells every call and every failure, or only what was finished.
    fn tells_attempts(&self) -> bool {
        true
    }

    /// Whether the run directory is asked for the receipt before a batch is tried again. A platform that tries again by
    /// itself calls the function, which finds that all is done.
    fn asks_before_it_calls_again(&self) -> bool {
        true
    }

    /// The names of cases that this platform cannot show, with the reason.
    fn left_out(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
}

/// Runs every case, and prints which ones.
///
/// # Panics
/// The backend does not do what every backend must.
pub fn conformance(stand: &dyn Stand) {
    let left_out = stand.left_out();
    let is_case = |name: &str| cases::ALL.iter().any(|case| case.name == name);
    if let Some((name, _)) = left_out.iter().find(|(name, _)| !is_case(name)) {
        panic!("{}: there is no case {name:?} to leave out", stand.name());
    }
    let input = scene::Input::new();
    for case in cases::ALL {
        let title = format!("{}: {}", stand.name(), case.name);
        if let Some((_, reason)) = left_out.iter().find(|(name, _)| *name == case.name) {
            println!("{title} … left out: {reason}");
            continue;
        }
        let started = Instant::now();
        // Written before the case, so that it stands above what a panic in it says.
        print!("{title} … ");
        let _ = std::io::stdout().flush();
        (case.run)(&scene::Setting {
            stand,
            input: &input,
        });
        println!("ok ({} ms)", started.elapsed().as_millis());
    }
}
