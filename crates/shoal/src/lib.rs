//! shoal splits a batch-inference job into batches, and processes them in parallel by many small functions.
//!
//! ```no_run
//! use shoal::{Cancel, Settings};
//!
//! let settings = Settings::new(["reviews.csv"], "labels.csv");
//! let summary = shoal::run(&settings, &Cancel::new(), &mut |_event| {})?;
//! println!("{} labels", summary.results);
//! # Ok::<(), shoal::Error>(())
//! ```
//!
//! [`run`] plans a job (or finds the plan of an earlier start), dispatches the batches without a receipt, and collects the
//! parts. It stores everything in a run directory, from which a second call resumes. [`Classifier`] and [`Embedder`]
//! process single texts, without batches and files. [`plan()`] predicts the time and cost of a job.
//!
//! The layers below are separate crates: [`job`] (inputs, plan, run directory, parts), [`dispatch`] (backends),
//! [`function`] (the step from batch to part), [`encoder`] (models and the engine) and [`planning`] (time and cost).

pub mod backend;
pub mod bench;
mod bundled;
mod classifier;
mod compare;
mod cost;
pub mod credentials;
mod doctor;
mod embedder;
pub mod error;
pub mod export;
mod folders;
mod inputs;
mod limits;
pub mod log;
mod machine;
mod model;
mod plan;
mod platform;
pub mod report;
mod run;
mod runs;
mod scratch;
pub mod settings;
mod summary;
#[cfg(feature = "otel")]
pub mod traces;
mod trust;
#[cfg(feature = "worker")]
pub mod worker;

pub use shoal_dispatch as dispatch;
pub use shoal_encoder as encoder;
pub use shoal_estimate as planning;
pub use shoal_function as function;
pub use shoal_job as job;
pub use shoal_report as reports;

pub use backend::{BackendConfig, BackendKind};
pub use classifier::{Classifier, Prediction};
pub use compare::{CompareSettings, PAPER_BATCH_SIZES, compare};
pub use cost::prices;
pub use doctor::{Check, Diagnosis, Finding, doctor};
pub use embedder::Embedder;
pub use error::{Error, ExitCode, NoResults, Result, Setting};
pub use job::{Cancel, Event};
pub use limits::{ASK_ABOVE_USD, Limits};
pub use machine::Machine;
pub use model::{Comparison, EngineSettings, ModelSettings, PackSettings, PackSummary, pack};
pub use plan::{Auto, Given, LeftOut, PlanSettings, auto, plan};
pub use platform::Children;
pub use report::report;
pub use run::{collect, resume, run, run_with};
pub use runs::{RunStatus, find_run, remove_run, runs, status};
pub use settings::{OnError, ResumeOptions, Settings};
pub use shoal_encoder::{Precision, Target};
pub use shoal_report::{Accuracy, UnknownLabels};
pub use shoal_runners as runners;
pub use shoal_tasks as tasks;
pub use shoal_tasks::{TaskKind, TaskOptions};
pub use summary::Summary;
pub use trust::is_own;

/// This version of shoal. Results are bit-identical within one version and instruction set.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
