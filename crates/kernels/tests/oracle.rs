//! Every kernel on every instruction set of this CPU against the naive loops.

mod common;

use common::{PRECISIONS, Record, byte_limits, normal_values, values};
use shoal_kernels::{
    Activation, AttentionInput, AttentionScratch, Heads, Isa, LayerNorm, Linear, LinearScratch,
    PackedWeights, Precision, Rows, RowsMut, ShapeError, View, activate, attention, layer_norm,
    oracle, sigmoid, softmax,
};

/// Every instruction set of this CPU, named on the test's output.
fn instruction_sets() -> Vec<Isa> {
    let found = Isa::available();
    println!("tested: {found:?}");
    found
}

/// Fails with the worst element if any is further from the expected one than
/// `atol + rtol * |expected|`.
#[track_caller]
fn assert_close(isa: Isa, what: &str, actual: &[f32], expected: &[f32], atol: f32, rtol: f32) {
    let tolerances: Vec<f64> = expected
        .iter()
        .map(|v| f64::from(atol + rtol * v.abs()))
        .collect();
    assert_within(isa, what, actual, expected, &tolerances);
}

/// Fails with the worst element if any is further from the expected one than its tolerance.
#[track_caller]
fn assert_within(isa: Isa, what: &str, actual: &[f32], expected: &[f32], tolerances: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{isa:?} {what}: lengths");
    assert_eq!(actual.len(), tolerances.len(), "{isa:?} {what}: tolerances");
    let excess = |i: usize| {
        let difference = (f64::from(actual[i]) - f64::from(expected[i])).abs();
        if difference == 0.0 {
            return 0.0;
        }
        let excess = difference / tolerances[i];
        // A comparison with NaN is never "too large"; make it so.
        if excess.is_nan() {
            f64::INFINITY
        } else {
            excess
        }
    };
    let worst = (0..actual.len()).max_by(|&a, &b| excess(a).total_cmp(&excess(b)));
    if let Some(i) = worst
        && excess(i) > 1.0
    {
        panic!(
            "{isa:?} {what}: element {i} of {} is {:e}, expected {:e} \
             ({} times the tolerance of {:e})",
            actual.len(),
            actual[i],
            expected[i],
            excess(i),
            tolerances[i],
        );
    }
}

/// The root of the mean square.
fn rms(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for v in values {
        sum += v * v;
        count += 1;
    }
    (sum / f64::from(count.max(1))).sqrt()
}

/// 0, 1 and the neighbours of each multiple of `edge` up to twice its size.
fn around(edge: usize) -> Vec<usize> {
    vec![
        0,
        1,
        2,
        edge - 1,
        edge,
        edge + 1,
        2 * edge - 1,
        2 * edge,
        2 * edge + 1,
    ]
}

