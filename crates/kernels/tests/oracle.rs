//! Every kernel on every instruction set of this CPU against the naive loops.

mod common;

use common::values;
use shoal_kernels::{
    Activation, AttentionScratch, Heads, Isa, LayerNorm, PackedLinear, activate, attention,
    layer_norm, oracle, sigmoid, softmax,
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
    assert_eq!(actual.len(), expected.len(), "{isa:?} {what}: lengths");
    let excess = |i: usize| {
        let difference = (actual[i] - expected[i]).abs();
        if difference == 0.0 {
            return 0.0;
        }
        let excess = difference / (atol + rtol * expected[i].abs());
        // A comparison with NaN is never "too large"; make it so.
        if excess.is_nan() {
            f32::INFINITY
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
             ({} times the tolerance of {atol:e} + {rtol:e} * |expected|)",
            actual.len(),
            actual[i],
            expected[i],
            excess(i),
        );
    }
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

fn check_linear(isa: Isa, rows: usize, inputs: usize, outputs: usize, activation: Activation) {
    let x = values(1, rows * inputs);
    let weight = values(2, outputs * inputs);
    let bias = values(3, outputs);
    let layer = PackedLinear::new(isa, &weight, &bias, inputs, activation);
    // Whatever was there before must not show.
    let mut y = vec![f32::NAN; rows * outputs];
    layer.forward(&x, &mut y);
    let expected = oracle::linear(&x, &weight, &bias, inputs, activation);
    // Rounding errors of a sum of n products of numbers below 1 grow like the root of n.
    let atol = 1e-6 * (inputs as f32).sqrt().max(1.0);
    let what = format!("linear [{rows}, {inputs}] to {outputs}, {activation:?}");
    assert_close(isa, &what, &y, &expected, atol, 1e-6);
}

#[test]
fn linear_around_every_tile_edge() {
    for isa in instruction_sets() {
        let tile = isa.tile();
        let mut columns = around(tile.columns);
        columns.extend(around(tile.lanes));
        for &outputs in &columns {
            for rows in around(tile.rows) {
                check_linear(isa, rows, 37, outputs, Activation::Identity);
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
                check_linear(isa, rows, 3, outputs, Activation::Identity);
            }
        }
    }
}

#[test]
fn linear_of_any_depth() {
    for isa in instruction_sets() {
        for inputs in [1, 2, 3, 15, 16, 17, 255, 256, 257, 768, 3072] {
            check_linear(isa, 9, inputs, 50, Activation::Identity);
        }
    }
}

#[test]
fn linear_with_every_activation() {
    for isa in instruction_sets() {
        for activation in [
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::Tanh,
        ] {
            check_linear(isa, 13, 20, 70, activation);
        }
    }
}

#[test]
fn linear_without_inputs_is_its_bias() {
    for isa in instruction_sets() {
        let bias = values(4, 5);
        let layer = PackedLinear::new(isa, &[], &bias, 0, Activation::Identity);
        let mut y = vec![f32::NAN; 10];
        layer.forward(&[], &mut y);
        assert_close(
            isa,
            "linear of depth 0",
            &y,
            &[&bias[..], &bias[..]].concat(),
            0.0,
            0.0,
        );
    }
}

#[test]
#[should_panic(expected = "weight must be [2, 3]")]
fn linear_refuses_a_weight_of_the_wrong_size() {
    PackedLinear::new(Isa::best(), &[0.0; 7], &[0.0; 2], 3, Activation::Identity);
}

#[test]
#[should_panic(expected = "x must be [rows, inputs]")]
fn linear_refuses_rows_that_do_not_match() {
    let layer = PackedLinear::new(Isa::best(), &[0.0; 6], &[0.0; 2], 3, Activation::Identity);
    layer.forward(&[0.0; 3], &mut [0.0; 4]);
}

#[test]
fn attention_of_any_length() {
    for isa in instruction_sets() {
        let tile = isa.tile();
        let mut scratch = AttentionScratch::default();
        let mut lengths = around(tile.columns);
        lengths.extend([47, 48, 49, 130]);
        for keys in lengths.into_iter().filter(|&keys| keys > 0) {
            for heads in [
                Heads { count: 1, dim: 1 },
                Heads { count: 3, dim: 5 },
                Heads { count: 2, dim: 32 },
                Heads { count: 2, dim: 65 },
            ] {
                // Wide scores, so that the softmax is far from uniform.
                let scale = |v: f32| 4.0 * v;
                let hidden = heads.hidden();
                for queries in [0, 1, keys] {
                    let q: Vec<f32> = values(5, queries * hidden).into_iter().map(scale).collect();
                    let kv = values(6, keys * 2 * hidden);
                    let mut out = vec![f32::NAN; q.len()];
                    attention(isa, heads, &q, &kv, &mut out, &mut scratch);
                    let expected = oracle::attention(heads, &q, &kv);
                    let what = format!("attention {heads:?}, {queries} queries, {keys} keys");
                    assert_close(isa, &what, &out, &expected, 1e-5, 1e-5);
                }
            }
        }
    }
}

#[test]
fn attention_with_scores_beyond_the_range_of_exp() {
    for isa in instruction_sets() {
        let heads = Heads { count: 1, dim: 4 };
        let q: Vec<f32> = values(7, 3 * 4).iter().map(|v| v * 300.0).collect();
        let kv = values(8, 20 * 8);
        let mut out = vec![0.0; q.len()];
        attention(
            isa,
            heads,
            &q,
            &kv,
            &mut out,
            &mut AttentionScratch::default(),
        );
        let expected = oracle::attention(heads, &q, &kv);
        assert_close(isa, "attention", &out, &expected, 2e-4, 1e-4);
    }
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
                let norm = LayerNorm::new(weight.clone(), bias.clone(), eps);
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
    }
}
