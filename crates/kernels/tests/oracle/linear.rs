//! Linear layers.

use shoal_kernels::{
    Activation, Isa, Linear, LinearScratch, PackedWeights, Precision, Rows, RowsMut, ShapeError,
    View,
};

use crate::common::{PRECISIONS, byte_limits, normal_values, values};
use crate::naive;
use crate::{around, assert_close, assert_within, instruction_sets, rms};

/// The shape and the operands of a layer.
pub(crate) struct Layer {
    rows: usize,
    inputs: usize,
    outputs: usize,
    pub(crate) x: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    pub(crate) fn new(
        rows: usize,
        inputs: usize,
        outputs: usize,
        fill: fn(u32, usize) -> Vec<f32>,
    ) -> Layer {
        Layer {
            rows,
            inputs,
            outputs,
            x: fill(1, rows * inputs),
            weight: fill(2, outputs * inputs),
            bias: fill(3, outputs),
        }
    }

    fn describe(&self, precision: Precision) -> String {
        let Layer {
            rows,
            inputs,
            outputs,
            ..
        } = self;
        format!("{precision:?} linear [{rows}, {inputs}] to {outputs}")
    }

    /// The kernel's result with `gap` elements between rows. Fails if anything else is written.
    pub(crate) fn run(&self, isa: Isa, precision: Precision, gap: usize) -> Vec<f32> {
        let (rows, inputs, outputs) = (self.rows, self.inputs, self.outputs);
        let layer = Linear::pack(isa, precision, &self.weight, &self.bias, inputs);
        assert_eq!(layer.outputs(), outputs);
        let (from, to) = (inputs + gap, outputs + gap);
        let apart = |stride: usize, width: usize| match rows {
            0 => 0,
            _ => (rows - 1) * stride + width,
        };
        let mut x = vec![f32::NAN; apart(from, inputs)];
        for r in 0..rows {
            x[r * from..][..inputs].copy_from_slice(&self.x[r * inputs..][..inputs]);
        }
        // Previous contents must have no effect.
        let before = f32::from_bits(0x7fc0_1234);
        let mut y = vec![before; apart(to, outputs)];
        layer.forward(
            rows,
            Rows::new(&x, from),
            RowsMut::new(&mut y, to),
            &mut LinearScratch::default(),
        );
        let mut result = Vec::with_capacity(rows * outputs);
        for r in 0..rows {
            result.extend_from_slice(&y[r * to..][..outputs]);
            for v in y[r * to + outputs..].iter().take(gap) {
                let what = self.describe(precision);
                assert_eq!(
                    v.to_bits(),
                    before.to_bits(),
                    "{isa:?} {what} wrote outside its rows"
                );
            }
        }
        result
    }

    fn expected(&self) -> Vec<f32> {
        if self.inputs == 0 {
            return self.bias.repeat(self.rows);
        }
        let identity = Activation::Identity;
        naive::linear(&self.x, &self.weight, &self.bias, self.inputs, identity)
    }

    /// The largest error of each element that quantization can cause, derived from the scales: with
    /// |dx| ≤ sx / 2 and |dw| ≤ sw / 2, the sum over the depth of |dx| |w| + |x| |dw| + |dx| |dw|,
    /// plus the rounding of the sum to `f32`.
    fn bounds(&self, isa: Isa) -> Vec<f64> {
        let (activation, unit) = byte_limits(isa);
        let mut bounds = Vec::with_capacity(self.rows * self.outputs);
        for r in 0..self.rows {
            let x = &self.x[r * self.inputs..][..self.inputs];
            let extent = x
                .iter()
                .fold((0.0f32, 0.0f32), |(l, h), &v| (l.min(v), h.max(v)));
            let dx = f64::from(extent.1 - extent.0) / activation / 2.0;
            for o in 0..self.outputs {
                let w = &self.weight[o * self.inputs..][..self.inputs];
                let dw = f64::from(w.iter().fold(0.0f32, |m, v| m.max(v.abs()))) / unit / 2.0;
                let (mut bound, mut product) = (0.0, 0.0);
                for (&x, &w) in x.iter().zip(w) {
                    let (x, w) = (f64::from(x.abs()), f64::from(w.abs()));
                    bound += dx * w + x * dw + dx * dw;
                    product += x * w;
                }
                bounds.push(1.01 * bound + 1e-6 * (product + f64::from(self.bias[o].abs())));
            }
        }
        bounds
    }

