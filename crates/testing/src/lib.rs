//! What tests of several crates need, and no program does.
//!
//! Everything here panics where it fails: a test that cannot have its tools fails, rather than pass without them.

mod ministack;
mod python;

pub use ministack::Ministack;
pub use python::{CFN_LINT, MINISTACK, Requirements, venv};
