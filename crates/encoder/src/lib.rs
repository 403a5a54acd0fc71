//! Text classifiers of the BERT family, exact in `f32` or cheaper in `int8`: model folders as the
//! Hugging Face hub has them, packed models, their tokenizer, and an engine that computes only what
//! the answer needs.
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use shoal_encoder::{Model, Session};
//!
//! # fn main() -> Result<(), shoal_encoder::ModelError> {
//! let model = Arc::new(Model::open(Path::new("models/sentiment"))?);
//! let tokens = model.encode("A wonderful film.", model.max_tokens())?;
//! let mut session = Session::new(Arc::clone(&model));
//! let logits = session.logits(&[tokens]);
//! let mut scores = Vec::new();
//! model.objective().probabilities(logits, &mut scores);
//! println!("{:?} {scores:?}", model.labels());
//! # Ok(())
//! # }
//! ```
//!
//! DistilBERT and BERT are one encoder; [`config`] tells them apart. Two things make it cheaper
//! than a general runtime without changing a result:
//!
//! * Micro-batches are ragged: one `[tokens, hidden]` matrix of all records end to end. Nothing
//!   is padded, so nothing is masked.
//! * A classifier reads the first token only. In the last layer, query, output and feed-forward
//!   are computed for the first token of each record alone, and keys and values for none: the
//!   query attends to the states themselves.
//!
//! A [`Checkpoint`] is a model as it was published. Packed for instruction sets ([`Target`], by
//! [`Packed`]), in memory or in a file, it becomes a [`Model`] on a CPU that has one of them ([`Isa`]).
//!
//! A record's logits do not depend on its neighbours: they are bit-identical for every way of
//! cutting records into micro-batches, in the same precision on the same instruction set
//! ([`Isa`]).

mod checkpoint;
pub mod config;
mod embedding;
mod error;
mod head;
mod model;
pub mod operations;
mod pack;
pub mod packed;
mod session;
mod stages;
mod tokenizer;
mod weights;

pub use checkpoint::{Checkpoint, ModelFiles};
pub use error::ModelError;
pub use head::Objective;
pub use model::Model;
pub use pack::{PACKING, Packed};
pub use session::{MICRO_BATCH_TOKENS, Session};
pub use shoal_kernels::{Isa, Precision, Target, peak};
pub use stages::StageTimes;
pub use tokenizer::Tokens;
