//! End-to-end tests of the command, in real processes.

mod server;
mod support;

mod bench;
mod cloud;
mod delimited;
#[cfg(feature = "aws")]
mod deploy;
mod docs;
mod doctor;
mod embeddings;
mod errors;
mod events;
mod foreign;
mod formats;
mod golden;
mod help;
mod hub;
mod invariance;
mod kept_records;
mod labels;
mod logs;
mod memory;
mod models;
mod money;
mod nested;
mod no_results;
mod pack;
mod poison;
mod remote;
mod remote_model;
mod repeat;
mod report_formats;
mod resume;
mod secrets;
mod shared_options;
#[cfg(unix)]
mod system;
mod text_formats;
#[cfg(feature = "otel")]
mod traces;
#[cfg(unix)]
mod waiting;
#[cfg(feature = "aws")]
mod windows;
mod worker_http;
mod worker_lambda;
mod worker_process;
mod worker_share;