    /// Compares with the oracle on every instruction set, in both precisions.
    fn check(&self, gap: usize) {
        let expected = self.expected();
        for isa in Isa::available() {
            self.check_f32(isa, gap, &expected);
            self.check_int8(isa, gap, &expected);
        }
    }

    fn check_f32(&self, isa: Isa, gap: usize, expected: &[f32]) {
        let y = self.run(isa, Precision::F32, gap);
        // The rounding error of a sum of n products of numbers below 1 grows like √n.
        let atol = 1e-6 * (self.inputs as f32).sqrt().max(1.0);
        let what = self.describe(Precision::F32);
        assert_close(isa, &what, &y, expected, atol, 1e-6);
    }

    fn check_int8(&self, isa: Isa, gap: usize, expected: &[f32]) {
        let y = self.run(isa, Precision::Int8, gap);
        let what = self.describe(Precision::Int8);
        assert_within(isa, &what, &y, expected, &self.bounds(isa));
    }
}

#[test]
fn linear_matches_around_every_tile_edge() {
    for isa in instruction_sets() {
        let tile = isa.target().tile();
        let mut columns = around(tile.columns);
        columns.extend(around(tile.lanes));
        for &outputs in &columns {
            for rows in around(tile.rows) {
                let layer = Layer::new(rows, 37, outputs, values);
                layer.check_f32(isa, 0, &layer.expected());
                layer.check_int8(isa, 0, &layer.expected());
            }
        }
    }
}

#[test]
fn linear_matches_for_every_remainder_of_rows_and_columns() {
    for isa in instruction_sets() {
        let tile = isa.target().tile();
        for rows in 1..=tile.rows {
            for outputs in 1..=tile.columns {
                let layer = Layer::new(rows, 3, outputs, values);
                layer.check_f32(isa, 0, &layer.expected());
                layer.check_int8(isa, 0, &layer.expected());
            }
        }
    }
}

#[test]
fn linear_matches_for_any_depth() {
    instruction_sets();
    for inputs in (0..20).chain([255, 256, 257, 768, 3072]) {
        Layer::new(9, inputs, 50, values).check(0);
    }
}

#[test]
fn linear_matches_for_rows_with_gaps() {
    instruction_sets();
    for gap in [1, 7, 64] {
        for rows in [0, 1, 2, 9, 17] {
            for outputs in [1, 16, 47, 49] {
                Layer::new(rows, 21, outputs, values).check(gap);
            }
        }
    }
}

#[test]
fn linear_matches_for_rows_that_are_hard_to_quantize() {
    instruction_sets();
    let mut layer = Layer::new(8, 100, 60, normal_values);
    let rows: Vec<&mut [f32]> = layer.x.chunks_mut(100).collect();
    let [zero, tiny, outlier, positive, negative, constant, one, _] =
        rows.try_into().expect("there are eight rows");
    zero.fill(0.0);
    tiny.iter_mut().for_each(|v| *v *= 1e-20);
    outlier[17] = 500.0;
    positive.iter_mut().for_each(|v| *v = v.abs() + 3.0);
    negative.iter_mut().for_each(|v| *v = -v.abs());
    constant.fill(-0.25);
    one.fill(0.0);
    one[99] = 1.0;
    layer.weight[..100].fill(0.0);
    layer.weight[100..200].fill(1e-20);
    layer.weight[200..300].fill(0.5);
    layer.weight[300] = 80.0;
    let expected = layer.expected();
    for isa in Isa::available() {
        layer.check_int8(isa, 0, &expected);
    }
}

