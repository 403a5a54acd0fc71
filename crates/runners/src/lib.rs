//! Runners: what computes results for records.
//!
//! [`EncoderRunner`] is shoal's own engine with a task. A program of yours becomes one by implementing
//! [`Runner`](shoal_function::Runner).

mod encoder;

pub use encoder::{EncoderRunner, EncoderSession, RunnerError, TRUNCATED};
