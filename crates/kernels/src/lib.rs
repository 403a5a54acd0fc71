//! The arithmetic of shoal's encoder: packed linear layers and attention in `f32` and in bytes,
//! quantization, layer norm and activations, behind safe slice functions.
//!
//! Matrices are row-major and written `[rows, columns]`; activations of a micro-batch are
//! `[tokens, hidden]`, all records end to end, without padding.
//!
//! Three rules hold for every kernel here:
//!
//! * **A row's result depends on that row alone.** How many rows stand in the matrix, and where
//!   the row stands among them, changes no bit: each output element is one chain of additions in
//!   a fixed order. So results do not depend on how work was cut into batches.
//! * **The instruction set is a value.** An [`Isa`] can only be had for a CPU that supports it, and
//!   every kernel takes one; to pack weights takes its [`Target`] alone. Between instruction sets results may differ in the last
//!   bits.
//! * **Single-threaded.** Parallelism belongs to the callers, one worker a core.
//!
//! [`oracle`] holds the same operations as naive loops that accumulate in `f64`; the tests compare
//! every kernel on every instruction set of the machine with it.
//!
//! [`Bytes`] and [`View`] let packed weights lie in memory, in a mapped file or in the program,
//! read without copying.
//!
//! This is the one crate of shoal that may contain `unsafe` code: the byte products (`int8`), whose
//! tiles read and write by pointers after one check of all lengths, the loops that find the CPU's
//! peak rates ([`peak`]), the mapping of a file ([`MappedFile`]), a prefetch hint, and the promise
//! that a cache line is plain bytes.

mod attention;
mod buffer;
mod bytes;
mod elementwise;
mod gemm;
mod int8;
mod isa;
mod linear;
mod mapped;
mod norm;
pub mod oracle;
pub mod peak;
mod prefetch;
mod quantize;
mod rows;
mod target;
mod view;

/// What a [`View`] can be of: numbers of which every bit pattern is valid.
pub use bytemuck::Pod;

pub use attention::{AttentionInput, AttentionScratch, Heads, attention};
pub use buffer::Buffer;
pub use bytes::{ALIGNMENT, AlignedBytes, Bytes};
pub use elementwise::{Activation, activate, sigmoid, softmax};
pub use isa::Isa;
pub use linear::{Linear, LinearScratch, PackedWeights, Precision, ShapeError};
pub use mapped::MappedFile;
pub use norm::{LayerNorm, layer_norm};
pub use quantize::quantize_symmetric;
pub use rows::{Rows, RowsMut};
pub use target::{Target, TileShape};
pub use view::{View, ViewError};
