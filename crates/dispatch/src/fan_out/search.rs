//! Looking for the record that kills its function.
//!
//! A batch that kills its function twice is worked on by ever fewer records from its beginning: half of those among which the
//! bad one must be. What comes through is done and kept; where it does not, the bad record is among them. After log₂ n calls
//! it is known, is tried once more on its own, and is buried: its dead letter is written without working on it. Then what
//! lies behind is an ordinary batch again. A record that kills its function costs log₂ n + 4 calls at most, rounded up, beyond
//! the one that every batch takes: never more than 2 log₂ n + 2.

use shoal_job::Batch;

/// How often all of a batch may kill its function before its records are divided.
pub(super) const WHOLE_ATTEMPTS: u32 = 2;

/// What is known of the records from a batch's offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Suspects {
    /// Nothing bad.
    #[default]
    None,
    /// One of those before this one kills its function.
    Before(u64),
    /// The first one does, on its own.
    First,
}

impl Suspects {
    /// What is known when `tried` has killed its function, and no more attempts are made at it as it is.
    pub(super) fn after_failure(tried: &Batch) -> Self {
        match tried.end() - tried.offset {
            1 => Self::First,
            _ => Self::Before(tried.end()),
        }
    }

    /// What is known of the records from `done` on, when all before it came through.
    pub(super) fn after_success(self, done: u64) -> Self {
        match self {
            Self::Before(end) if done < end => self,
            _ => Self::None,
        }
    }

    /// Where the next call stops that begins at `offset`, of a batch of which `end` is to be done.
    pub(super) fn until(self, offset: u64, end: u64) -> u64 {
        match self {
            Self::None => end,
            Self::First => offset + 1,
            Self::Before(suspect) => offset + ((suspect - offset) / 2).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls that it takes until all of `records` are done or buried, where those of `bad` kill their function.
    fn calls(records: u64, bad: &[u64]) -> u32 {
        let batch = Batch {
            records,
            ..Batch::default()
        };
        let (mut offset, mut suspects, mut tries, mut calls) = (0, Suspects::None, 0, 0);
        let mut quarantined = Vec::new();
        while offset < records {
            calls += 1;
            if suspects == Suspects::First {
                quarantined.push(offset);
                offset += 1;
                (suspects, tries) = (Suspects::None, 0);
                continue;
            }
            let until = suspects.until(offset, records);
            assert!(until > offset && until <= records);
            if bad.iter().any(|bad| (offset..until).contains(bad)) {
                tries += 1;
                if suspects != Suspects::None || tries == WHOLE_ATTEMPTS {
                    suspects = Suspects::after_failure(&batch.range(offset, until));
                }
            } else {
                suspects = suspects.after_success(until);
                (offset, tries) = (until, 0);
            }
        }
        assert_eq!(quarantined, bad, "of {records}");
        calls
    }

    #[test]
    fn a_bad_record_costs_the_logarithm_of_its_batch() {
        for records in 1..=300_u64 {
            for bad in 0..records {
                let extra = calls(records, &[bad]) - 1;
                let bound = 2.0 * (records as f64).log2() + 2.0;
                assert!(
                    f64::from(extra) <= bound,
                    "{extra} for record {bad} of {records}"
                );
            }
        }
        for records in [1000, 65_536, 1_000_000] {
            let bound = 2.0 * (records as f64).log2() + 2.0;
            for bad in [0, 1, records / 3, records / 2, records - 2, records - 1] {
                let extra = calls(records, &[bad]) - 1;
                assert!(
                    f64::from(extra) <= bound,
                    "{extra} for record {bad} of {records}"
                );
            }
        }
    }

    #[test]
    fn several_are_found_one_after_the_other() {
        for bad in [&[0, 1][..], &[0, 99], &[3, 4, 5, 60], &[98, 99]] {
            let each = 2.0 * 100_f64.log2() + 2.0;
            assert!(f64::from(calls(100, bad) - 1) <= each * bad.len() as f64);
        }
        let all: Vec<_> = (0..10).collect();
        calls(10, &all);
        assert_eq!(calls(100, &[]), 1);
    }
}
