//! The receipts of a run in a store, listed, and read some thousands at a time: how long it takes, and how much memory.
//!
//! ```sh
//! cargo run --release -p shoal-job --example many_receipts -- 1000000
//! ```

use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::json;
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Batch, RunDir};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u64 = match std::env::args().nth(1) {
        Some(count) => count.parse()?,
        None => 1_000_000,
    };
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let run = RunDir::on(store.clone(), Path::from("run"), "memory:///run");
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for batch in 0..count {
            let name = format!("run/{}", RunDir::receipt_name(batch, 0));
            store.put(&Path::from(name), receipt(batch).into()).await?;
        }
        // The in-memory store collects all names when it is listed. Doing that here keeps it out of the measurement.
        assert_eq!(store.list(None).count().await as u64, count);
        Ok::<(), object_store::Error>(())
    })?;
    let before = anonymous_bytes().unwrap_or_default();
    let began = Instant::now();
    let listed = run.list_receipts()?;
    let listing = began.elapsed().as_secs_f64();
    let (mut found, mut most) = (0, 0);
    let size = BATCHES_AT_ONCE.get() as u64;
    for first in (0..count).step_by(BATCHES_AT_ONCE.get()) {
        let ends = [first, (first + size).min(count) - 1].map(|index| Batch {
            index,
            ..Batch::default()
        });
        found += run.receipts_of(&ends, &listed)?.len();
        most = most.max(anonymous_bytes().unwrap_or_default());
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(found as u64, count, "every receipt is read back");
    println!(
        "{}",
        json!({
            "receipts": found, "seconds": seconds, "of_it_listing": listing, "microseconds_each": seconds * 1e6 / found as f64,
            "most_mib": most.saturating_sub(before) as f64 / f64::from(1 << 20),
        })
    );
    Ok(())
}

/// As a function on Lambda writes it.
fn receipt(batch: u64) -> Vec<u8> {
    let checksum = format!("{batch:064x}");
    let receipt = json!({
        "batch": batch, "attempt": 1, "records": 50, "failed": 0, "units": 11_500,
        "part": { "bytes": 2_400, "checksum": checksum }, "started_unix_ms": 1_790_000_000_000_u64 + batch,
        "timings": {
            "init": 0.0, "read": 0.2, "stages": { "tokenize": 1.1, "model": 850.3 }, "write": 31.0, "total": 883.9
        },
        "environment": format!("2026/11/25/[1]{:032x}", batch % 1_000), "cold": false, "engine": "avx2",
        "sizing": { "memory_mb": 1769, "architecture": "x86_64", "region": "us-east-1" },
    });
    receipt.to_string().into_bytes()
}

/// Memory of the process's own that is resident, where the system tells.
fn anonymous_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
