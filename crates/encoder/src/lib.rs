//! Encoders of the BERT family, exact in `f32` or cheaper in `int8`: model folders as published on the
//! Hugging Face hub, packed models, their tokenizers, and an engine that computes only what the output
//! depends on.
//!
//! A [`Checkpoint`] is a model as it was published. It serves a [`Purpose`]: its classifier's logits, or
//! sentence embeddings as sentence-transformers computes them. Packed for instruction sets ([`Target`], by
//! [`Packed`]), in memory or in a file, it becomes a [`Model`] on a CPU that supports one of them
//! ([`Isa`]).
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use shoal_encoder::{Model, Session};
//!
//! # fn main() -> Result<(), shoal_encoder::ModelError> {
//! let model = Arc::new(Model::open(Path::new("models/sentiment"))?);
//! let tokens = model.encode("A wonderful film.", model.max_tokens())?;
//! let mut session = Session::new(Arc::clone(&model));
//! let output = session.run(&[tokens]);
//! if let Some(classifier) = model.classifier() {
//!     let mut scores = Vec::new();
//!     classifier.objective.probabilities(output, &mut scores);
//!     println!("{:?} {scores:?}", classifier.labels);
//! } else {
//!     println!("{output:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each architecture is one file under `arch`. It turns `config.json` into a plan of layers, which
//! packing, reading, running and counting ([`operations`]) follow. If the head reads one token of each
//! record, as classifiers do, the last layer computes only that token.
//!
//! Micro-batches are ragged: one `[tokens, hidden]` matrix of all records end to end, without padding
//! and masks. A record's output does not depend on its neighbours: it is bit-identical however records are
//! divided into micro-batches, in the same precision on the same instruction set.

mod arch;
mod checkpoint;
mod classifier;
mod embedding;
mod error;
mod files;
mod folder_hint;
mod layout;
mod model;
mod modules;
mod network;
pub mod operations;
mod pack;
pub mod packed;
mod plan;
mod pooling;
mod purpose;
mod session;
mod stages;
mod table;
mod tokenizer;
mod weights;

pub use checkpoint::{Checkpoint, ModelFiles};
pub use classifier::{Classifier, Objective};
pub use embedding::{EmbeddingSpec, Module, Pooling};
pub use error::ModelError;
pub use layout::PACKING;
pub use model::Model;
pub use pack::Packed;
pub use plan::ModelPlan;
pub use purpose::Purpose;
pub use session::{MICRO_BATCH_TOKENS, Session};
pub use shoal_kernels::{Activation, Isa, Precision, Target, peak};
pub use stages::{Stage, StageTimes};
pub use tokenizer::Tokens;
