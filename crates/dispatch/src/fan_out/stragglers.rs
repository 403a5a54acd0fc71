//! Speculative execution: second attempts at calls that take much longer than expected.
//!
//! The expected time of a call is its size times the median rate of the answered calls. A call that takes several times
//! longer gets a second attempt if a lane is free and no batch is waiting. The first answer counts. These are the backup
//! tasks of *MapReduce* (Dean and Ghemawat, OSDI 2004, section 3.6).

use std::time::Duration;

use shoal_job::Batch;

/// A second attempt starts when a call has taken this many times its expected time,
const FACTOR: f64 = 3.0;
/// and at least this long.
const MIN_AGE: Duration = Duration::from_secs(1);
/// The number of answered calls needed for an estimate.
const MIN_SAMPLES: u64 = 10;
/// The estimate uses this many of the last calls.
const WINDOW: usize = 101;
/// How much longer than its time limit a function may run before the platform stops it.
const OVERTIME: Duration = Duration::from_secs(2);

/// The bounds on second attempts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speculation {
    /// The maximum time of second attempts, as a fraction of the time of all answered calls.
    pub budget: f64,
}

impl Default for Speculation {
    /// 5 %.
    fn default() -> Self {
        Self { budget: 0.05 }
    }
}

/// Estimates call times and keeps the budget of second attempts.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    budget: f64,
    answered: u64,
    /// Seconds per byte (per row for Parquet) and per record of the last calls.
    rates: Vec<(f64, f64)>,
    /// The cached medians of `rates`. The larger estimate of the two counts.
    median: Option<(f64, f64)>,
    answered_seconds: f64,
    second_seconds: f64,
    reserved_seconds: f64,
}

/// A second attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SecondAttempt {
    /// Its time limit.
    pub(super) limit: Duration,
    /// The seconds of the budget that are reserved for it.
    pub(super) reserved_seconds: f64,
}

/// The bytes and records that a call processes.
fn size(batch: &Batch, records: u64) -> (f64, f64) {
    let bytes: u64 = batch
        .slices
        .iter()
        .map(|slice| slice.end.saturating_sub(slice.start))
        .sum();
    let share = records as f64 / batch.records.max(1) as f64;
    (bytes as f64 * share, records as f64)
}

impl Stragglers {
    pub(super) fn new(speculation: Speculation) -> Self {
        Self {
            budget: speculation.budget,
            ..Self::default()
        }
    }

    /// Records that a call for `records` records of a batch was answered after `elapsed`.
    pub(super) fn answered(&mut self, batch: &Batch, records: u64, elapsed: Duration) {
        let (bytes, records) = size(batch, records);
        let elapsed = elapsed.as_secs_f64();
        let rate = (elapsed / bytes.max(1.0), elapsed / records.max(1.0));
        match self.rates.get_mut(self.answered as usize % WINDOW) {
            Some(oldest) => *oldest = rate,
            None => self.rates.push(rate),
        }
        self.answered += 1;
        self.answered_seconds += elapsed;
        self.median = None;
    }

    /// The second attempt for a call that has run for `running`, if one is due and the budget covers it.
    pub(super) fn second(&mut self, batch: &Batch, running: Duration) -> Option<SecondAttempt> {
        if self.budget <= 0.0 || self.answered < MIN_SAMPLES || running < MIN_AGE {
            return None;
        }
        let (by_bytes, by_records) = self.median();
        let (bytes, records) = size(batch, batch.end() - batch.offset);
        let expected = (bytes * by_bytes).max(records * by_records);
        let late = Duration::try_from_secs_f64(FACTOR * expected).unwrap_or(Duration::MAX);
        if running < late {
            return None;
        }
        let limit = late.max(MIN_AGE) + OVERTIME;
        let reserved_seconds = (limit + OVERTIME).as_secs_f64();
        let spent = self.second_seconds + self.reserved_seconds + reserved_seconds;
        (spent <= self.budget * self.answered_seconds).then_some(SecondAttempt {
            limit,
            reserved_seconds,
        })
    }

    fn median(&mut self) -> (f64, f64) {
        let Self { rates, median, .. } = self;
        *median.get_or_insert_with(|| {
            let of = |rate: fn(&(f64, f64)) -> f64| {
                let mut rates: Vec<_> = rates.iter().map(rate).collect();
                let half = rates.len() / 2;
                *rates.select_nth_unstable_by(half, f64::total_cmp).1
            };
            (of(|rate| rate.0), of(|rate| rate.1))
        })
    }

    /// Reserves the budget for a second attempt.
    pub(super) fn begin(&mut self, second: SecondAttempt) {
        self.reserved_seconds += second.reserved_seconds;
    }

    /// Settles a second attempt. The reserved time exceeds what a platform bills for it.
    pub(super) fn end(&mut self, second: SecondAttempt, elapsed: Option<Duration>) {
        self.reserved_seconds -= second.reserved_seconds;
        let elapsed = elapsed.unwrap_or_default().as_secs_f64();
        self.second_seconds += elapsed.min(second.reserved_seconds);
    }
}