/// The shapes and operands of a layer.
struct Layer {
    rows: usize,
    inputs: usize,
    outputs: usize,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    fn new(rows: usize, inputs: usize, outputs: usize, fill: fn(u32, usize) -> Vec<f32>) -> Layer {
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

    /// The kernel's result where rows lie `gap` elements apart; checks that nothing else is
    /// written.
    fn run(&self, isa: Isa, precision: Precision, gap: usize) -> Vec<f32> {
        let (rows, inputs, outputs) = (self.rows, self.inputs, self.outputs);
        let layer = Linear::pack(isa, precision, &self.weight, &self.bias, inputs);
        assert_eq!((layer.inputs(), layer.outputs()), (inputs, outputs));
        let (from, to) = (inputs + gap, outputs + gap);
        let apart = |stride: usize, width: usize| match rows {
            0 => 0,
            _ => (rows - 1) * stride + width,
        };
        let mut x = vec![f32::NAN; apart(from, inputs)];
        for r in 0..rows {
            x[r * from..][..inputs].copy_from_slice(&self.x[r * inputs..][..inputs]);
        }
        // Whatever was there before must not show.
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
                assert_eq!(v.to_bits(), before.to_bits(), "{isa:?} {what} wrote aside");
            }
        }
        result
    }

    fn expected(&self) -> Vec<f32> {
        if self.inputs == 0 {
            return self.bias.repeat(self.rows);
        }
        let identity = Activation::Identity;
        oracle::linear(&self.x, &self.weight, &self.bias, self.inputs, identity)
    }

    /// What quantization can do to each element at most, derived from the units' worth: with
    /// |dx| ≤ sx / 2 and |dw| ≤ sw / 2, the sum over the depth of
    /// |dx| |w| + |x| |dw| + |dx| |dw|; and the rounding of the sum to `f32`.
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
        // Rounding errors of a sum of n products of numbers below 1 grow like the root of n.
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
fn linear_around_every_tile_edge() {
    for isa in instruction_sets() {
        let tile = isa.tile();
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
fn linear_of_every_remainder_of_rows_and_columns() {
    for isa in instruction_sets() {
        let tile = isa.tile();
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
fn linear_of_any_depth() {
    instruction_sets();
    for inputs in (0..20).chain([255, 256, 257, 768, 3072]) {
        Layer::new(9, inputs, 50, values).check(0);
    }
}

#[test]
fn linear_of_rows_that_lie_apart() {
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
fn linear_of_rows_that_are_hard_to_quantize() {
    instruction_sets();
    let mut layer = Layer::new(8, 100, 60, normal_values);
    let rows: Vec<&mut [f32]> = layer.x.chunks_mut(100).collect();
    let [zero, tiny, outlier, positive, negative, constant, one, _] =
        rows.try_into().expect("there are eight");
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

#[test]
fn linear_in_bytes_is_usually_far_closer_than_it_must_be() {
    let layer = Layer::new(40, 768, 200, normal_values);
    let expected = layer.expected();
    let size = rms(expected.iter().map(|&v| f64::from(v)));
    for isa in instruction_sets() {
        let y = layer.run(isa, Precision::Int8, 0);
        let off = y.iter().zip(&expected).map(|(a, e)| f64::from(a - e));
        let relative = rms(off) / size;
        println!("{isa:?}: {:.2} % off", 100.0 * relative);
        // Normally distributed operands span some ± 3.2 deviations. Rounding to steps of 6.4 / 255
        // (weights: 3.2 / 127) is off by a 0.7 % of the deviation, both together by 1 %; with
        // 127 and 63 steps, by twice that.
        let limit = match byte_limits(isa) {
            (255.0, _) => 0.015,
            _ => 0.03,
        };
        assert!(relative < limit, "{isa:?}: {relative}");
    }
}

#[test]
fn linear_without_inputs_is_its_bias() {
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
fn linear_says_how_long_it_quantized() {
    let layer = Linear::pack(Isa::best(), Precision::Int8, &[1.0; 64], &[0.0; 8], 8);
    let mut scratch = LinearScratch::default();
    let mut y = [0.0; 800];
    let x = [0.5; 800];
    let to = RowsMut::new(&mut y, 8);
    layer.forward(100, Rows::new(&x, 8), to, &mut scratch);
    assert!(!scratch.take_quantizing().is_zero());
    assert!(scratch.take_quantizing().is_zero());
}

#[test]
#[should_panic(expected = "weight must be [2, 3]")]
fn linear_refuses_a_weight_of_the_wrong_size() {
    Linear::pack(Isa::best(), Precision::F32, &[0.0; 7], &[0.0; 2], 3);
}

/// Applies a layer of 3 inputs and 2 outputs.
fn forward(rows: usize, x: Rows<'_>, y: RowsMut<'_>) {
    let layer = Linear::pack(Isa::best(), Precision::Int8, &[0.0; 6], &[0.0; 2], 3);
    layer.forward(rows, x, y, &mut LinearScratch::default());
}

#[test]
#[should_panic(expected = "5 elements with rows 3 apart are no 2 rows of 3")]
fn linear_refuses_too_short_an_input() {
    forward(2, Rows::new(&[0.0; 5], 3), RowsMut::new(&mut [0.0; 4], 2));
}

#[test]
#[should_panic(expected = "3 elements with rows 2 apart are no 2 rows of 2")]
fn linear_refuses_too_short_an_output() {
    forward(2, Rows::new(&[0.0; 6], 3), RowsMut::new(&mut [0.0; 3], 2));
}

#[test]
#[should_panic(expected = "9 elements with rows 1 apart are no 2 rows of 2")]
fn linear_refuses_rows_that_overlap() {
    forward(2, Rows::new(&[0.0; 6], 3), RowsMut::new(&mut [0.0; 9], 1));
}

#[test]
fn linear_refuses_packed_weights_of_another_shape() {
    println!("tested: {:?}", Isa::best());
    let isa = Isa::best();
    let refusal = |outputs, inputs, weights, bias| -> String {
        let refusal: ShapeError = match Linear::new(isa, outputs, inputs, weights, bias) {
            Ok(_) => panic!("it was taken"),
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
        } = pack()
        {
            let weights = PackedWeights::Int8 {
                panels: panels.clone(),
                scales: View::from_slice(&[0.0; 3]),
                sums: sums.clone(),
            };
            assert_eq!(
                refusal(64, 8, weights, bias(64)),
                "the scales have 3 elements instead of 64"
            );
            let weights = PackedWeights::Int8 {
                panels,
                scales,
                sums: View::from_slice(&[0; 65]),
            };
            assert_eq!(
                refusal(64, 8, weights, bias(64)),
                "the sums have 65 elements instead of 64"
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

/// What the kernel makes of a record; its rows lie `gap` elements apart.
fn attend(
    isa: Isa,
    precision: Precision,
    record: &Record,
    gap: usize,
    scratch: &mut AttentionScratch,
) -> Vec<f32> {
    let hidden = record.heads.hidden();
    let stride = hidden + gap;
    let before = f32::from_bits(0x7fc0_1234);
    let mut out = vec![before; record.queries * stride];
    let input = record.input(0, record.queries);
    let to = RowsMut::new(&mut out, stride);
    attention(isa, precision, input, to, scratch);
    let mut result = Vec::with_capacity(record.queries * hidden);
    for row in out.chunks(stride) {
        result.extend_from_slice(&row[..hidden]);
        let aside = &row[hidden..];
        assert!(
            aside.iter().all(|v| v.to_bits() == before.to_bits()),
            "{isa:?} {precision:?} attention wrote aside"
        );
    }
    result
}

fn expected_attention(record: &Record) -> Vec<f32> {
    let q: Vec<f32> = (0..record.queries)
        .flat_map(|i| record.row(0, i))
        .copied()
        .collect();
    let kv: Vec<f32> = (0..record.keys)
        .flat_map(|i| [record.row(1, i), record.row(2, i)])
        .flatten()
        .copied()
        .collect();
    oracle::attention(record.heads, &q, &kv)
}

/// What quantization can do to each element of an attention in 8 bits at most.
///
/// A score is off by dⱼ = scale · Σ (|dq| |k| + |q| |dk| + |dq| |dk|) at most, its weight
/// tⱼ = exp(score − maximum) therefore by tⱼ (exp(dⱼ) (1 + 10⁻⁴) − 1), the coarse power included,
/// and by half of 1/255, to which it is rounded (the true maximum may lie exp(max dⱼ) below). With
/// E the sum of these and T that of the weights, the normalized weights change by 2 E / T
/// together, which the largest |v| of the column multiplies; the values' own rounding adds half a
/// unit, a 127th of that largest |v|.
fn attention_bounds(record: &Record) -> Vec<f64> {
    let Heads { count, dim } = record.heads;
    let (queries, keys) = (record.queries, record.keys);
    let mut bounds = vec![0.0; queries * count * dim];
    let sum_of_sizes = |row: &[f32]| row.iter().map(|v| f64::from(v.abs())).sum::<f64>();
    let largest = |row: &[f32]| f64::from(row.iter().fold(0.0f32, |m, v| m.max(v.abs())));
    for head in 0..count {
        let of = |part, token| &record.row(part, token)[head * dim..][..dim];
        let mut columns = vec![0.0f64; dim];
        for key in 0..keys {
            for (column, v) in columns.iter_mut().zip(of(2, key)) {
                *column = column.max(f64::from(v.abs()));
            }
        }
        let k_sizes: Vec<_> = (0..keys)
            .map(|key| (largest(of(1, key)) / 127.0, sum_of_sizes(of(1, key))))
            .collect();
        for query in 0..queries {
            let q = of(0, query);
            let (low, high) = q
                .iter()
                .fold((0.0f32, 0.0f32), |(l, h), &v| (l.min(v), h.max(v)));
            let (dq, q_size) = (f64::from(high - low) / 255.0 / 2.0, sum_of_sizes(q));
            let scale = f64::from(record.scale());
            let mut scores = Vec::with_capacity(keys);
            for (key, &(unit, k_size)) in k_sizes.iter().enumerate() {
                let dk = unit / 2.0;
                let product: f64 = q
                    .iter()
                    .zip(of(1, key))
                    .map(|(&q, &k)| f64::from(q) * f64::from(k))
                    .sum();
                let off = dq * k_size + q_size * dk + dim as f64 * dq * dk;
                // The score, in f32, is rounded, too.
                scores.push((scale * product, 1.01 * scale * off + 1e-6 * product.abs()));
            }
            let max = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(s.0));
            let most_off = scores.iter().fold(0.0f64, |m, s| m.max(s.1));
            let (mut weights, mut errors) = (0.0, 0.0);
            for (score, off) in scores {
                let weight = (score - max).exp();
                weights += weight;
                errors += weight * (off.exp() * (1.0 + 1e-4) - 1.0);
                errors += 0.5 / 255.0 * most_off.exp();
            }
            let row = &mut bounds[(query * count + head) * dim..][..dim];
            for (bound, largest) in row.iter_mut().zip(&columns) {
                // No average of the values is further away than twice the largest.
                let share = (2.0 * errors / weights + 0.5 / 127.0).min(2.0);
                *bound = 1.01 * share * largest + 1e-6;
            }
        }
    }
    bounds
}

/// Compares with the oracle on every instruction set, in both precisions; `atol` and `rtol` are
/// those of `f32`.
fn check_attention(what: &str, record: &Record, atol: f32, rtol: f32) {
    let expected = expected_attention(record);
    let bounds = attention_bounds(record);
    for isa in Isa::available() {
        let mut scratch = AttentionScratch::default();
        let float = attend(isa, Precision::F32, record, 0, &mut scratch);
        let Record {
            heads,
            queries,
            keys,
            ..
        } = record;
        let what = format!("{what}, {heads:?}, {queries} queries, {keys} keys");
        assert_close(isa, &what, &float, &expected, atol, rtol);
        let bytes = attend(isa, Precision::Int8, record, 3, &mut scratch);
        let what = format!("{what}, Int8");
        if byte_limits(isa).0 == 255.0 {
            assert_within(isa, &what, &bytes, &expected, &bounds);
        } else {
            // There it is defined as the f32 one.
            for (i, (a, e)) in bytes.iter().zip(&float).enumerate() {
                assert_eq!(a.to_bits(), e.to_bits(), "{isa:?} {what}: element {i}");
            }
        }
    }
}

const HEADS: [Heads; 5] = [
    Heads { count: 1, dim: 1 },
    Heads { count: 3, dim: 5 },
    Heads { count: 2, dim: 32 },
    Heads { count: 2, dim: 64 },
    Heads { count: 2, dim: 65 },
];

#[test]
fn attention_of_any_length() {
    let mut lengths: Vec<usize> = instruction_sets()
        .into_iter()
        .flat_map(|isa| [isa.tile().columns, isa.tile().lanes])
        .flat_map(around)
        .chain([47, 48, 49, 130])
        .filter(|&keys| keys > 0)
        .collect();
    lengths.sort_unstable();
    lengths.dedup();
    for keys in lengths {
        for heads in HEADS {
            for queries in [0, 1, keys] {
                let record = Record::new(heads, queries, keys, 5, values);
                check_attention("attention", &record, 1e-5, 1e-5);
            }
        }
    }
}

#[test]
fn attention_of_any_number_of_queries() {
    instruction_sets();
    for queries in (1..18).chain([47, 48, 49, 95, 96, 97]) {
        let record = Record::new(Heads { count: 2, dim: 20 }, queries, 33, 6, normal_values);
        check_attention("attention", &record, 1e-5, 1e-5);
    }
}

#[test]
fn attention_over_several_blocks_of_keys() {
    instruction_sets();
    for keys in [511, 512, 513, 1024, 1100] {
        for heads in HEADS {
            for queries in [1, 50] {
                let record = Record::new(heads, queries, keys, 7, normal_values);
                check_attention("attention", &record, 1e-5, 1e-5);
            }
        }
    }
}

#[test]
fn attention_with_wide_scores() {
    instruction_sets();
    for keys in [1, 40, 97, 600] {
        for heads in HEADS {
            let record = Record::new(heads, 9, keys, 8, normal_values).scale_queries(4.0);
            check_attention("wide scores", &record, 3e-5, 1e-5);
        }
    }
}

#[test]
fn attention_with_scores_beyond_the_range_of_exp() {
    instruction_sets();
    let heads = Heads { count: 1, dim: 4 };
    for keys in [20, 1100] {
        let record = Record::new(heads, 5, keys, 9, values).scale_queries(300.0);
        check_attention("scores beyond exp", &record, 2e-4, 1e-4);
    }
}

#[test]
fn attention_whose_blocks_of_keys_have_maxima_far_apart() {
    instruction_sets();
    let heads = Heads { count: 2, dim: 8 };
    // The largest scores in the first, the second, the last block, or falling or rising through
    // all of them.
    for factors in [
        [90.0, 0.0, -90.0],
        [-90.0, 90.0, 0.0],
        [0.0, -90.0, 90.0],
        [1.0, 0.0, -1.0],
        [-3.0, 0.0, 3.0],
        [1e4, -1e4, 0.0],
    ] {
        let mut record = Record::new(heads, 7, 1100, 10, values);
        let hidden = heads.hidden();
        for (token, row) in record.data.chunks_mut(3 * hidden).enumerate() {
            // Queries of one sign, so that what is added to the keys moves all scores alike.
            row[..hidden].iter_mut().for_each(|v| *v = v.abs() + 0.5);
            row[hidden..2 * hidden]
                .iter_mut()
                .for_each(|v| *v += factors[token / 512] / 8.0);
        }
        check_attention(&format!("{factors:?}"), &record, 1e-4, 1e-4);
    }
}

#[test]
fn attention_in_bytes_is_usually_far_closer_than_it_must_be() {
    for keys in [16, 64, 128, 512, 1100] {
        let record = Record::new(Heads { count: 4, dim: 64 }, 64, keys, 11, normal_values);
        let expected = expected_attention(&record);
        let largest = (0..keys)
            .flat_map(|key| record.row(2, key))
            .fold(0.0f32, |m, v| m.max(v.abs()));
        for isa in instruction_sets() {
            let mut scratch = AttentionScratch::default();
            let y = attend(isa, Precision::Int8, &record, 0, &mut scratch);
            let off = |(a, e): (&f32, &f32)| f64::from((a - e) / largest);
            let off: Vec<f64> = y.iter().zip(&expected).map(off).collect();
            let worst = off.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let usual = rms(off);
            println!(
                "{isa:?}, {keys} keys: {:.3} % of the largest |v| off, {:.3} % at most",
                100.0 * usual,
                100.0 * worst
            );
            // Half a unit of the values is 0.4 % of the largest; over many keys these errors and
            // those of the weights average out.
            assert!(usual < 0.002, "{isa:?}, {keys} keys: {usual}");
            assert!(worst < 0.01, "{isa:?}, {keys} keys: {worst}");
        }
    }
}

#[test]
fn attention_without_queries_or_heads_does_nothing() {
    for isa in instruction_sets() {
        for precision in PRECISIONS {
            for heads in [Heads { count: 0, dim: 4 }, Heads { count: 2, dim: 0 }] {
                let input = AttentionInput {
                    heads,
                    scale: 1.0,
                    q: Rows::new(&[], 0),
                    queries: 3,
                    k: Rows::new(&[], 0),
                    v: Rows::new(&[], 0),
                    keys: 3,
                };
                let out = RowsMut::new(&mut [], 0);
                attention(isa, precision, input, out, &mut AttentionScratch::default());
            }
        }
    }
}

/// Attention of a record of one head of 2 whose parts have these lengths.
fn attend_to(q: usize, k: usize, v: usize, keys: usize, out: usize) {
    let data = [0.0; 16];
    let input = AttentionInput {
        heads: Heads { count: 1, dim: 2 },
        scale: 1.0,
        q: Rows::new(&data[..q], 2),
        queries: 2,
        k: Rows::new(&data[..k], 2),
        v: Rows::new(&data[..v], 2),
        keys,
    };
    let mut result = vec![0.0; out];
    let to = RowsMut::new(&mut result, 2);
    attention(
        Isa::best(),
        Precision::F32,
        input,
        to,
        &mut AttentionScratch::default(),
    );
}

#[test]
#[should_panic(expected = "attention needs at least one key")]
fn attention_refuses_queries_without_keys() {
    attend_to(4, 0, 0, 0, 4);
}

#[test]
#[should_panic(expected = "3 elements with rows 2 apart are no 2 rows of 2")]
fn attention_refuses_too_few_queries() {
    attend_to(3, 6, 6, 3, 4);
}

#[test]
#[should_panic(expected = "5 elements with rows 2 apart are no 3 rows of 2")]
fn attention_refuses_too_few_keys() {
    attend_to(4, 5, 6, 3, 4);
}

#[test]
#[should_panic(expected = "5 elements with rows 2 apart are no 3 rows of 2")]
fn attention_refuses_too_few_values() {
    attend_to(4, 6, 5, 3, 4);
}

#[test]
#[should_panic(expected = "3 elements with rows 2 apart are no 2 rows of 2")]
fn attention_refuses_too_short_a_result() {
    attend_to(4, 6, 6, 3, 3);
}

#[test]
fn activations_stay_within_their_documented_error() {
    let grid: Vec<f32> = (-120_000..=120_000).map(|i| i as f32 * 1e-4).collect();
    let far = [
        -1e30,
        -200.0,
        -90.0,
        -50.0,
        50.0,
        90.0,
        200.0,
        1e30,
        f32::MIN_POSITIVE,
        0.0,
        -0.0,
    ];
    let x: Vec<f32> = grid.into_iter().chain(far).collect();
    for isa in instruction_sets() {
        for (activation, tolerance) in [
            (Activation::Identity, 0.0),
            (Activation::Relu, 0.0),
            (Activation::Gelu, 5e-7),
            (Activation::GeluTanh, 5e-7),
            (Activation::Tanh, 3e-7),
        ] {
            let mut y = x.clone();
            activate(isa, activation, &mut y);
            // The error is stated relative to max(1, |x|).
            let relative = |(&y, &x): (&f32, &f32)| y / x.abs().max(1.0);
            let actual: Vec<f32> = y.iter().zip(&x).map(relative).collect();
            let expected: Vec<f32> = x
                .iter()
                .map(|&v| oracle::activate(activation, f64::from(v)) as f32)
                .collect();
            let expected: Vec<f32> = expected.iter().zip(&x).map(relative).collect();
            let what = format!("{activation:?}");
            assert_close(isa, &what, &actual, &expected, tolerance, 0.0);
        }
        let mut y = x.clone();
        sigmoid(isa, &mut y);
        let expected: Vec<f32> = x
            .iter()
            .map(|&v| oracle::sigmoid(f64::from(v)) as f32)
            .collect();
        assert_close(isa, "sigmoid", &y, &expected, 3e-7, 0.0);
    }
}

#[test]
fn softmax_of_rows() {
    for isa in instruction_sets() {
        for columns in [1, 2, 3, 15, 16, 17, 31, 32, 33, 500] {
            for rows in [0, 1, 3] {
                let mut x: Vec<f32> = values(9, rows * columns).iter().map(|v| v * 20.0).collect();
                let expected = oracle::softmax(&x, columns);
                softmax(isa, &mut x, columns);
                assert_close(
                    isa,
                    &format!("softmax [{rows}, {columns}]"),
                    &x,
                    &expected,
                    1e-6,
                    1e-6,
                );
            }
        }
        softmax(isa, &mut [], 0);
    }
}

#[test]
fn layer_norm_of_rows() {
    for isa in instruction_sets() {
        for hidden in [1, 2, 15, 16, 17, 48, 384, 769] {
            for rows in [0, 1, 5] {
                let (weight, bias) = (values(10, hidden), values(11, hidden));
                // A mean far from zero: a one-pass variance would lose its digits.
                let x: Vec<f32> = values(12, rows * hidden).iter().map(|v| v + 30.0).collect();
                let residual = values(13, rows * hidden);
                let eps = 1e-5;
                let norm = LayerNorm::new(View::from_slice(&weight), View::from_slice(&bias), eps);
                for residual in [None, Some(&residual)] {
                    let sum: Vec<f32> = match residual {
                        Some(residual) => x.iter().zip(residual).map(|(a, b)| a + b).collect(),
                        None => x.clone(),
                    };
                    let mut y = x.clone();
                    layer_norm(isa, &norm, &mut y, residual.map(Vec::as_slice));
                    let expected = oracle::layer_norm(&sum, &weight, &bias, eps);
                    let what = format!("layer norm [{rows}, {hidden}]");
                    assert_close(isa, &what, &y, &expected, 2e-5, 1e-5);
                }
            }
        }
    }
}

#[test]
fn a_nan_reaches_the_result() {
    for isa in instruction_sets() {
        for activation in [
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Tanh,
        ] {
            let mut x = [0.5, f32::NAN, -0.5];
            activate(isa, activation, &mut x);
            assert!(
                x[1].is_nan() && !x[0].is_nan(),
                "{isa:?} {activation:?}: {x:?}"
            );
        }
        let mut x = [1.0, f32::NAN, 3.0];
        softmax(isa, &mut x, 3);
        assert!(x.iter().all(|v| v.is_nan()), "{isa:?} softmax: {x:?}");
        let mut x = [1.0, f32::NAN, 3.0];
        let one = View::from_slice(&[1.0; 3]);
        layer_norm(isa, &LayerNorm::new(one.clone(), one, 1e-5), &mut x, None);
        assert!(x.iter().all(|v| v.is_nan()), "{isa:?} layer norm: {x:?}");
        let mut layer = Layer::new(3, 5, 7, values);
        layer.x[6] = f32::NAN;
        let y = layer.run(isa, Precision::F32, 0);
        for (i, v) in y.iter().enumerate() {
            assert_eq!(v.is_nan(), i / 7 == 1, "{isa:?} linear: {y:?}");
        }
    }
}

#[test]
fn a_nan_reaches_the_results_of_its_query_or_value() {
    for isa in instruction_sets() {
        let heads = Heads { count: 2, dim: 3 };
        let mut scratch = AttentionScratch::default();
        for keys in [6, 520] {
            let clean = Record::new(heads, 6, keys, 14, values);
            let mut record = clean.clone();
            // Of the query 2, its second head.
            record.data[2 * 18 + 4] = f32::NAN;
            let y = attend(isa, Precision::F32, &record, 0, &mut scratch);
            for (i, v) in y.iter().enumerate() {
                let touched = i / 6 == 2 && i % 6 >= 3;
                assert_eq!(v.is_nan(), touched, "{isa:?} query: {y:?}");
            }
            let mut record = clean.clone();
            // Of the value 4, its first element.
            record.data[4 * 18 + 12] = f32::NAN;
            let y = attend(isa, Precision::F32, &record, 0, &mut scratch);
            for (i, v) in y.iter().enumerate() {
                assert_eq!(v.is_nan(), i % 6 == 0, "{isa:?} value: {y:?}");
            }
        }
    }
}

#[test]
fn bytes_of_what_is_not_finite_make_no_trouble() {
    for isa in instruction_sets() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut layer = Layer::new(3, 50, 7, values);
            let clean = layer.run(isa, Precision::Int8, 0);
            layer.x[50..100].fill(bad);
            let y = layer.run(isa, Precision::Int8, 0);
            // Rows do not touch each other.
            assert_eq!(y[..7], clean[..7], "{isa:?} {bad}");
            assert_eq!(y[14..], clean[14..], "{isa:?} {bad}");
            layer.weight.fill(bad);
            layer.run(isa, Precision::Int8, 0);
            for part in 0..3 {
                let heads = Heads { count: 2, dim: 32 };
                let mut record = Record::new(heads, 20, 20, 15, values);
                for row in record.data.chunks_mut(64).skip(part).step_by(3) {
                    row.fill(bad);
                }
                let mut scratch = AttentionScratch::default();
                attend(isa, Precision::Int8, &record, 0, &mut scratch);
            }
        }
    }
}

#[test]
#[should_panic(expected = "x must be [rows, hidden]")]
fn layer_norm_refuses_rows_of_another_width() {
    let one = View::from_slice(&[1.0; 3]);
    let norm = LayerNorm::new(one.clone(), one, 1e-5);
    layer_norm(Isa::best(), &norm, &mut [0.0; 4], None);
}

#[test]
#[should_panic(expected = "residual must have the shape of x")]
fn layer_norm_refuses_another_residual() {
    let one = View::from_slice(&[1.0; 3]);
    let norm = LayerNorm::new(one.clone(), one, 1e-5);
    layer_norm(Isa::best(), &norm, &mut [0.0; 3], Some(&[0.0; 6]));
}

#[test]
#[should_panic(expected = "weight and bias must be [hidden]")]
fn layer_norm_refuses_parameters_that_differ_in_length() {
    LayerNorm::new(
        View::from_slice(&[1.0; 3]),
        View::from_slice(&[1.0; 4]),
        1e-5,
    );
}
