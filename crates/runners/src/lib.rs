//! Runners.
//!
//! [`EncoderRunner`] runs a task on shoal's own engine. For other programs, implement [`Runner`](shoal_function::Runner).

mod encoder;

pub use encoder::{EncoderRunner, EncoderSession, TRUNCATED};
