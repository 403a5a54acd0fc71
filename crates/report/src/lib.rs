//! What a run took and cost, from what it recorded.
//!
//! [`RunReport::of`] reads the job, the receipts and the events of a run, and nothing else; [`ComparisonReport::of`] reads
//! the paper's experiment, monolithic against parallel. Either is plain data, which is its JSON form, and can be had as
//! one self-contained HTML page, as CSV and as Markdown.
//!
//! Every number was measured or counted, or is marked as predicted or assumed ([`shoal_estimate::Basis`]). Percentiles are
//! those of Hyndman and Fan's type 7 ([`Distribution`]).

mod comparison;
mod explain;
#[cfg(test)]
mod fixture;
mod html;
mod markdown;
mod page;
mod plot;
mod recorded;
mod run;
mod statistics;
mod words;

pub use comparison::{ComparisonReport, ComparisonRow, PaperClaim};
pub use explain::{Doing, Interval, explain};
pub use recorded::Recorded;
pub use run::{
    Accuracy, Cost, DeadLetters, End, FailureGroup, Invocation, JobFacts, Lane, Letter, Mark,
    MarkKind, Outcome, Pause, RunReport, Series, SeriesPoint, StageTime, Stages, Start, Summary,
    Timeline,
};
pub use statistics::{Bin, Distribution, Histogram};
