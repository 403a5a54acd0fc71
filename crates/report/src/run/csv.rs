//! Invocations as CSV.

use std::borrow::Cow;
use std::collections::BTreeSet;

use shoal_job::wire::{Receipt, Sizing};

use crate::fold::Invocation;
use crate::page;

/// The names that a function gives to what it counts.
struct Names<'a> {
    unit: &'a str,
    metrics: BTreeSet<&'a str>,
    stages: Vec<&'a str>,
}

/// One row for each invocation. The columns of the answer are empty if there was none.
pub(crate) fn write(invocations: &[Invocation], unit: &str) -> String {
    let receipts = || invocations.iter().filter_map(|i| i.receipt.as_deref());
    let mut names = Names {
        unit,
        metrics: BTreeSet::new(),
        stages: Vec::new(),
    };
    for receipt in receipts() {
        let metrics = receipt.metrics.counts();
        names.metrics.extend(metrics.map(|(name, _)| name));
        for (name, _) in receipt.timings.stages.iter() {
            if !names.stages.contains(&name) {
                names.stages.push(name);
            }
        }
    }
    let header = cells(None, &names).into_iter();
    let header: Vec<String> = header.map(|(name, _)| plain(&name)).collect();
    let rows = invocations.iter().map(|invocation| {
        let row = cells(Some(invocation), &names).into_iter();
        row.map(|(_, value)| value).collect()
    });
    page::csv([header].into_iter().chain(rows))
}

/// Name and value of each column; without an invocation the values are empty.
fn cells<'a>(invocation: Option<&Invocation>, names: &Names<'a>) -> Vec<(Cow<'a, str>, String)> {
    let receipt = invocation.and_then(|i| i.receipt.as_deref());
    let call = |of: fn(&Invocation) -> String| invocation.map(of).unwrap_or_default();
    let answer = |of: fn(&Receipt) -> String| receipt.map(of).unwrap_or_default();
    let sizing = |of: fn(&Sizing) -> String| {
        let sizing = receipt.and_then(|receipt| receipt.sizing.as_deref());
        sizing.map(of).unwrap_or_default()
    };
    let mut cells = vec![
        ("start".into(), call(|i| i.start.to_string())),
        ("outcome".into(), call(|i| i.outcome.to_string())),
        ("batch".into(), call(|i| i.batch.to_string())),
        ("offset".into(), call(|i| i.offset.to_string())),
        ("attempt".into(), call(|i| i.attempt.to_string())),
        ("environment".into(), call(|i| plain(&i.environment))),
        ("cold".into(), call(|i| i.is_cold().to_string())),
        ("began_unix_ms".into(), call(|i| maybe(i.began_unix_ms))),
        ("moved_ms".into(), call(|i| i.moved_ms.to_string())),
        ("seconds".into(), call(|i| i.seconds.to_string())),
        ("records".into(), answer(|r| r.records.to_string())),
        ("failed".into(), answer(|r| r.failed.to_string())),
        (names.unit.into(), answer(|r| r.units.to_string())),
    ];
    for &name in &names.metrics {
        let count = receipt.map(|receipt| receipt.metrics.count(name));
        cells.push((name.into(), maybe(count)));
    }
    cells.push(("init_ms".into(), answer(|r| r.timings.init.to_string())));
    cells.push(("read_ms".into(), answer(|r| r.timings.read.to_string())));
    for &name in &names.stages {
        let ms = receipt.map(|receipt| receipt.timings.stages.get(name));
        cells.push((format!("{name}_ms").into(), maybe(ms)));
    }
    cells.extend([
        ("write_ms".into(), answer(|r| r.timings.write.to_string())),
        ("total_ms".into(), answer(|r| r.timings.total.to_string())),
        ("billed_ms".into(), answer(|r| maybe(r.billed_ms))),
        ("memory_mb".into(), sizing(|s| s.memory_mb.to_string())),
        ("architecture".into(), sizing(|s| plain(&s.architecture))),
        ("region".into(), sizing(|s| plain(&s.region))),
        (
            "peak_memory_bytes".into(),
            answer(|r| maybe(r.peak_memory_bytes)),
        ),
        ("engine".into(), answer(|r| plain(&r.engine))),
        (
            "failure".into(),
            call(|i| i.failure.map_or("", |kind| kind.name()).into()),
        ),
        (
            "reason".into(),
            call(|i| plain(i.reason.as_deref().unwrap_or_default())),
        ),
    ]);
    cells
}

fn maybe(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Text that a spreadsheet does not read as a formula: an apostrophe precedes a character that would begin one.
pub(crate) fn plain(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return format!("'{text}");
    }
    text.to_owned()
}
