//! AWS Lambda's `Invoke` on a port of this machine: environments that start cold and stay warm, a limit to how many
//! there may be and how fast they come, and a function that does nothing.
//!
//! It answers [`Reply`](shoal_job::wire::Reply)s without writing a part, so that what is measured is the client. Drive it
//! by [`Backend::run`] or [`fan_out`], which look at receipts alone, not by `process_batches`, which looks for the parts too.
//!
//! The simulator is a process of its own, so that the client's CPU time and memory are its own. A program that wants one
//! may be one itself:
//!
//! ```no_run
//! use simulated_lambda::{Settings, Simulator};
//!
//! fn main() -> std::io::Result<()> {
//!     simulated_lambda::serve_if_asked();
//!     let simulator = Simulator::start(&Settings::default())?;
//!     println!("{}", simulator.url());
//!     Ok(())
//! }
//! ```
//!
//! [`Backend::run`]: ../shoal_dispatch/trait.Backend.html#tymethod.run
//! [`fan_out`]: ../shoal_dispatch/fn.fan_out.html

mod answer;
mod child;
mod environments;
mod server;

use serde::{Deserialize, Serialize};

pub use child::{Simulator, serve_if_asked};
pub use server::serve;

/// How the simulated platform behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Environments at a time, at most: the account's or the function's limit.
    pub concurrency: usize,
    /// Milliseconds until a new environment begins with its first call.
    pub cold_ms: u64,
    /// Milliseconds that a call takes.
    pub call_ms: u64,
    /// How fast environments may come; at once where `None`.
    pub ramp: Option<Ramp>,
}

/// How fast environments may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// Environments from the start.
    pub start: usize,
    /// How many more after each step of time.
    pub step: usize,
    /// The step of time in milliseconds, from the first call on.
    pub every_ms: u64,
}

impl Default for Settings {
    /// 1,000 environments at once that take no time.
    fn default() -> Self {
        Self {
            concurrency: 1000,
            cold_ms: 0,
            call_ms: 0,
            ramp: None,
        }
    }
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Calls that were taken.
    pub taken: u64,
    /// Calls that were throttled.
    pub throttled: u64,
    /// Environments that were started.
    pub environments: usize,
    /// Calls under way.
    pub running: usize,
    /// Calls that were under way at a time, at most.
    pub most_running: usize,
    /// Connections that were accepted.
    pub connections: u64,
}
