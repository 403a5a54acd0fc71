//! Measuring a platform from a run, for what a plan would otherwise assume.

use std::sync::Arc;

use shoal_estimate::limits::vcpu_share;
use shoal_estimate::{Calibration, PlatformTimes, Workload};
use shoal_job::Event;
use shoal_job::wire::Receipt;
use shoal_report::CallHistory;

use crate::{Error, Result, find_run};

/// Adds to `calibration` what the run of this name measured on its platform: the overhead of calls, the start of environments,
/// and the speed of a vCPU compared with a core of the calibrated machine, on records like those of `workload`.
///
/// # Errors
/// There is no such run, or it made no direct calls of a platform.
pub(super) fn learn(calibration: &mut Calibration, workload: &Workload, run: &str) -> Result<()> {
    let dir = find_run(run)?;
    let wrong = |reason: &str| Error::Settings(format!("failed to learn from run {run}: {reason}"));
    let job = dir.job()?.ok_or_else(|| wrong("it was never planned"))?;
    if job.function.fingerprint != calibration.fingerprint
        || job.function.setting("precision") != Some(&calibration.precision)
    {
        return Err(wrong("it ran another model, or another precision of it"));
    }
    let calls = calls(&dir.events()?);
    if calls.is_empty() {
        return Err(wrong(
            "it has no direct calls of a platform; learn from a run of the backend lambda",
        ));
    }
    let read: f64 = workload
        .lengths
        .iter()
        .map(|&tokens| f64::from(tokens))
        .sum();
    let predicted: f64 = workload.record_seconds(calibration).iter().sum();
    if read == 0.0 {
        return Err(wrong("the input has no tokens to compare"));
    }
    calibration.platform = Some(times(&calls, predicted / read));
    if let Some(init) = median(
        calls
            .iter()
            .filter(|(_, receipt)| receipt.cold)
            .map(|(_, receipt)| init_seconds(receipt)),
    ) {
        calibration.init_seconds = init;
    }
    Ok(())
}

/// The first calls of batches that a platform with a sizing answered: the seconds from the call to the answer, as the
/// caller saw it, and the receipt.
fn calls(events: &[(u64, Event)]) -> Vec<(f64, Arc<Receipt>)> {
    let history = CallHistory::of(events);
    let calls = history.invocations().iter().filter_map(|call| {
        let receipt = call.receipt.as_ref()?;
        let waited = call.waited_ms? as f64 / 1e3;
        (receipt.sizing.is_some() && call.attempt == 1).then(|| (waited, receipt.clone()))
    });
    calls.collect()
}

/// `seconds_per_token` is the prediction of the calibration.
fn times(calls: &[(f64, Arc<Receipt>)], seconds_per_token: f64) -> PlatformTimes {
    let beyond = |is_cold: bool| {
        let calls = calls.iter().filter(|(_, receipt)| receipt.cold == is_cold);
        median(calls.map(|(seconds, receipt)| {
            let timings = &receipt.timings;
            let init = if is_cold { timings.init } else { 0.0 };
            (seconds - (timings.total + init) / 1e3).max(0.0)
        }))
    };
    let (warm, cold) = (beyond(false), beyond(true));
    let call_seconds = warm.or(cold).unwrap_or_default();
    let work = |receipt: &Receipt| {
        let timings = &receipt.timings;
        (timings.read + timings.stages.total()) / 1e3 * share(receipt)
    };
    let processed: f64 = calls.iter().map(|(_, receipt)| work(receipt)).sum();
    let tokens: f64 = calls.iter().map(|(_, receipt)| receipt.units as f64).sum();
    PlatformTimes {
        calls: calls.len() as u64,
        call_seconds,
        place_seconds: (cold.unwrap_or(call_seconds) - call_seconds).max(0.0),
        slowdown: processed / (tokens * seconds_per_token).max(f64::MIN_POSITIVE),
    }
}

fn init_seconds(receipt: &Receipt) -> f64 {
    receipt.timings.init / 1e3 * share(receipt)
}

fn share(receipt: &Receipt) -> f64 {
    receipt
        .sizing
        .as_ref()
        .map_or(1.0, |sizing| vcpu_share(sizing.memory_mb))
}

fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A receipt of a call of 10 tokens that took `work_ms`, on half a vCPU.
    fn receipt(batch: u64, work_ms: f64, cold: bool) -> Receipt {
        let init = if cold { 40.0 } else { 0.0 };
        serde_json::from_value(json!({
            "batch": batch, "attempt": 1, "records": 1, "failed": 0, "units": 10,
            "part": { "bytes": 0, "checksum": "" },
            "timings": { "init": init, "read": 0.0, "stages": { "model": work_ms }, "write": 0.0, "total": work_ms },
            "cold": cold, "engine": "avx2",
            "sizing": { "memory_mb": 1769, "architecture": "x86_64", "region": "us-east-1" },
        }))
        .unwrap()
    }

    fn call(at: u64, batch: u64) -> (u64, Event) {
        let worker = 0;
        (
            at,
            Event::Dispatched {
                batch,
                offset: 0,
                until: None,
                attempt: 1,
                worker,
                second: false,
            },
        )
    }

    fn answer(at: u64, receipt: Receipt) -> (u64, Event) {
        let receipt = receipt.into();
        (at, Event::Finished { worker: 0, receipt })
    }

    /// A cold call of 340 ms, of which 40 are init and 100 work: 200 beyond. Two warm ones of 120 ms with 100 of work: 20 beyond.
    /// Three times 100 ms for 30 tokens, where 5 ms a token were predicted: twice the time.
    #[test]
    fn a_run_by_hand() {
        let events = [
            call(1_000, 0),
            answer(1_340, receipt(0, 100.0, true)),
            call(1_340, 1),
            answer(1_460, receipt(1, 100.0, false)),
            call(1_460, 2),
            answer(1_580, receipt(2, 100.0, false)),
            // The answer to a second attempt does not count.
            answer(
                1_600,
                Receipt {
                    attempt: 2,
                    ..receipt(3, 1.0, false)
                },
            ),
        ];
        let calls = calls(&events);
        let times = times(&calls, 0.005);
        assert_eq!(times.calls, 3);
        assert!((times.call_seconds - 0.020).abs() < 1e-9, "{times:?}");
        assert!((times.place_seconds - 0.180).abs() < 1e-9, "{times:?}");
        assert!((times.slowdown - 2.0).abs() < 1e-9, "{times:?}");
    }
}
