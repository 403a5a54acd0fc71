//! Linear layers with weights packed for one target, in `f32` or `int8`.

use pulp::Scalar128b;

use crate::gemm::{MatMul, padded_columns};
use crate::int8::{ByteMatMul, ZeroPoints};
use crate::isa::Isa;
use crate::quantize::{QuantizedRows, round, symmetric};
use crate::target::{Precision, Target};
use crate::{Rows, RowsMut, View, gemm, int8, quantize};

/// The weights of a linear layer, packed in the order in which the kernels of a [`Target`] read
/// them.
#[derive(Clone)]
pub enum PackedWeights {
    /// `f32` panels.
    F32 {
        /// All panels: `padded outputs × inputs` elements, padded to full registers.
        panels: View<f32>,
    },
    /// Byte panels with their scales and sums.
    Int8 {
        /// All panels, padded to full registers and steps.
        panels: View<i8>,
        /// `[padded outputs]`: the scale of each output's weights.
        scales: View<f32>,
        /// `[padded outputs]`: the sum of each output's quantized weights.
        sums: View<i32>,
        /// `[inputs]`: each row of the input is multiplied by these before it is quantized. The
        /// weights must have been divided by them before packing.
        factors: Option<View<f32>>,
    },
}

impl PackedWeights {
    /// Packs `weight` (`[outputs, inputs]`, row-major, as in PyTorch's `nn.Linear`), without
    /// `factors`. The bytes are the same on every CPU.
    ///
    /// # Panics
    /// If `weight.len() != outputs * inputs`.
    pub fn pack(
        target: Target,
        precision: Precision,
        weight: &[f32],
        outputs: usize,
        inputs: usize,
    ) -> PackedWeights {
        assert_eq!(
            weight.len(),
            outputs * inputs,
            "weight must be [{outputs}, {inputs}]"
        );
        match precision {
            Precision::F32 => PackedWeights::F32 {
                panels: View::build(padded_columns(target, outputs) * inputs, |panels| {
                    gemm::pack_rows(target, Rows::new(weight, inputs), outputs, inputs, panels);
                }),
            },
            Precision::Int8 => pack_bytes(target, weight, outputs, inputs),
        }
    }
}

fn pack_bytes(target: Target, weight: &[f32], outputs: usize, inputs: usize) -> PackedWeights {
    let (tile, range) = (target.byte_tile(), target.byte_range());
    let padded = outputs.next_multiple_of(tile.lanes);
    let mut units = vec![0i8; weight.len()];
    let mut scales = vec![0.0; padded];
    let mut sums = vec![0; padded];
    for output in 0..outputs {
        let row = &weight[output * inputs..][..inputs];
        let (scale, inverse) = symmetric(quantize::magnitude(Scalar128b, row), range);
        scales[output] = scale;
        for (unit, &v) in units[output * inputs..][..inputs].iter_mut().zip(row) {
            *unit = round(v * inverse) as i8;
            sums[output] += i32::from(*unit);
        }
    }
    let panels = View::build(int8::packed_len(tile, outputs, inputs), |panels| {
        for output in 0..outputs {
            let row = &units[output * inputs..][..inputs];
            int8::pack_row(tile, outputs, output, row, panels);
        }
    });
    PackedWeights::Int8 {
        panels,
        scales: View::from_slice(&scales),
        sums: View::from_slice(&sums),
        factors: None,
    }
}

/// A linear layer `y = x · weightᵀ + bias`. It is immutable, so any number of workers can share it.
pub struct Linear {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    weights: PackedWeights,
    /// `[padded outputs]`
    bias: View<f32>,
}

/// Packed weights whose lengths do not match their layer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} have {found} elements instead of {expected}")]
pub struct ShapeError {
    what: &'static str,
    found: usize,
    expected: usize,
}

