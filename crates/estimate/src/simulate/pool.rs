//! Batch times derived from record times.

use super::chance::mix;

/// Maximum number of sums in a pool.
const SUMS: u64 = 4096;
/// A sum of more draws than this is approximated by the normal distribution. Its skewness is that
/// of one draw divided by the square root of their number: less than 1/32 of it.
const MOST_DRAWS: u64 = 1024;

/// A sample of records that represents a larger input.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Seconds for each sampled record.
    pub seconds: &'a [f64],
    /// Number of consecutive records per sampled group; 1 if every record was drawn independently.
    pub group: usize,
    /// Number of records of the input.
    pub records: u64,
    /// Random seed.
    pub seed: u64,
}

/// The seconds of every batch of an input.
///
/// Each batch has one of at most 4,096 sums, chosen by the batch's index and the seed, so that
/// millions of batches need no more draws than thousands. A sum is a bootstrap (Efron, *Bootstrap
/// Methods*, 1979) of groups drawn with replacement, the last one in part. Adjacent records are
/// similar, so batches vary more than sums of independent records would (block bootstrap; Künsch,
/// *The Jackknife and the Bootstrap for General Stationary Observations*, 1989). All sums are
/// scaled by one factor such that their mean is exactly a batch's share of the whole input: the
/// total work depends on the sample, not on the draw.
///
/// A batch of `n` records, a multiple of the group size `g`, therefore has mean `n · m` and
/// variance `n/g · v`, where `m` is the sample's mean and `v` the variance of the groups' sums. The
/// pool's variance is within a few percent of that (its relative standard error is `√(2/4095)`, 2.2
/// %, if the sums are roughly normal). The longest batch of a pool is about the longest of 4,096:
/// 3.5 standard deviations above the mean if the sums are roughly normal, whereas the longest of
/// four million would be 5.1 above.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchPool {
    batches: u64,
    /// Seconds of full batches, from which each batch's time is chosen.
    sums: Vec<f64>,
    /// Factor from a full batch's seconds to those of the last batch.
    last: f64,
    seed: u64,
}

impl BatchPool {
    /// Batches of `batch_size` records of the input that `sample` represents; the last may be
    /// smaller. With an empty sample, records take no time.
    ///
    /// # Panics
    /// `batch_size` is 0.
    pub fn sampled(sample: &Sample<'_>, batch_size: u64) -> Self {
        let batches = sample.records.div_ceil(batch_size);
        // An input smaller than a batch is a single full batch.
        let size = batch_size.min(sample.records);
        Self {
            batches,
            sums: sums(sample, size, batches.min(SUMS)),
            last: match sample.records.checked_rem(size) {
                None | Some(0) => 1.0,
                Some(rest) => rest as f64 / size as f64,
            },
            seed: sample.seed,
        }
    }

    /// Number of batches.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// Seconds of a batch, numbered from 0.
    ///
    /// # Panics
    /// `batch` is not below [`batches`](Self::batches).
    pub fn seconds(&self, batch: u64) -> f64 {
        assert!(
            batch < self.batches,
            "there are only {} batches",
            self.batches
        );
        // The high half of the product is uniform and needs no division (Lemire, *Fast Random
        // Integer Generation in an Interval*, 2019).
        let chosen = (u128::from(mix(self.seed, batch)) * self.sums.len() as u128) >> 64;
        let is_last = batch + 1 == self.batches;
        self.sums[chosen as usize] * if is_last { self.last } else { 1.0 }
    }
}

/// `count` sums of `size` records each, with the sample's mean.
fn sums(sample: &Sample<'_>, size: u64, count: u64) -> Vec<f64> {
    if sample.seconds.is_empty() {
        return vec![0.0; count as usize];
    }
    let group = sample.group.clamp(1, sample.seconds.len());
    let groups: Vec<&[f64]> = sample.seconds.chunks(group).collect();
    let group_sums: Vec<f64> = groups.iter().map(|group| group.iter().sum()).collect();
    let mut rng = fastrand::Rng::with_seed(sample.seed);
    let mut sums: Vec<f64> = if size / group as u64 <= MOST_DRAWS {
        (0..count)
            .map(|_| bootstrap(&groups, &group_sums, size, group, &mut rng))
            .collect()
    } else {
        let draws = size as f64 / group as f64;
        let (mean, variance) = moments(&group_sums);
        let (mean, deviation) = (draws * mean, (draws * variance).sqrt());
        (0..count)
            .map(|_| (mean + deviation * normal(&mut rng)).max(0.0))
            .collect()
    };
    let wanted = sample.seconds.iter().sum::<f64>() / sample.seconds.len() as f64 * size as f64;
    let mean = sums.iter().sum::<f64>() / sums.len() as f64;
    if mean > 0.0 {
        sums.iter_mut().for_each(|sum| *sum *= wanted / mean);
    }
    sums
}

