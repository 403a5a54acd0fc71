//! What a run did, took and cost, from what it recorded.
//!
//! [`RunState`] and [`CallHistory`] fold the events of a run: progress bars, traces, budgets and reports read nothing else.
//! [`Totals`] adds up receipts. [`RunReport::of`] puts both together, [`ComparisonReport::of`] reads the paper's
//! experiment, monolithic against parallel, and [`PlanReport::of`] a plan. A report is plain data, which is its JSON form; it is also written as one
//! self-contained HTML page, as CSV and as Markdown.
//!
//! Every number was measured or counted, or is marked as predicted or assumed ([`shoal_estimate::Basis`]). Percentiles
//! follow type 7 of Hyndman and Fan ([`Distribution`]).

mod accuracy;
mod comparison;
mod cost;
#[cfg(test)]
mod fixture;
mod fold;
mod html;
mod markdown;
pub mod numbers;
mod page;
pub mod plan;
mod plot;
mod recorded;
mod run;
mod statistics;
mod svg;
pub mod text;
mod time;
mod totals;

pub use accuracy::{Accuracy, Label, LabelScores, Scores, UnknownLabels};
pub use comparison::{ComparisonReport, ComparisonRow, DEFINITIONS, PaperClaim};
pub use cost::Cost;
pub use fold::{
    Answers, Call, CallHistory, Change, End, FailedCalls, FailureGroup, Invocation, Outcome, Phase,
    RunState, Start,
};
pub use plan::PlanReport;
pub use recorded::Recorded;
pub use run::{DeadLetters, JobFacts, Letter, RunReport, StageTime, Stages, Summary, engine};
pub use statistics::{Bin, Distribution, Histogram};
pub use time::{Lane, Mark, MarkKind, Pause, Series, SeriesPoint, Timeline};
pub use totals::{BilledCalls, Totals, billed_ms};
