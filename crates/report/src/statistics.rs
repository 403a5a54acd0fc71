//! Percentiles and histograms.

use serde::Serialize;

/// The most bins of a histogram, without the one for outliers …
const MOST_BINS: f64 = 40.0;
/// … and about the fewest.
const LEAST_BINS: f64 = 12.0;

/// The distribution of samples.
///
/// Percentiles are those of definition 7 of R. J. Hyndman and Y. Fan, *Sample Quantiles in Statistical Packages*, The
/// American Statistician 50 (1996), 361–365: they interpolate linearly between the two samples next to position
/// `(n - 1) p`, counted from 0. R, NumPy and spreadsheets have the same default.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Distribution {
    /// Samples.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The minimum.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// 95 % are at most this.
    pub p95: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
}

impl Distribution {
    /// The distribution of `samples`, which are sorted; `None` if there are none.
    pub fn of(samples: &mut [f64]) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        Some(Self {
            count: samples.len() as u64,
            mean: samples.iter().sum::<f64>() / samples.len() as f64,
            min,
            p50: quantile(samples, 0.50),
            p95: quantile(samples, 0.95),
            p99: quantile(samples, 0.99),
            max,
        })
    }
}

/// The quantile `p` of ascending samples by definition 7.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * p;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// Samples of two kinds, counted in bins of equal width.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Histogram {
    /// Width of a bin.
    pub width: f64,
    /// The bins, ascending and without a gap.
    pub bins: Vec<Bin>,
    /// Samples beyond the last bin.
    pub beyond: u64,
}

/// A bin, from `from` to before the next bin's `from`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bin {
    /// Its lower bound.
    pub from: f64,
    /// First invocations of an environment.
    pub cold: u64,
    /// All others.
    pub warm: u64,
}

impl Histogram {
    /// Counts samples, each with whether it is a cold one. The bins' width is a round number near the rule of D. Freedman
    /// and P. Diaconis, *On the histogram as a density estimator* (1981): twice the interquartile range by the cube root of
    /// the count. That range is estimated from the median and the 95th percentile, as of a normal distribution. Samples that
    /// are further above the 99th percentile than that is above the median are counted in `beyond`.
    pub fn of(samples: &[(f64, bool)], distribution: &Distribution) -> Self {
        // A few outliers would otherwise put all other samples into one bin.
        let tail = distribution.p99 - distribution.p50;
        let end = distribution.max.min(distribution.p99 + tail);
        let range = end - distribution.min;
        // Of a normal distribution the middle half is 1.349 deviations wide, and p95 lies 1.645 above the median.
        let middle_half = (distribution.p95 - distribution.p50) * 1.349 / 1.645;
        let by_rule = 2.0 * middle_half / (distribution.count as f64).cbrt();
        let width = round_up(by_rule.clamp(range / MOST_BINS, range / LEAST_BINS))
            .filter(|_| range > 0.0)
            .or_else(|| round_up(end / MOST_BINS))
            .unwrap_or(1.0);
        let first = (distribution.min / width).floor();
        let place = |value: f64| ((value / width).floor() - first) as usize;
        let count = place(end) + 1;
        let mut bins: Vec<Bin> = (0..count)
            .map(|index| Bin {
                from: (first + index as f64) * width,
                cold: 0,
                warm: 0,
            })
            .collect();
        let mut beyond = 0;
        for &(value, is_cold) in samples {
            match bins.get_mut(place(value)) {
                Some(bin) if is_cold => bin.cold += 1,
                Some(bin) => bin.warm += 1,
                None => beyond += 1,
            }
        }
        Self {
            width,
            bins,
            beyond,
        }
    }
}

/// The next of 1, 2 and 5 times a power of ten; `None` of what is not above 0.
pub(crate) fn round_up(value: f64) -> Option<f64> {
    if !(value.is_finite() && value > 0.0) {
        return None;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let step = steps
        .into_iter()
        .find(|step| step * power >= value * (1.0 - 1e-9));
    step.map(|step| step * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By hand: of 1..=10 in steps of 1, place 9 × 0.95 = 8.55 lies between 9 and 10.
    #[test]
    fn percentiles_by_hand() {
        let mut samples = [7.0, 1.0, 10.0, 4.0, 9.0, 2.0, 8.0, 3.0, 6.0, 5.0];
        let found = Distribution::of(&mut samples).unwrap();
        assert_eq!((found.count, found.min, found.max), (10, 1.0, 10.0));
        assert_eq!((found.mean, found.p50), (5.5, 5.5));
        assert!((found.p95 - 9.55).abs() < 1e-12);
        assert!((found.p99 - 9.91).abs() < 1e-12);
    }

    #[test]
    fn few_samples_have_percentiles_too() {
        let one = Distribution::of(&mut [3.0]).unwrap();
        assert_eq!((one.p50, one.p95, one.p99), (3.0, 3.0, 3.0));
        let two = Distribution::of(&mut [2.0, 4.0]).unwrap();
        assert_eq!(two.p50, 3.0);
        assert!((two.p95 - 3.9).abs() < 1e-12);
        assert_eq!(Distribution::of(&mut []), None);
    }

    #[test]
    fn widths_are_round() {
        for (value, round) in [
            (0.3, 0.5),
            (1.0, 1.0),
            (1.1, 2.0),
            (20.1, 50.0),
            (6e-3, 0.01),
        ] {
            assert!((round_up(value).unwrap() - round).abs() < 1e-12, "{value}");
        }
        assert_eq!(round_up(0.0), None);
    }

    /// 1.0 … 2.0 in steps of 0.1 and one at 9: p99 is 0.89 of the distance from 2 to 9, and 9 is near it.
    #[test]
    fn a_histogram_counts_every_sample_once() {
        let mut samples: Vec<(f64, bool)> = (10..=20)
            .map(|tenth| (f64::from(tenth) / 10.0, tenth == 10))
            .collect();
        samples.push((9.0, false));
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.0).collect();
        let distribution = Distribution::of(&mut values).unwrap();
        let histogram = Histogram::of(&samples, &distribution);
        let counted: u64 = histogram.bins.iter().map(|bin| bin.cold + bin.warm).sum();
        assert_eq!((counted, histogram.beyond), (12, 0));
        assert_eq!(histogram.bins[0].cold, 1);
    }

    #[test]
    fn outliers_are_one_bin() {
        let mut samples = vec![(1.0, false); 1000];
        samples.push((500.0, false));
        let mut values: Vec<f64> = samples.iter().map(|sample| sample.0).collect();
        let histogram = Histogram::of(&samples, &Distribution::of(&mut values).unwrap());
        assert_eq!(histogram.beyond, 1);
        assert!(histogram.bins.len() <= 41);
    }

    proptest! {
        #[test]
        fn histograms_are_bounded_and_lose_nothing(values in prop::collection::vec(0.0..1e5_f64, 1..300)) {
            let samples: Vec<(f64, bool)> = values.iter().map(|&value| (value, false)).collect();
            let distribution = Distribution::of(&mut values.clone()).unwrap();
            let histogram = Histogram::of(&samples, &distribution);
            let counted: u64 = histogram.bins.iter().map(|bin| bin.warm).sum();
            prop_assert_eq!(counted + histogram.beyond, values.len() as u64);
            prop_assert!(histogram.bins.len() <= 42);
            prop_assert!(distribution.min <= distribution.p50 && distribution.p50 <= distribution.p95);
            prop_assert!(distribution.p95 <= distribution.p99 && distribution.p99 <= distribution.max);
        }
    }
}
