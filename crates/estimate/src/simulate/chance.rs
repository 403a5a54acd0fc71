//! Random events of an invocation.

use fastrand::Rng;

use super::Scenario;
use super::task::Task;

/// Random numbers for one invocation. They depend only on the seed and the invocation, not on the
/// order of events.
pub(super) struct Chance(Rng);

impl Chance {
    pub(super) fn new(scenario: &Scenario, task: &Task) -> Self {
        let second = u64::from(task.second.is_some()) << 63;
        let invocation = second | u64::from(task.range) << 32 | u64::from(task.attempt);
        let seed = mix(mix(scenario.seed, task.batch), invocation);
        Self(Rng::with_seed(seed))
    }

    /// Draws whether an event with this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// Draws a number in `0.0..1.0`.
    pub(super) fn fraction(&mut self) -> f64 {
        self.0.f64()
    }
}

/// Mixes two numbers into one: the finalizer of SplitMix64 (Steele, Lea and Flood, *Fast Splittable
/// Pseudorandom Number Generators*, 2014), applied to the `index`-th state of `seed`.
pub(super) fn mix(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
