//! Where the time of a pass goes.

use std::time::{Duration, Instant};

use serde::Serialize;
use shoal_kernels::LinearScratch;

/// A part of a pass through the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Embedding,
    Products,
    Attention,
    Norms,
    Activation,
    Pooling,
}

/// Time that a session spent in each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StageTimes {
    /// Looking up and adding embeddings.
    pub embedding: Duration,
    /// Matrix products of the linear layers, biases included.
    pub products: Duration,
    /// Attention: scores, softmax and weighted values.
    pub attention: Duration,
    /// Residuals and layer norms.
    pub norms: Duration,
    /// The activation between the two layers of the feed-forward part.
    pub activation: Duration,
    /// Quantizing the inputs of linear layers.
    pub quantizing: Duration,
    /// Pooling and normalizing embeddings.
    pub pooling: Duration,
}

impl StageTimes {
    fn of(&mut self, stage: Stage) -> &mut Duration {
        match stage {
            Stage::Embedding => &mut self.embedding,
            Stage::Products => &mut self.products,
            Stage::Attention => &mut self.attention,
            Stage::Norms => &mut self.norms,
            Stage::Activation => &mut self.activation,
            Stage::Pooling => &mut self.pooling,
        }
    }

    /// The sum of all stages.
    pub fn total(&self) -> Duration {
        self.embedding
            + self.products
            + self.attention
            + self.norms
            + self.activation
            + self.quantizing
            + self.pooling
    }
}

impl std::ops::AddAssign for StageTimes {
    fn add_assign(&mut self, other: StageTimes) {
        self.embedding += other.embedding;
        self.products += other.products;
        self.attention += other.attention;
        self.norms += other.norms;
        self.activation += other.activation;
        self.quantizing += other.quantizing;
        self.pooling += other.pooling;
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
        *self.times.of(stage) += now - self.last;
        self.last = now;
    }

    /// As [`Clock::lap`], for linear layers, whose time includes quantizing their inputs.
    pub(crate) fn lap_product(&mut self, linear: &mut LinearScratch) {
        self.lap(Stage::Products);
        let quantizing = linear.take_quantization_time();
        self.times.quantizing += quantizing;
        self.times.products = self.times.products.saturating_sub(quantizing);
    }

    pub(crate) fn take(&mut self) -> StageTimes {
        std::mem::take(&mut self.times)
    }
}
