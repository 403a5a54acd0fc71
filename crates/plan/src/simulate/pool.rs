//! What batches take, from what records take.

/// Sums that are drawn for a sample: enough for the distribution's tail, few enough to be drawn at once.
const DRAWS: usize = 4_096;

/// The seconds of each batch of a job.
///
/// Where all records are known in their order, a batch's time is their sum. Where a sample is known, sums of as many records as a
/// batch has are drawn from it with replacement (the bootstrap; Efron, *Annals of Statistics* 7, 1979), and every batch has one
/// of them: the mean and the variance of such a sum are those of independent records, `n μ` and `n σ²`.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPool {
    batches: u64,
    sums: Vec<f64>,
    /// The last batch's, which may have fewer records.
    last: f64,
    is_whole: bool,
}

impl BatchPool {
    /// The batches of `batch_size` records of an input of `records`, of which `sample` has the seconds: of all, in order, where
    /// there are as many.
    ///
    /// # Panics
    /// `batch_size` is 0.
    pub fn new(sample: &[f64], records: u64, batch_size: u64) -> Self {
        let batches = records.div_ceil(batch_size);
        let is_whole = sample.len() as u64 == records;
        if is_whole {
            let size = usize::try_from(batch_size).unwrap_or(usize::MAX);
            let sums: Vec<f64> = sample
                .chunks(size)
                .map(|batch| batch.iter().sum())
                .collect();
            return Self {
                batches,
                last: sums.last().copied().unwrap_or_default(),
                sums,
                is_whole,
            };
        }
        let mut random = fastrand::Rng::with_seed(records ^ batch_size.rotate_left(32));
        let mut draw = |records: u64| -> f64 {
            if sample.is_empty() {
                return 0.0;
            }
            (0..records)
                .map(|_| sample[random.usize(..sample.len())])
                .sum()
        };
        // Large batches differ little from each other; their sums need fewer draws.
        let draws = (DRAWS as u64 * 256 / batch_size.max(1)).clamp(64, DRAWS as u64);
        let sums = (0..draws).map(|_| draw(batch_size)).collect();
        let left = records - (batches.max(1) - 1) * batch_size;
        Self {
            batches,
            sums,
            last: draw(left),
            is_whole,
        }
    }

    /// Number of batches.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Seconds of a batch, counted from 0.
    ///
    /// # Panics
    /// There is no such batch.
    pub fn seconds(&self, batch: u64) -> f64 {
        assert!(batch < self.batches, "there are {} batches", self.batches);
        if batch == self.batches - 1 {
            return self.last;
        }
        if self.is_whole {
            return self.sums[batch as usize];
        }
        // SplitMix64's finalizer (Steele, Lea, Flood 2014) spreads neighbours over the pool.
        let mut mixed = batch.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.sums[((mixed ^ (mixed >> 31)) % self.sums.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_records_are_summed_as_they_are_cut() {
        let pool = BatchPool::new(&[1.0, 2.0, 3.0, 4.0, 5.0], 5, 2);
        let seconds: Vec<f64> = (0..pool.batches())
            .map(|batch| pool.seconds(batch))
            .collect();
        assert_eq!(seconds, [3.0, 7.0, 5.0]);
        assert_eq!(BatchPool::new(&[], 0, 2).batches(), 0);
    }

    /// Of records of 1 and 3 s, half each: mean 2, variance 1; a batch of 100 has mean 200 and variance 100.
    #[test]
    fn a_pool_has_the_mean_and_variance_of_sums() {
        let pool = BatchPool::new(&[1.0, 3.0], 1_000_050, 100);
        assert_eq!(pool.batches(), 10_001);
        let seconds: Vec<f64> = (0..10_000).map(|batch| pool.seconds(batch)).collect();
        let mean = seconds.iter().sum::<f64>() / 1e4;
        let variance = seconds.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 1e4;
        assert!((mean - 200.0).abs() < 1.0, "{mean}");
        assert!((variance - 100.0).abs() < 10.0, "{variance}");
        let last = pool.seconds(10_000);
        assert!((50.0..=150.0).contains(&last), "{last}");
    }
}
