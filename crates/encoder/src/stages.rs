//! Where the time of a pass goes.

use std::ops::{AddAssign, Index};
use std::time::{Duration, Instant};

use shoal_kernels::LinearScratch;

/// A part of a pass through the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Looking up and adding embeddings.
    Embedding,
    /// Matrix products of the linear layers, biases included.
    Products,
    /// Attention: scores, softmax and weighted values.
    Attention,
    /// Residuals and layer norms.
    Norms,
    /// The activation between the two layers of the feed-forward part.
    Activation,
    /// Quantizing the inputs of linear layers.
    Quantizing,
    /// Pooling and normalizing embeddings.
    Pooling,
}

/// Time that a session spent in each [`Stage`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTimes([Duration; Stage::Pooling as usize + 1]);

impl Index<Stage> for StageTimes {
    type Output = Duration;

    fn index(&self, stage: Stage) -> &Duration {
        &self.0[stage as usize]
    }
}

impl AddAssign for StageTimes {
    fn add_assign(&mut self, other: StageTimes) {
        for (time, other) in self.0.iter_mut().zip(other.0) {
            *time += other;
        }
    }
}

/// Adds the time since the last lap to a stage. A few dozen readings per block of rows cost less than a
/// thousandth of its time.
pub(crate) struct Clock {
    times: StageTimes,
    last: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock {
            times: StageTimes::default(),
            last: Instant::now(),
        }
    }
}

impl Clock {
    pub(crate) fn start(&mut self) {
        self.last = Instant::now();
    }

    pub(crate) fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        self.times.0[stage as usize] += now - self.last;
        self.last = now;
    }

    /// As [`Clock::lap`], for linear layers, whose time includes quantizing their inputs.
    pub(crate) fn lap_product(&mut self, linear: &mut LinearScratch) {
        self.lap(Stage::Products);
        let quantizing = linear.take_quantization_time();
        self.times.0[Stage::Quantizing as usize] += quantizing;
        let products = &mut self.times.0[Stage::Products as usize];
        *products = products.saturating_sub(quantizing);
    }

    pub(crate) fn take(&mut self) -> StageTimes {
        std::mem::take(&mut self.times)
    }
}
