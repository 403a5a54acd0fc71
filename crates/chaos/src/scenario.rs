//! Scenarios: all random choices that are made before a run.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use fastrand::Rng;
use shoal_dispatch::{Ramp, RetryPolicy, Speculation};
use shoal_job::format::{Format, OutputFormat};

use crate::Fault;

/// The maximum number of starts with faults, before the final starts without.
const MAX_FAULTY_STARTS: usize = 6;

/// One run of the campaign.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// The number of records in each input file.
    pub(crate) files: Vec<usize>,
    /// The percentage of malformed records.
    pub(crate) bad_percent: usize,
    pub(crate) input: Format,
    pub(crate) output: OutputFormat,
    pub(crate) batch_size: u64,
    pub(crate) concurrency: usize,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    pub(crate) speculation: Option<Speculation>,
    /// The zero-based rows of records that crash their function while faults are injected.
    pub(crate) poison: Vec<u64>,
    /// Whether the store is a local folder instead of memory.
    pub(crate) on_disk: bool,
    /// Whether functions run in the process of the command, so that they crash and stop with it.
    pub(crate) in_process: bool,
    /// The maximum time between two reads of the clock by a function.
    pub(crate) clock_step: Duration,
    /// The probability of each fault, at each request or call where it is possible.
    pub(crate) rates: BTreeMap<Fault, f64>,
    /// Time spans in which the platform throttles all calls.
    pub(crate) throttling_periods: Vec<(Duration, Duration)>,
    /// The starts of the command with faults. Two starts without faults follow.
    pub(crate) starts: Vec<Start>,
}

/// One start of the command, or of two commands at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) commands: Vec<CommandOptions>,
    /// An outage of store and platform, and the request to the store at which it begins.
    pub(crate) outage: Option<(u64, Fault)>,
    /// Whether the next start begins while calls of this one are still in flight.
    pub(crate) overlaps_next_start: bool,
}

/// The options of a command, and its faults.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandOptions {
    pub(crate) delay: Duration,
    /// When the command crashes.
    pub(crate) crash: Option<Trigger>,
    pub(crate) cancel: Option<Trigger>,
    pub(crate) stop_on_bad_record: bool,
    /// Whether it first discards the existing run.
    pub(crate) is_fresh: bool,
    /// Whether it retries quarantined records.
    pub(crate) retries_quarantined: bool,
    /// The number of batches in a window; a single window if `None`.
    pub(crate) batches_at_once: Option<NonZeroUsize>,
}

/// The request to the store at which a process crashes or is cancelled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trigger {
    pub(crate) step: u64,
    /// Whether `step` counts the requests of all processes.
    pub(crate) counts_all_requests: bool,
    pub(crate) point: CrashPoint,
}

/// The point in a request to the store at which a process crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrashPoint {
    /// Before the store receives the request.
    Before,
    /// During the request: the machine crashes too, and the object is torn.
    Half,
    /// After the request, before the answer.
    After,
}

impl CrashPoint {
    pub(crate) fn any(rng: &mut Rng) -> Self {
        *choose(rng, &[Self::Before, Self::Half, Self::After])
    }
}

pub(crate) fn choose<'a, T>(rng: &mut Rng, among: &'a [T]) -> &'a T {
    &among[rng.usize(..among.len())]
}

/// A random generator that depends only on its arguments.
pub(crate) fn rng(seed: u64, kind: &str, number: u64) -> Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(kind.as_bytes());
    let hash = hasher.finalize();
    let (head, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
    Rng::with_seed(u64::from_le_bytes(*head))
}

