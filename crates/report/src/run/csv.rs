//! Invocations as CSV.

use shoal_job::wire::Sizing;

use crate::run::history::Invocation;

const COLUMNS: [&str; 28] = [
    "start",
    "outcome",
    "batch",
    "offset",
    "attempt",
    "environment",
    "cold",
    "began_unix_ms",
    "moved_ms",
    "seconds",
    "records",
    "failed",
    "truncated",
    "tokens",
    "init_ms",
    "read_ms",
    "tokenize_ms",
    "model_ms",
    "write_ms",
    "total_ms",
    "billed_ms",
    "memory_mb",
    "architecture",
    "region",
    "peak_memory_bytes",
    "isa",
    "failure",
    "reason",
];

/// One row an invocation.
pub(crate) fn write(invocations: &[Invocation]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).expect("memory takes it");
    for invocation in invocations {
        writer
            .write_record(row(invocation))
            .expect("memory takes it");
    }
    let bytes = writer.into_inner().expect("memory takes it");
    String::from_utf8(bytes).expect("all fields are text")
}

fn row(invocation: &Invocation) -> [String; 28] {
    let i = invocation;
    let timing = |of: fn(&shoal_job::wire::Timings) -> f64| maybe(i.timings.as_ref().map(of));
    let sizing = |of: fn(&Sizing) -> String| i.sizing.as_deref().map(of).unwrap_or_default();
    [
        i.start.to_string(),
        i.outcome.name().into(),
        i.batch.to_string(),
        i.offset.to_string(),
        i.attempt.to_string(),
        plain(&i.environment),
        i.is_cold.to_string(),
        maybe(i.began_unix_ms),
        i.moved_ms.to_string(),
        i.seconds.to_string(),
        i.records.to_string(),
        i.failed.to_string(),
        i.truncated.to_string(),
        i.tokens.to_string(),
        timing(|t| t.init),
        timing(|t| t.read),
        timing(|t| t.tokenize),
        timing(|t| t.model),
        timing(|t| t.write),
        timing(|t| t.total),
        maybe(i.billed_ms),
        sizing(|s| s.memory_mb.to_string()),
        plain(&sizing(|s| s.architecture.clone())),
        plain(&sizing(|s| s.region.clone())),
        maybe(i.peak_memory_bytes),
        plain(&i.isa),
        i.failure
            .map(|kind| kind.error_type().trim_start_matches("Shoal.").into())
            .unwrap_or_default(),
        plain(i.reason.as_deref().unwrap_or_default()),
    ]
}

fn maybe(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Text that a spreadsheet does not take for a formula: an apostrophe goes before what would begin one.
pub(crate) fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return format!("'{text}");
    }
    text.to_owned()
}
