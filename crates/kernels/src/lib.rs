//! Compute kernels of shoal's encoder: packed linear layers and attention in `f32` and `int8`,
//! quantization, layer norm and activation functions. The interface is safe and works on slices.
//!
//! Matrices are row-major and written `[rows, columns]`. The activations of a micro-batch are
//! `[tokens, hidden]`: all records concatenated, without padding.
//!
//! Three rules hold for every kernel:
//!
//! * **A row's result depends on that row alone.** Each output element is one chain of additions in
//!   a fixed order, so neither the number of rows in the matrix nor the position of a row changes a
//!   single bit. Results therefore do not depend on how the input is split into batches.
//! * **The instruction set is a value.** An [`Isa`] exists only for an instruction set that this
//!   CPU supports, and every kernel takes one. Packing weights needs only its [`Target`]. Results
//!   of different instruction sets may differ in the last bits.
//! * **Kernels are single-threaded.** Callers parallelize, with one worker per core.
//!
//! The tests (`tests/oracle`) compare every kernel with naive loops that accumulate in `f64`, on
//! every instruction set that the CPU supports.
//!
//! Packed weights are [`View`]s of [`Bytes`]. They refer to memory, a mapped file or data compiled
//! into the program, without copying.
//!
//! This is the only crate of shoal that may contain `unsafe` code. It uses `unsafe` for
//!
//! * the `int8` matrix product, whose tiles access memory through pointers after one check of all
//!   lengths,
//! * the loops that measure the CPU's peak rates ([`peak`]),
//! * mapping a file ([`MappedFile`]),
//! * a prefetch hint,
//! * declaring that a cache line is plain bytes.

mod aligned;
mod attention;
mod buffer;
mod elementwise;
mod gemm;
mod int8;
mod isa;
mod linear;
mod mapped;
mod norm;
pub mod peak;
mod prefetch;
mod quantize;
mod rows;
mod target;
mod view;

/// Types that a [`View`] can hold: plain data for which every bit pattern is valid.
pub use bytemuck::Pod;
/// Immutable bytes in memory, a mapped file or the program itself, shared without copying.
pub use bytes::Bytes;

pub use aligned::{ALIGNMENT, AlignedBytes, copy_aligned};
pub use attention::{AttentionInput, AttentionScratch, Heads, attention};
pub use buffer::Buffer;
pub use elementwise::{Activation, activate, sigmoid, softmax};
pub use isa::Isa;
pub use linear::{Linear, LinearScratch, PackedWeights, ShapeError};
pub use mapped::MappedFile;
pub use norm::{LayerNorm, layer_norm};
pub use quantize::quantize_symmetric;
pub use rows::{Rows, RowsMut};
pub use target::{Precision, Target, TileShape};
pub use view::{View, ViewError};
