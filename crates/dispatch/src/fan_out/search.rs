//! Binary search for the record that crashes its function.
//!
//! A batch that crashes its function twice is split: the next call processes the first half of the suspect records. If it
//! succeeds, its result is kept and the search continues behind it; otherwise the bad record is in that half. After log₂ n
//! calls the record is known. It is tried once more on its own and then quarantined: its dead letter is written without
//! processing the record. The records behind it form an ordinary batch again. Beyond the one call that every batch takes,
//! a bad record costs at most log₂ n + 4 calls, rounded up, and never more than 2 log₂ n + 2.

use shoal_job::Batch;

/// How often a whole batch may crash its function before it is split.
pub(super) const WHOLE_ATTEMPTS: u32 = 2;

/// What is known about the records from a batch's offset on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Suspects {
    /// No record is suspect.
    #[default]
    None,
    /// A record before this one crashes its function.
    Before(u64),
    /// The first record crashes its function.
    First,
}

impl Suspects {
    /// The state after `tried` crashed its function for the last time that it may.
    pub(super) fn after_failure(tried: &Batch) -> Self {
        match tried.end() - tried.offset {
            1 => Self::First,
            _ => Self::Before(tried.end()),
        }
    }

    /// The state of the records from `done` on, after all records before it were processed.
    pub(super) fn after_success(self, done: u64) -> Self {
        match self {
            Self::Before(end) if done < end => self,
            _ => Self::None,
        }
    }

    /// The end of the next call, which begins at `offset`, in a batch that ends at `end`.
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

    /// The number of calls until all `records` are processed or quarantined, if those in `bad` crash their function.
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
    fn a_bad_record_costs_a_logarithmic_number_of_calls() {
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
    fn several_bad_records_are_found() {
        for bad in [&[0, 1][..], &[0, 99], &[3, 4, 5, 60], &[98, 99]] {
            let each = 2.0 * 100_f64.log2() + 2.0;
            assert!(f64::from(calls(100, bad) - 1) <= each * bad.len() as f64);
        }
        let all: Vec<_> = (0..10).collect();
        calls(10, &all);
        assert_eq!(calls(100, &[]), 1);
    }
}