/// `layer` in `int8` with `factors`, packed for `isa`.
fn with_factors(isa: Isa, layer: &Layer, factors: &[f32]) -> Linear {
    let (outputs, inputs) = (layer.outputs, layer.inputs);
    let (target, precision) = (isa.target(), Precision::Int8);
    let mut weights = PackedWeights::pack(target, precision, &layer.weight, outputs, inputs);
    if let PackedWeights::Int8 { factors: to, .. } = &mut weights {
        *to = Some(View::from_slice(factors));
    }
    let bias = Linear::pad_bias(target, precision, &layer.bias);
    Linear::new(isa, outputs, inputs, weights, bias).expect("the lengths match")
}

/// One factor reduces a column. The expected sums are computed in `f64`.
#[test]
fn int8_linear_multiplies_its_inputs_by_their_factors() {
    for isa in instruction_sets() {
        for (rows, inputs, outputs) in [(1, 1, 1), (9, 37, 50), (5, 100, 17), (3, 768, 33)] {
            let mut layer = Layer::new(rows, inputs, outputs, normal_values);
            let mut factors: Vec<f32> = (0..inputs).map(|i| 0.25 + (i % 7) as f32).collect();
            factors[inputs / 2] = 1e-3;
            let original = layer.x.clone();
            let mut y = vec![f32::NAN; rows * outputs];
            with_factors(isa, &layer, &factors).forward(
                rows,
                Rows::new(&original, inputs),
                RowsMut::new(&mut y, outputs),
                &mut LinearScratch::default(),
            );
            for row in layer.x.chunks_exact_mut(inputs) {
                row.iter_mut().zip(&factors).for_each(|(v, f)| *v *= f);
            }
            let what = format!("[{rows}, {inputs}] to {outputs} with factors");
            assert_within(isa, &what, &y, &layer.expected(), &layer.bounds(isa));
            // The result must be exactly that of inputs multiplied beforehand.
            assert_eq!(y, layer.run(isa, Precision::Int8, 0), "{isa:?} {what}");
        }
    }
}

#[test]
fn int8_linear_is_usually_far_closer_than_its_bounds() {
    let layer = Layer::new(40, 768, 200, normal_values);
    let expected = layer.expected();
    let size = rms(expected.iter().map(|&v| f64::from(v)));
    for isa in instruction_sets() {
        let y = layer.run(isa, Precision::Int8, 0);
        let off = y.iter().zip(&expected).map(|(a, e)| f64::from(a - e));
        let relative = rms(off) / size;
        println!("{isa:?}: relative RMS error {:.2} %", 100.0 * relative);
        // Normally distributed operands span about ± 3.2 standard deviations. Rounding to steps of
        // 6.4 / 255 (weights: 3.2 / 127) has an error of 0.7 % of a standard deviation, both
        // together 1 %; with 127 and 63 steps the error is twice as large.
        let limit = match byte_limits(isa) {
            (255.0, _) => 0.015,
            _ => 0.03,
        };
        assert!(relative < limit, "{isa:?}: {relative}");
    }
}

#[test]
fn a_linear_layer_without_inputs_returns_its_bias() {
    for isa in instruction_sets() {
        for precision in PRECISIONS {
            let layer = Layer::new(2, 0, 5, values);
            let y = layer.run(isa, precision, 0);
            let what = layer.describe(precision);
            assert_close(isa, &what, &y, &layer.bias.repeat(2), 0.0, 0.0);
        }
    }
}

#[test]
fn linear_reports_the_time_spent_on_quantizing() {
    let layer = Linear::pack(Isa::best(), Precision::Int8, &[1.0; 64], &[0.0; 8], 8);
    let mut scratch = LinearScratch::default();
    let mut y = [0.0; 800];
    let x = [0.5; 800];
    let to = RowsMut::new(&mut y, 8);
    layer.forward(100, Rows::new(&x, 8), to, &mut scratch);
    assert!(!scratch.take_quantization_time().is_zero());
    assert!(scratch.take_quantization_time().is_zero());
}

