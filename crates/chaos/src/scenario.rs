//! What one run of the campaign is: everything that chance decides before it begins.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use fastrand::Rng;
use shoal_dispatch::{Ramp, RetryPolicy, Speculation};
use shoal_job::format::{Format, OutputFormat};

use crate::Fault;

/// Starts of the command before everything is well, at most.
const MOST_TROUBLED_STARTS: usize = 6;

/// One run of the campaign.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Records of each input file.
    pub(crate) files: Vec<usize>,
    /// Records that cannot be read, of a hundred.
    pub(crate) bad_percent: usize,
    pub(crate) input: Format,
    pub(crate) output: OutputFormat,
    pub(crate) batch_size: u64,
    pub(crate) concurrency: usize,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retry: RetryPolicy,
    pub(crate) speculation: Option<Speculation>,
    /// Records, by their number from 0, that kill their function, until all is well.
    pub(crate) poison: Vec<u64>,
    /// Whether the store is a folder of this machine rather than memory.
    pub(crate) on_disk: bool,
    /// Whether functions live in the process of the command: they die with it, and stop with it.
    pub(crate) in_process: bool,
    /// What goes by between two looks of a function at its clock, at most.
    pub(crate) pace: Duration,
    /// How probable a fault is, at each request or call where it may be.
    pub(crate) rates: BTreeMap<Fault, f64>,
    /// From when to when the platform takes nothing.
    pub(crate) storms: Vec<(Duration, Duration)>,
    /// The starts of the command in which all this holds. Afterwards everything is well.
    pub(crate) starts: Vec<Start>,
}

/// One start of the command, or of two at once.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) commands: Vec<Order>,
    /// What befalls the whole world, at which request to the store.
    pub(crate) outage: Option<(u64, Fault)>,
    /// Whether the user goes on as soon as the command is at its end, whatever calls are still under way.
    pub(crate) is_hasty: bool,
}

/// A command, and what befalls it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order {
    pub(crate) delay: Duration,
    /// At which of its own requests to the store, or of all.
    pub(crate) crash: Option<Doom>,
    pub(crate) cancel: Option<Doom>,
    pub(crate) stop_on_bad_record: bool,
    /// Whether all that was done is discarded first.
    pub(crate) is_fresh: bool,
    /// Whether records that killed their function are tried again.
    pub(crate) retries_quarantined: bool,
    /// Batches that it has in memory at a time; all of them, if `None`.
    pub(crate) batches_at_once: Option<NonZeroUsize>,
}

/// When something befalls a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doom {
    pub(crate) step: u64,
    /// Whether steps of everybody count.
    pub(crate) of_all: bool,
    pub(crate) moment: Moment,
}

/// Where in a request to the store something ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The store never sees it.
    Before,
    /// The machine is gone too: half of what was put is there.
    Half,
    /// The store did it, and nobody hears of that.
    After,
}

impl Moment {
    pub(crate) fn any(rng: &mut Rng) -> Self {
        *choose(rng, &[Self::Before, Self::Half, Self::After])
    }
}

pub(crate) fn choose<'a, T>(rng: &mut Rng, among: &'a [T]) -> &'a T {
    &among[rng.usize(..among.len())]
}

/// Chances for `number` of what `kind` names, which depend on nothing else.
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
    /// The run that `seed` stands for.
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
        // A function finds its place by reading up to it, which is two looks at the clock a record, and must then have time
        // for a record more.
        let longest_pace = timeout.map_or(pace, |timeout| {
            (timeout - seconds(3)) / (2 * batch_size as u32 + 8)
        });
        let mut rates = BTreeMap::new();
        for fault in Fault::ALL {
            if rng.u8(..100) < 35 {
                rates.insert(fault, *choose(rng, &[0.01, 0.03, 0.1, 0.25]));
            }
        }
        let storms = match rng.u8(..20) {
            0 => vec![(Duration::ZERO, seconds(rng.u64(600..=2000)))],
            1..5 => (0..rng.u8(1..=3))
                .map(|_| {
                    let from = Duration::from_millis(rng.u64(..20_000));
                    (from, from + seconds(rng.u64(1..=60)))
                })
                .collect(),
            _ => Vec::new(),
        };
        let starts = (0..rng.usize(1..=MOST_TROUBLED_STARTS))
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
            pace: pace.min(longest_pace),
            rates,
            storms,
            starts,
        }
    }

    /// The same job, undisturbed, and cut otherwise.
    pub(crate) fn undisturbed(&self) -> Self {
        Self {
            batch_size: 1000,
            concurrency: 1,
            ramp: None,
            timeout: None,
            in_process: true,
            on_disk: false,
            pace: Duration::ZERO,
            rates: BTreeMap::new(),
            storms: Vec::new(),
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
        // Nobody discards what another command works on.
        let is_fresh = commands == 1 && rng.u8(..8) == 0;
        let retries_quarantined = commands == 1 && rng.u8(..5) == 0;
        // Of one command, and of a whole run, about so many.
        let (own, all) = (40 + 3 * batches, 40 + 9 * batches);
        let doom = |rng: &mut Rng| {
            let of_all = rng.bool();
            Doom {
                step: rng.u64(1..=if of_all { all } else { own }),
                of_all,
                moment: Moment::any(rng),
            }
        };
        let commands = (0..commands)
            .map(|number| Order {
                delay: Duration::from_millis(number * rng.u64(..8000)),
                crash: (rng.u8(..2) == 0).then(|| doom(rng)),
                cancel: (rng.u8(..5) == 0).then(|| doom(rng)),
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
            is_hasty: rng.bool(),
        }
    }

    /// A start in which all is well.
    pub(crate) fn calm() -> Self {
        Self {
            commands: vec![Order {
                retries_quarantined: true,
                ..Order::default()
            }],
            outage: None,
            is_hasty: false,
        }
    }
}
