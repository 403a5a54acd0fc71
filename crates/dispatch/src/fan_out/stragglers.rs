//! Second attempts at calls that take far longer than they should.
//!
//! What a call should take is its work times what the answered calls took for theirs, in the middle. One that takes several
//! times that is called a second time where there is a place and nothing else to do, and whichever attempt answers first
//! counts (the backup tasks of *MapReduce*, Dean and Ghemawat, OSDI 2004, section 3.6).

use std::time::Duration;

use shoal_job::Batch;

/// A second attempt is made when a call has taken this many times what it should.
const FACTOR: f64 = 3.0;
/// And this long at least.
const LEAST: Duration = Duration::from_secs(1);
/// Calls that must have been answered before it is known what one should take.
const ENOUGH: u64 = 10;
/// Answered calls that count: the last ones.
const REMEMBERED: usize = 101;
/// What a function may take beyond the time that it was given, until it is ended.
const OVERTIME: Duration = Duration::from_secs(2);

/// How second attempts are bounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speculation {
    /// The time of second attempts, at most, as a share of the time of all calls that were answered.
    pub budget: f64,
}

impl Default for Speculation {
    /// 5 %.
    fn default() -> Self {
        Self { budget: 0.05 }
    }
}

/// What calls take, and what second attempts did.
#[derive(Debug)]
pub(super) struct Stragglers {
    budget: f64,
    answered: u64,
    /// Seconds for a byte (of Parquet: for a row), and for a record, of the last calls.
    rates: Vec<(f64, f64)>,
    /// Of them in the middle; where batches differ, the one that expects more counts.
    middle: Option<(f64, f64)>,
    answered_seconds: f64,
    second_seconds: f64,
    set_aside: f64,
}

/// A second attempt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Second {
    /// What it may take.
    pub(super) limit: Duration,
    /// Seconds of the budget that are set aside for it.
    pub(super) set_aside: f64,
}

/// Bytes and records that a call is to work off.
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
            answered: 0,
            rates: Vec::new(),
            middle: None,
            answered_seconds: 0.0,
            second_seconds: 0.0,
            set_aside: 0.0,
        }
    }

    /// A call for `records` of a batch was answered after `took`.
    pub(super) fn answered(&mut self, batch: &Batch, records: u64, took: Duration) {
        let (bytes, records) = size(batch, records);
        let took = took.as_secs_f64();
        let rate = (took / bytes.max(1.0), took / records.max(1.0));
        match self.rates.get_mut(self.answered as usize % REMEMBERED) {
            Some(oldest) => *oldest = rate,
            None => self.rates.push(rate),
        }
        self.answered += 1;
        self.answered_seconds += took;
        self.middle = None;
    }

    /// The second attempt for a call that has run for `running`, if it is time for one and there is time left for it.
    pub(super) fn second(&mut self, batch: &Batch, running: Duration) -> Option<Second> {
        if self.budget <= 0.0 || self.answered < ENOUGH || running < LEAST {
            return None;
        }
        let (by_bytes, by_records) = self.middle();
        let (bytes, records) = size(batch, batch.end() - batch.offset);
        let expected = (bytes * by_bytes).max(records * by_records);
        let late = Duration::try_from_secs_f64(FACTOR * expected).unwrap_or(Duration::MAX);
        if running < late {
            return None;
        }
        let limit = late.max(LEAST) + OVERTIME;
        let set_aside = (limit + OVERTIME).as_secs_f64();
        let spent = self.second_seconds + self.set_aside + set_aside;
        (spent <= self.budget * self.answered_seconds).then_some(Second { limit, set_aside })
    }

    fn middle(&mut self) -> (f64, f64) {
        let Self { rates, middle, .. } = self;
        *middle.get_or_insert_with(|| {
            let of = |rate: fn(&(f64, f64)) -> f64| {
                let mut rates: Vec<_> = rates.iter().map(rate).collect();
                let half = rates.len() / 2;
                *rates.select_nth_unstable_by(half, f64::total_cmp).1
            };
            (of(|rate| rate.0), of(|rate| rate.1))
        })
    }

    /// A second attempt is made.
    pub(super) fn begin(&mut self, second: Second) {
        self.set_aside += second.set_aside;
    }

    /// A second attempt has ended. What is set aside is more than a platform bills for it.
    pub(super) fn end(&mut self, second: Second, took: Option<Duration>) {
        self.set_aside -= second.set_aside;
        let took = took.unwrap_or_default().as_secs_f64();
        self.second_seconds += took.min(second.set_aside);
    }
}
