//! Measures a platform from a run on it, instead of assuming its times.

use std::sync::Arc;

use shoal_estimate::limits::vcpu_share;
use shoal_estimate::simulate::ColdStart;
use shoal_estimate::{Calibration, PlatformTimes, Workload};
use shoal_job::Event;
use shoal_job::wire::Receipt;
use shoal_report::CallHistory;

use super::calibrate::work_seconds;
use super::median;
use crate::runs::planned_job;
use crate::{Error, Result, find_run};

/// Adds to `calibration` what the named run measured on its platform: the overhead of calls, the start of environments, and
/// the speed of a vCPU relative to a core of the calibrated machine, for records like those of `workload`.
///
/// # Errors
/// The run does not exist, or has no direct calls of a platform.
pub(super) fn learn(calibration: &mut Calibration, workload: &Workload, run: &str) -> Result<()> {
    let dir = find_run(run)?;
    let wrong = |reason: &str| {
        let reason = format!("failed to use run {run} for the plan: {reason}");
        Err(Error::Settings(reason))
    };
    let function = planned_job(&dir)?.function;
    if function.fingerprint != calibration.fingerprint
        || function.setting("precision") != Some(calibration.precision.name())
    {
        return wrong("it ran another model, or another precision of it");
    }
    let calls = calls(&dir.events()?);
    if calls.is_empty() {
        return wrong("it has no direct calls of a platform; use a run of the backend lambda");
    }
    let tokens: f64 = workload
        .lengths
        .iter()
        .map(|&tokens| f64::from(tokens))
        .sum();
    if tokens == 0.0 {
        return wrong("the input has no tokens to compare");
    }
    let predicted: f64 = workload.record_seconds(calibration).iter().sum();
    calibration.platform = Some(times(&calls, predicted / tokens));
    Ok(())
}

/// The first calls of batches that a platform with a sizing answered: the seconds from call to answer, as seen by the
/// caller, and the receipt.
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
    let overhead = |is_cold: bool| {
        let calls = calls.iter().filter(|(_, receipt)| receipt.cold == is_cold);
        median(calls.map(|(seconds, receipt)| {
            let timings = &receipt.timings;
            let init = if is_cold { timings.init } else { 0.0 };
            (seconds - (timings.total + init) / 1e3).max(0.0)
        }))
    };
    let (warm, cold) = (overhead(false), overhead(true));
    let call_seconds = warm.or(cold).unwrap_or_default();
    let first = calls.iter().filter(|(_, receipt)| receipt.cold);
    let init_seconds = median(first.map(|(_, receipt)| receipt.timings.init / 1e3));
    let cold = cold
        .zip(init_seconds)
        .map(|(overhead, init_seconds)| ColdStart {
            place_seconds: (overhead - call_seconds).max(0.0),
            init_seconds,
        });
    let receipts = calls.iter().map(|(_, receipt)| receipt);
    let work: f64 = receipts.clone().map(|r| work_seconds(r) * share(r)).sum();
    let tokens: f64 = receipts.map(|receipt| receipt.units as f64).sum();
    PlatformTimes {
        calls: calls.len() as u64,
        call_seconds,
        cold,
        slowdown: work / (tokens * seconds_per_token).max(f64::MIN_POSITIVE),
    }
}

/// The share of a vCPU that the function had.
fn share(receipt: &Receipt) -> f64 {
    let sizing = receipt.sizing.as_ref();
    sizing.map_or(1.0, |sizing| vcpu_share(sizing.memory_mb))
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

    /// A cold call of 340 ms, of which 40 are initialization and 100 work: 200 of overhead. Two warm ones of 120 ms with 100 of
    /// work: 20 of overhead. Three times 100 ms for 30 tokens with 5 ms per token predicted: twice the time.
    #[test]
    fn times_match_those_computed_by_hand() {
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
        let cold = times.cold.unwrap();
        assert!((cold.place_seconds - 0.180).abs() < 1e-9, "{times:?}");
        assert!((cold.init_seconds - 0.040).abs() < 1e-9, "{times:?}");
        assert!((times.slowdown - 2.0).abs() < 1e-9, "{times:?}");
        // Without a cold start, none was measured.
        let warm = super::times(&calls[1..], 0.005);
        assert_eq!(warm.cold, None);
    }
}
