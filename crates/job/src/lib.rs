//! Jobs: inputs, plans, run directories, parts and outputs.
//!
//! A **job** is an input, a function and parameters. [`plan`](plan::plan) reads the input once, splits it into
//! **batches** of consecutive records and writes both into a **run directory** ([`RunDir`]). A **function**
//! turns a batch into a **part** and a **receipt**; [`collect`](collect::collect) joins the parts into one output.
//! The [`wire`] types are the only contract between the dispatcher and the functions.

pub mod cancel;
pub mod collect;
pub mod column;
pub mod completed;
pub mod dialect;
pub mod error;
pub mod event;
pub mod file_name;
pub mod format;
pub mod function_spec;
pub mod http;
pub mod input;
pub mod metrics;
pub mod part;
pub mod plan;
pub mod receipts;
pub mod record;
pub mod run_dir;
pub mod spec;
pub mod store;
mod terminal;
mod types;
pub mod waits;
pub mod windows;
pub mod wire;
mod writers;

pub use cancel::Cancel;
pub use completed::CompletedRanges;
pub use error::{Error, Result};
pub use event::Event;
pub use function_spec::{Determinism, Difference, FunctionSpec, Role};
pub use metrics::Metrics;
pub use receipts::Receipts;
pub use record::{BadRecord, Cell, Record, Row};
pub use run_dir::RunDir;
pub use spec::{Batch, Job};

/// The time in milliseconds since 1970; 0 if the clock shows an earlier one.
pub fn unix_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}
