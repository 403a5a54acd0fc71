//! The amount of work in an input.

use serde::Serialize;

use crate::Calibration;

/// The lengths of an input's records.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Workload {
    /// Number of records of the input.
    pub records: u64,
    /// Tokens of each record that was read: all records in order, or a sample. A record that cannot
    /// be processed has 0.
    #[serde(skip)]
    pub lengths: Vec<u32>,
    /// Number of records that were read.
    pub read: u64,
    /// Number of those whose text was truncated at the token limit.
    pub truncated: u64,
    /// Bytes of the texts that were read.
    pub bytes: u64,
}

/// Total work, and its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Work {
    /// Seconds of one function on one core.
    pub seconds: f64,
    /// Half the width of the 95 % confidence interval due to sampling, relative to
    /// [`seconds`](Self::seconds); 0 if every record was read.
    pub sampling_error: f64,
}

impl Workload {
    /// Whether every record was read.
    pub fn is_whole(&self) -> bool {
        self.read == self.records
    }

    /// Tokens of the whole input: counted, or extrapolated from the sample.
    pub fn tokens(&self) -> f64 {
        let read: u64 = self.lengths.iter().map(|&tokens| u64::from(tokens)).sum();
        if self.is_whole() || self.read == 0 {
            return read as f64;
        }
        read as f64 / self.read as f64 * self.records as f64
    }

    /// Seconds for each record that was read, on an otherwise idle machine.
    pub fn record_seconds(&self, calibration: &Calibration) -> Vec<f64> {
        let seconds = |&tokens: &u32| match tokens {
            0 => 0.0,
            tokens => calibration.record_seconds(tokens),
        };
        self.lengths.iter().map(seconds).collect()
    }

    /// The total work. A sample consists of groups of `group` consecutive records. Records within a
    /// group are more similar than records in general, so the error is computed from the groups'
    /// means (cluster sampling; Cochran, *Sampling Techniques*, 1977, chapter 9), with the finite
    /// population correction.
    pub fn work(&self, calibration: &Calibration, group: usize) -> Work {
        let seconds = self.record_seconds(calibration);
        let total: f64 = seconds.iter().sum();
        let mut work = Work {
            seconds: total,
            sampling_error: 0.0,
        };
        if self.is_whole() || total == 0.0 {
            return work;
        }
        let mean = total / seconds.len() as f64;
        let groups: Vec<f64> = seconds
            .chunks(group.max(1))
            .map(|group| group.iter().sum::<f64>() / group.len() as f64)
            .collect();
        let count = groups.len() as f64;
        let squares = groups.iter().map(|group| (group - mean).powi(2));
        let variance = squares.sum::<f64>() / (count - 1.0).max(1.0);
        let unread_share = 1.0 - self.read as f64 / self.records as f64;
        let standard_error = (variance / count * unread_share).sqrt();
        work.seconds = mean * self.records as f64;
        work.sampling_error = 1.96 * standard_error / mean;
        work
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::tests::calibration;

    fn workload(records: u64, lengths: &[u32]) -> Workload {
        Workload {
            records,
            lengths: lengths.to_vec(),
            read: lengths.len() as u64,
            ..Workload::default()
        }
    }

    #[test]
    fn all_records_are_summed_exactly() {
        let whole = workload(3, &[10, 0, 20]);
        let work = whole.work(&calibration(), 1);
        assert!((work.seconds - 2.0 * 0.004).abs() < 1e-12);
        assert_eq!(work.sampling_error, 0.0);
        assert_eq!(whole.tokens(), 30.0);
    }

    /// Four groups of one record: 2, 2, 6 and 6 ms; mean 4, variance 16/3, half of the input not
    /// read.
    #[test]
    fn a_sample_is_extrapolated_with_its_error() {
        let sample = workload(8, &[10, 10, 20, 20]);
        let work = sample.work(&calibration(), 1);
        assert!((work.seconds - 8.0 * 0.004).abs() < 1e-12);
        let by_hand = 1.96 * (16.0 / 3.0 / 4.0 * 0.5_f64).sqrt() / 4.0;
        assert!(
            (work.sampling_error - by_hand).abs() < 1e-12,
            "{}",
            work.sampling_error
        );
        assert_eq!(sample.tokens(), 120.0);
        // With groups of two equal records, all variance is between groups.
        let grouped = sample.work(&calibration(), 2).sampling_error;
        let by_hand = 1.96 * (8.0 / 2.0 * 0.5_f64).sqrt() / 4.0;
        assert!((grouped - by_hand).abs() < 1e-12, "{grouped}");
    }

    #[test]
    fn an_empty_input_takes_no_time() {
        let work = workload(0, &[]).work(&calibration(), 4);
        assert_eq!((work.seconds, work.sampling_error), (0.0, 0.0));
    }
}