#[test]
#[should_panic(expected = "weight must be [2, 3]")]
fn linear_refuses_a_weight_of_the_wrong_size() {
    Linear::pack(Isa::best(), Precision::F32, &[0.0; 7], &[0.0; 2], 3);
}

/// Applies a layer with 3 inputs and 2 outputs.
fn forward(rows: usize, x: Rows<'_>, y: RowsMut<'_>) {
    let layer = Linear::pack(Isa::best(), Precision::Int8, &[0.0; 6], &[0.0; 2], 3);
    layer.forward(rows, x, y, &mut LinearScratch::default());
}

#[test]
#[should_panic(expected = "5 elements with a row stride of 3 do not hold 2 rows of 3")]
fn linear_refuses_an_input_that_is_too_short() {
    forward(2, Rows::new(&[0.0; 5], 3), RowsMut::new(&mut [0.0; 4], 2));
}

#[test]
#[should_panic(expected = "3 elements with a row stride of 2 do not hold 2 rows of 2")]
fn linear_refuses_an_output_that_is_too_short() {
    forward(2, Rows::new(&[0.0; 6], 3), RowsMut::new(&mut [0.0; 3], 2));
}

#[test]
#[should_panic(expected = "9 elements with a row stride of 1 do not hold 2 rows of 2")]
fn linear_refuses_rows_that_overlap() {
    forward(2, Rows::new(&[0.0; 6], 3), RowsMut::new(&mut [0.0; 9], 1));
}

#[test]
fn linear_refuses_packed_weights_of_the_wrong_shape() {
    println!("tested: {:?}", Isa::best());
    let isa = Isa::best();
    let refusal = |outputs, inputs, weights, bias| -> String {
        let refusal: ShapeError = match Linear::new(isa, outputs, inputs, weights, bias) {
            Ok(_) => panic!("the weights were accepted"),
            Err(refusal) => refusal,
        };
        refusal.to_string()
    };
    for precision in PRECISIONS {
        let pack = || PackedWeights::pack(isa.target(), precision, &[0.5; 64 * 8], 64, 8);
        let bias = |len| Linear::pad_bias(isa.target(), precision, &vec![0.0; len]);
        assert!(Linear::new(isa, 64, 8, pack(), bias(64)).is_ok());
        assert_eq!(
            refusal(64, 16, pack(), bias(64)),
            "the weights have 512 elements instead of 1024"
        );
        assert_eq!(
            refusal(128, 8, pack(), bias(128)),
            "the weights have 512 elements instead of 1024"
        );
        assert_eq!(
            refusal(64, 8, pack(), bias(128)),
            "the biases have 128 elements instead of 64"
        );
        if let PackedWeights::Int8 {
            panels,
            scales,
            sums,
            ..
        } = pack()
        {
            let weights = PackedWeights::Int8 {
                panels: panels.clone(),
                scales: View::from_slice(&[0.0; 3]),
                sums: sums.clone(),
                factors: None,
            };
            assert_eq!(
                refusal(64, 8, weights, bias(64)),
                "the scales have 3 elements instead of 64"
            );
            let weights = PackedWeights::Int8 {
                panels: panels.clone(),
                scales: scales.clone(),
                sums: View::from_slice(&[0; 65]),
                factors: None,
            };
            assert_eq!(
                refusal(64, 8, weights, bias(64)),
                "the sums have 65 elements instead of 64"
            );
            let weights = PackedWeights::Int8 {
                panels,
                scales,
                sums,
                factors: Some(View::from_slice(&[1.0; 64])),
            };
            assert_eq!(
                refusal(64, 8, weights, bias(64)),
                "the factors have 64 elements instead of 8"
            );
        }
    }
}

#[test]
fn biases_are_padded_with_zeros() {
    for isa in instruction_sets() {
        for precision in PRECISIONS {
            let bias = values(4, 33);
            let padded = Linear::pad_bias(isa.target(), precision, &bias);
            assert_eq!(padded[..33], bias);
            assert!(padded[33..].iter().all(|&v| v == 0.0), "{isa:?}");
        }
    }
}