impl Scenario {
    /// The scenario of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut rng(seed, "scenario", 0);
        let files: Vec<_> = (0..rng.usize(1..=2)).map(|_| rng.usize(1..=40)).collect();
        let records: usize = files.iter().sum();
        let batch_size = rng.u64(1..=records as u64).min(rng.u64(2..=20));
        let batches = (records as u64).div_ceil(batch_size);
        let in_process = rng.u8(..4) == 0;
        let seconds = Duration::from_secs;
        let timeout = (rng.u8(..4) > 0).then(|| seconds(rng.u64(8..=60)));
        let pace = Duration::from_millis(*choose(rng, &[1, 1, 50, 500]));
        // A function reads the clock twice per record while it skips to its offset, and must then have time for at least
        // one more record.
        let longest_pace = timeout.map_or(pace, |timeout| {
            (timeout - seconds(3)) / (2 * batch_size as u32 + 8)
        });
        let mut rates = BTreeMap::new();
        for &fault in Fault::ALL {
            if rng.u8(..100) < 35 {
                rates.insert(fault, *choose(rng, &[0.01, 0.03, 0.1, 0.25]));
            }
        }
        let throttling_periods = match rng.u8(..20) {
            0 => vec![(Duration::ZERO, seconds(rng.u64(600..=2000)))],
            1..5 => (0..rng.u8(1..=3))
                .map(|_| {
                    let from = Duration::from_millis(rng.u64(..20_000));
                    (from, from + seconds(rng.u64(1..=60)))
                })
                .collect(),
            _ => Vec::new(),
        };
        let starts = (0..rng.usize(1..=MAX_FAULTY_STARTS))
            .map(|_| Start::new(rng, batches))
            .collect();
        Self {
            seed,
            files,
            bad_percent: *choose(rng, &[0, 0, 5, 30]),
            input: *choose(rng, &[Format::Csv, Format::Jsonl, Format::Parquet]),
            output: *choose(
                rng,
                &[
                    OutputFormat::Csv,
                    OutputFormat::Jsonl,
                    OutputFormat::Parquet,
                    OutputFormat::Arrow,
                ],
            ),
            batch_size,
            concurrency: *choose(rng, &[1, 2, 3, 4, 8, 64]),
            ramp: (rng.u8(..4) == 0).then(|| Ramp {
                start: 1,
                step: 2,
                every: seconds(10),
            }),
            timeout: timeout.filter(|_| !in_process),
            retry: RetryPolicy {
                attempts: rng.u32(2..=4),
                ..RetryPolicy::default()
            },
            speculation: [None, Some(0.05), Some(1.0)][rng.usize(..3)]
                .map(|budget| Speculation { budget }),
            poison: match rng.u8(..8) {
                0 => (0..rng.u8(1..=3))
                    .map(|_| rng.u64(..records as u64))
                    .collect(),
                _ => Vec::new(),
            },
            on_disk: rng.u8(..16) == 0,
            in_process,
            clock_step: pace.min(longest_pace),
            rates,
            throttling_periods,
            starts,
        }
    }

    /// The same job without faults and with other batches.
    pub(crate) fn undisturbed(&self) -> Self {
        Self {
            batch_size: 1000,
            concurrency: 1,
            ramp: None,
            timeout: None,
            in_process: true,
            on_disk: false,
            clock_step: Duration::ZERO,
            rates: BTreeMap::new(),
            throttling_periods: Vec::new(),
            speculation: None,
            poison: Vec::new(),
            starts: Vec::new(),
            ..self.clone()
        }
    }

    pub(crate) fn rate(&self, fault: Fault) -> f64 {
        self.rates.get(&fault).copied().unwrap_or(0.0)
    }
}

impl Start {
    fn new(rng: &mut Rng, batches: u64) -> Self {
        let commands = if rng.u8(..5) == 0 { 2 } else { 1 };
        // A command must not discard the run of another one.
        let is_fresh = commands == 1 && rng.u8(..8) == 0;
        let retries_quarantined = commands == 1 && rng.u8(..5) == 0;
        // Estimates of the number of requests of one command, and of all processes.
        let (own, all) = (40 + 3 * batches, 40 + 9 * batches);
        let trigger = |rng: &mut Rng| {
            let counts_all_requests = rng.bool();
            Trigger {
                step: rng.u64(1..=if counts_all_requests { all } else { own }),
                counts_all_requests,
                point: CrashPoint::any(rng),
            }
        };
        let commands = (0..commands)
            .map(|number| CommandOptions {
                delay: Duration::from_millis(number * rng.u64(..8000)),
                crash: (rng.u8(..2) == 0).then(|| trigger(rng)),
                cancel: (rng.u8(..5) == 0).then(|| trigger(rng)),
                stop_on_bad_record: rng.u8(..12) == 0,
                is_fresh,
                retries_quarantined,
                batches_at_once: NonZeroUsize::new(rng.usize(..6)),
            })
            .collect();
        let outage = match rng.u8(..12) {
            0 => Some((rng.u64(1..=all), Fault::DiskFull)),
            1 => Some((rng.u64(1..=all), Fault::PermissionLost)),
            _ => None,
        };
        Self {
            commands,
            outage,
            overlaps_next_start: rng.bool(),
        }
    }

    /// A start without faults.
    pub(crate) fn fault_free() -> Self {
        Self {
            commands: vec![CommandOptions {
                retries_quarantined: true,
                ..CommandOptions::default()
            }],
            outage: None,
            overlaps_next_start: false,
        }
    }
}