impl Linear {
    /// Creates a layer from packed weights; `bias` must be padded by [`Linear::pad_bias`].
    ///
    /// # Errors
    /// [`ShapeError`] if a length does not match a layer of `outputs × inputs` packed for `isa`.
    pub fn new(
        isa: Isa,
        outputs: usize,
        inputs: usize,
        weights: PackedWeights,
        bias: View<f32>,
    ) -> Result<Linear, ShapeError> {
        let check = |what, found: usize, expected: usize| {
            (found == expected).then_some(()).ok_or(ShapeError {
                what,
                found,
                expected,
            })
        };
        let precision = match &weights {
            PackedWeights::F32 { panels } => {
                let len = padded_columns(isa.target(), outputs) * inputs;
                check("weights", panels.len(), len)?;
                Precision::F32
            }
            PackedWeights::Int8 {
                panels,
                scales,
                sums,
                factors,
            } => {
                let tile = isa.target().byte_tile();
                let padded = outputs.next_multiple_of(tile.lanes);
                let len = int8::packed_len(tile, outputs, inputs);
                check("weights", panels.len(), len)?;
                check("scales", scales.len(), padded)?;
                check("sums", sums.len(), padded)?;
                if let Some(factors) = factors {
                    check("factors", factors.len(), inputs)?;
                }
                Precision::Int8
            }
        };
        let padded = padded_outputs(isa.target(), precision, outputs);
        check("biases", bias.len(), padded)?;
        Ok(Linear {
            isa,
            inputs,
            outputs,
            weights,
            bias,
        })
    }

    /// Pads `bias` (`[outputs]`) with zeros to full registers, as [`Linear::new`] requires.
    pub fn pad_bias(target: Target, precision: Precision, bias: &[f32]) -> View<f32> {
        View::build(padded_outputs(target, precision, bias.len()), |padded| {
            padded[..bias.len()].copy_from_slice(bias);
        })
    }

    /// Packs `weight` (`[bias.len(), inputs]`) and `bias` for `isa`.
    ///
    /// # Panics
    /// If `weight.len() != bias.len() * inputs`.
    pub fn pack(
        isa: Isa,
        precision: Precision,
        weight: &[f32],
        bias: &[f32],
        inputs: usize,
    ) -> Linear {
        let outputs = bias.len();
        let weights = PackedWeights::pack(isa.target(), precision, weight, outputs, inputs);
        let bias = Linear::pad_bias(isa.target(), precision, bias);
        Linear::new(isa, outputs, inputs, weights, bias)
            .expect("the weights were packed for this layer")
    }

    /// The number of outputs: the width of a row of the result.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer to the first `rows` rows of `x` (`[rows, inputs]`) and overwrites the
    /// first `rows` rows of `y` (`[rows, outputs]`).
    ///
    /// # Panics
    /// If `x` or `y` is too short, or its rows overlap.
    pub fn forward(&self, rows: usize, x: Rows<'_>, y: RowsMut<'_>, scratch: &mut LinearScratch) {
        x.check(rows, self.inputs);
        y.check(rows, self.outputs);
        match &self.weights {
            PackedWeights::F32 { panels } => self.isa.matmul(MatMul {
                a: x.data,
                a_stride: x.stride,
                rows,
                depth: self.inputs,
                panels,
                columns: self.outputs,
                bias: Some(&self.bias),
                y: y.data,
                y_stride: y.stride,
            }),
            PackedWeights::Int8 {
                panels,
                scales,
                sums,
                factors,
            } => {
                let quantized = &mut scratch.quantized;
                let start = std::time::Instant::now();
                quantized.fill(self.isa, x, rows, self.inputs, factors.as_deref());
                scratch.quantizing += start.elapsed();
                self.isa.byte_matmul(ByteMatMul {
                    a: quantized.values(),
                    a_stride: quantized.stride(),
                    row_scales: quantized.scales(),
                    zeros: ZeroPoints::Rows(quantized.zeros()),
                    rows,
                    depth: quantized.stride(),
                    panels,
                    columns: self.outputs,
                    scales,
                    sums,
                    bias: &self.bias,
                    y: y.data,
                    y_stride: y.stride,
                });
            }
        }
    }
}

fn padded_outputs(target: Target, precision: Precision, outputs: usize) -> usize {
    match precision {
        Precision::F32 => padded_columns(target, outputs),
        Precision::Int8 => outputs.next_multiple_of(target.byte_tile().lanes),
    }
}

/// Scratch memory of [`Linear::forward`]. Reuse it to avoid an allocation per call.
#[derive(Default)]
pub struct LinearScratch {
    quantized: QuantizedRows,
    quantizing: std::time::Duration,
}

impl LinearScratch {
    /// Returns the time spent on quantizing inputs since the previous call of this function.
    pub fn take_quantization_time(&mut self) -> std::time::Duration {
        std::mem::take(&mut self.quantizing)
    }
}
