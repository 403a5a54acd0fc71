//! Rows of an embedding table, in the form that the packed model has them.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use shoal_kernels::View;

/// How an embedding table is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Elements {
    F32,
    F16,
    Bf16,
    /// Bytes and, for each row, what one unit is worth.
    Int8,
}

/// `[rows, width]`, left in its file: a text touches few of its rows.
pub(crate) enum Table {
    F32(View<f32>),
    F16(View<u16>),
    Bf16(View<u16>),
    Int8 { units: View<i8>, scales: View<f32> },
}

impl Table {
    /// One row, into `out`, which has its width.
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