/// The sum of `size` records: whole groups, and adjacent records of one more group for the rest.
fn bootstrap(
    groups: &[&[f64]],
    group_sums: &[f64],
    size: u64,
    group: usize,
    rng: &mut fastrand::Rng,
) -> f64 {
    let full = size / group as u64;
    let whole: f64 = (0..full)
        .map(|_| group_sums[rng.usize(..groups.len())])
        .sum();
    let left = (size % group as u64) as usize;
    let last = groups[rng.usize(..groups.len())];
    let left = left.min(last.len());
    let first = rng.usize(..=last.len() - left);
    whole + last[first..first + left].iter().sum::<f64>()
}

/// Mean and population variance.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, squares / count)
}

/// A draw from the standard normal distribution (Box and Muller, *A Note on the Generation of
/// Random Normal Deviates*, 1958).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pool: &BatchPool) -> Vec<f64> {
        (0..pool.batches())
            .map(|batch| pool.seconds(batch))
            .collect()
    }

    fn independent(seconds: &[f64], records: u64, batch_size: u64) -> BatchPool {
        let sample = Sample {
            seconds,
            group: 1,
            records,
            seed: 0,
        };
        BatchPool::sampled(&sample, batch_size)
    }

    /// Half of the records take 1 s, half 3 s: mean 2, variance 1.
    #[test]
    fn sums_have_the_expected_mean_and_variance() {
        // A single record, a bootstrap, and the normal approximation.
        for size in [1, 100, 2_000] {
            let pool = independent(&[1.0, 3.0], 20_000 * size, size);
            let (mean, variance) = moments(&all(&pool));
            let (by_hand, spread) = (2.0 * size as f64, size as f64);
            // Four standard errors of 20,000 batches drawn from 4,096 sums.
            let error = 4.0 * (spread / 20_000.0).sqrt();
            assert!((mean - by_hand).abs() < error, "{size}: {mean}");
            assert!((variance / spread - 1.0).abs() < 0.12, "{size}: {variance}");
        }
    }

    /// Groups of two equal records: sums of 2 and 6 s, so variance 4, and 50 of them in a batch of
    /// 100.
    #[test]
    fn similar_adjacent_records_increase_the_variance() {
        let sample = Sample {
            seconds: &[1.0, 1.0, 3.0, 3.0],
            group: 2,
            records: 2_000_000,
            seed: 7,
        };
        let (mean, variance) = moments(&all(&BatchPool::sampled(&sample, 100)));
        assert!(
            (mean - 200.0).abs() < 4.0 * (200.0 / 20_000.0_f64).sqrt(),
            "{mean}"
        );
        assert!((variance / 200.0 - 1.0).abs() < 0.12, "{variance}");
        // A batch smaller than a group is part of a group, not a share of its sum.
        let pool = BatchPool::sampled(&sample, 1);
        let (_, variance) = moments(&all(&pool));
        assert!((variance - 1.0).abs() < 0.12, "{variance}");
    }

    #[test]
    fn the_pool_has_exactly_the_mean_of_the_sample() {
        let sample: Vec<f64> = (1..=999).map(|n| 1.0 / f64::from(n)).collect();
        let mean = sample.iter().sum::<f64>() / 999.0;
        for size in [1, 7, 250, 1 << 20] {
            let sums = independent(&sample, 1 << 40, size).sums;
            let (found, wanted) = (moments(&sums).0, mean * size as f64);
            assert!(
                (found / wanted - 1.0).abs() < 1e-12,
                "{size}: {found}, expected {wanted}"
            );
        }
    }

    #[test]
    fn the_last_batch_has_the_remaining_records() {
        let last = |records, size| {
            let pool = independent(&[2.0, 2.0], records, size);
            pool.seconds(pool.batches() - 1)
        };
        assert_eq!(last(1_000, 100), 200.0);
        assert_eq!(last(1_001, 100), 2.0);
        assert_eq!(last(1_099, 100), 198.0);
        // A single batch, whatever the batch size.
        assert_eq!(last(50, 100), 100.0);
        assert_eq!(last(1_000_000_000, u64::MAX), 2e9);
    }

    #[test]
    fn unknown_records_take_no_time() {
        assert_eq!(all(&independent(&[], 3, 2)), [0.0, 0.0]);
        let empty = Sample {
            seconds: &[1.0],
            group: 0,
            records: 0,
            seed: 0,
        };
        assert_eq!(BatchPool::sampled(&empty, 2).batches(), 0);
    }

    #[test]
    fn a_seed_gives_the_same_batches() {
        let sample = |seed| Sample {
            seconds: &[1.0, 2.0, 4.0],
            group: 1,
            records: 10_000,
            seed,
        };
        let of = |seed| all(&BatchPool::sampled(&sample(seed), 10));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
