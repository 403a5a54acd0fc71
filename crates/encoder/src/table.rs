//! Embedding tables in the element types of packed models.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use shoal_kernels::View;

/// The element type of an embedding table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Elements {
    F32,
    F16,
    Bf16,
    /// Bytes, and one scale per row.
    Int8,
}

/// `[rows, width]`, read from the mapped file: a text needs only a few of its rows.
pub(crate) enum Table {
    F32(View<f32>),
    F16(View<u16>),
    Bf16(View<u16>),
    Int8 { units: View<i8>, scales: View<f32> },
}

impl Table {
    /// Copies one row into `out`, whose length is the width.
    pub(crate) fn row(&self, index: usize, out: &mut [f32]) {
        let range = index * out.len()..(index + 1) * out.len();
        match self {
            Table::F32(elements) => out.copy_from_slice(&elements[range]),
            Table::F16(elements) => {
                <[f16]>::convert_to_f32_slice(bytemuck::cast_slice(&elements[range]), out);
            }
            Table::Bf16(elements) => {
                <[bf16]>::convert_to_f32_slice(bytemuck::cast_slice(&elements[range]), out);
            }
            Table::Int8 { units, scales } => {
                let scale = scales[index];
                for (value, &unit) in out.iter_mut().zip(&units[range]) {
                    *value = scale * f32::from(unit);
                }
            }
        }
    }
}
