//! The fault campaign: short runs of the real planner, dispatcher, function and collector, in a world whose time,
//! store and platform are played, and go wrong as a seed has it. After each, nothing may be lost, nothing twice, and
//! the output must be the bytes of an undisturbed run.
//!
//! One thread at a time acts, and hands on at each request to the store (`world`), so that a seed gives the same run each
//! time. A process is a handle of the store (`store`): a crash is that its requests fail from some moment on.
//!
//! ```no_run
//! let stock = chaos::Stock::new();
//! let report = chaos::run(&stock, 17, true);
//! assert_eq!(report.breach, None);
//! ```

mod campaign;
mod cloud;
mod command;
mod data;
mod fault;
mod platform;
mod run;
mod scenario;
mod store;
mod world;

pub use campaign::Campaign;
pub use fault::{Fault, Faults};
pub use run::{Report, Stock, run, seed_of};
