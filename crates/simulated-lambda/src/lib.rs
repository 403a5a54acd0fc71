//! A local simulator of AWS Lambda's `Invoke` API: environments start cold and stay warm, their number and growth are
//! limited, and the function does nothing.
//!
//! The function returns a [`Reply`](shoal_job::wire::Reply) without writing a part, so that only the client is measured. Use
//! it with [`Backend::run`] or [`fan_out`], which need only receipts, but not with `process_batches`, which verifies parts.
//!
//! The simulator is a separate process, so that the client's CPU time and memory can be measured. A program can start its
//! own executable as the simulator:
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
    /// The maximum number of environments: the limit of the account or the function.
    pub concurrency: usize,
    /// Milliseconds that a new environment takes to start.
    pub cold_ms: u64,
    /// Milliseconds that a call takes.
    pub call_ms: u64,
    /// The rate at which environments are added; unlimited if `None`.
    pub ramp: Option<Ramp>,
}

/// The rate at which environments are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    /// The number of environments from the start.
    pub start: usize,
    /// The increase after each interval.
    pub step: usize,
    /// The interval in milliseconds, from the first call on.
    pub every_ms: u64,
}

impl Default for Settings {
    /// 1,000 environments without a ramp or delays.
    fn default() -> Self {
        Self {
            concurrency: 1000,
            cold_ms: 0,
            call_ms: 0,
            ramp: None,
        }
    }
}

/// The simulator's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Accepted calls.
    pub taken: u64,
    /// Throttled calls.
    pub throttled: u64,
    /// Started environments.
    pub environments: usize,
    /// Running calls.
    pub running: usize,
    /// The maximum number of calls that ran at the same time.
    pub most_running: usize,
    /// Accepted connections.
    pub connections: u64,
}
