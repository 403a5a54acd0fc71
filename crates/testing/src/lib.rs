//! Utilities that tests of several crates share.
//!
//! Everything here panics on errors: a test whose tools are missing must fail, not pass.

mod ministack;
mod python;

pub use ministack::Ministack;
pub use python::{CFN_LINT, MINISTACK, Requirements, venv};
