//! Fault injection: short runs of the real planner, dispatcher, function and collector on a simulated clock, store and
//! platform, with faults that depend on a seed. After each run, no record may be lost or duplicated, and the output must be
//! byte-identical to that of an undisturbed run.
//!
//! Only one thread runs at a time and yields at each request to the store (`scheduler`), so that a seed always gives the
//! same run. A process is a handle of the store (`store`); after a crash, all of its requests fail.
//!
//! ```no_run
//! let report = chaos::run(17, true);
//! assert_eq!(report.violation, None);
//! ```

mod campaign;
mod command;
mod data;
mod fault;
mod platform;
mod run;
mod scenario;
mod scheduler;
mod simulation;
mod store;

pub use campaign::Campaign;
pub use fault::{Fault, Faults};
pub use run::{Report, run, seed_of};
