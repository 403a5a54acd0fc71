//! Estimates the time and cost of a job before it starts, and computes its cost afterwards.
//!
//! [`Prices`] are dated data with a source for every number. [`Usage`] holds the billable
//! quantities; prices turn it into a [`Bill`]. [`simulate`] simulates a run on a platform.
//! [`Comparison`] holds the paper's experiment, monolithic against parallel.
//!
//! The crate reads price and calibration files, but no file of a job, and runs no model. Every
//! quantity has a [`Basis`] and every price a [`Confidence`].

mod calibration;
mod choice;
mod comparison;
mod cost;
mod figure;
mod file;
pub mod limits;
mod plan;
pub mod prices;
pub mod simulate;
mod workload;

pub use calibration::{Calibration, CalibrationError, Contention, PlatformTimes, Point};
pub use choice::{Choice, Constraints, Estimate, choose, pareto};
pub use comparison::{Approach, BatchSize, Comparison, PaperBaseline};
pub use cost::{Bill, BillItem, Usage};
pub use figure::{Basis, Confidence};
pub use plan::{BreakEven, ColdStartEffect, Plan};
pub use prices::{Architecture, Prices};
pub use shoal_kernels::{Precision, Target};
pub use workload::{Work, Workload};
