//! What a job will take and cost, before it starts: and what it cost, after it.
//!
//! [`Prices`] are dated data with a source for every number; [`Usage`] is what is paid for, and the two make a [`Bill`].
//! [`simulate`] plays a run on a platform; [`Comparison`] holds the paper's experiment, monolithic against parallel.
//!
//! Nothing here reads a file of a job or runs a model: the crate is arithmetic, and every figure says what it is worth
//! ([`Basis`] for quantities, [`Sure`] for prices).

mod calibration;
mod choice;
mod comparison;
mod cost;
mod figure;
pub mod limits;
pub mod prices;
pub mod simulate;
mod workload;

pub use calibration::{Calibration, CalibrationError, PlatformTimes, Point, SideBySide};
pub use choice::{Choice, Constraints, Estimate, choose, pareto};
pub use comparison::{Approach, BatchSize, Comparison, PaperBaseline};
pub use cost::{Bill, BillItem, Usage};
pub use figure::{Basis, Sure};
pub use prices::{Architecture, Prices};
pub use workload::{Work, Workload};
