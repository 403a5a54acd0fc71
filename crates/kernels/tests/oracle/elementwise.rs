//! Activations, softmax and layer normalization.

use shoal_kernels::{Activation, Isa, LayerNorm, View, activate, layer_norm, sigmoid, softmax};

use crate::common::values;
use crate::naive;
use crate::{assert_close, instruction_sets};

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
            // The error is relative to max(1, |x|).
            let relative = |(&y, &x): (&f32, &f32)| y / x.abs().max(1.0);
            let actual: Vec<f32> = y.iter().zip(&x).map(relative).collect();
            let expected: Vec<f32> = x
                .iter()
                .map(|&v| naive::activate(activation, f64::from(v)) as f32)
                .collect();
            let expected: Vec<f32> = expected.iter().zip(&x).map(relative).collect();
            let what = format!("{activation:?}");
            assert_close(isa, &what, &actual, &expected, tolerance, 0.0);
        }
    }
    let mut y = x.clone();
    sigmoid(&mut y);
    let expected: Vec<f32> = x
        .iter()
        .map(|&v| naive::sigmoid(f64::from(v)) as f32)
        .collect();
    assert_close(Isa::best(), "sigmoid", &y, &expected, 3e-7, 0.0);
}

#[test]
fn softmax_matches_for_every_width() {
    for columns in [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 500] {
        let mut x: Vec<f32> = values(9, columns).iter().map(|v| v * 20.0).collect();
        let expected = naive::softmax(&x, columns);
        softmax(&mut x);
        let what = format!("softmax of {columns}");
        assert_close(Isa::best(), &what, &x, &expected, 1e-6, 1e-6);
    }
}

#[test]
fn layer_norm_matches_for_every_width() {
    for isa in instruction_sets() {
        for hidden in [1, 2, 15, 16, 17, 48, 384, 769] {
            for rows in [0, 1, 5] {
                let (weight, bias) = (values(10, hidden), values(11, hidden));
                // A mean far from zero: a one-pass variance would lose precision.
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
                    let expected = naive::layer_norm(&sum, &weight, &bias, eps);
                    let what = format!("layer norm [{rows}, {hidden}]");
                    assert_close(isa, &what, &y, &expected, 2e-5, 1e-5);
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "x must be [rows, hidden]")]
fn layer_norm_refuses_rows_of_the_wrong_width() {
    let one = View::from_slice(&[1.0; 3]);
    let norm = LayerNorm::new(one.clone(), one, 1e-5);
    layer_norm(Isa::best(), &norm, &mut [0.0; 4], None);
}

#[test]
#[should_panic(expected = "residual must have the shape of x")]
fn layer_norm_refuses_a_residual_of_the_wrong_length() {
    let one = View::from_slice(&[1.0; 3]);
    let norm = LayerNorm::new(one.clone(), one, 1e-5);
    layer_norm(Isa::best(), &norm, &mut [0.0; 3], Some(&[0.0; 6]));
}

#[test]
#[should_panic(expected = "weight and bias must be [hidden]")]
fn layer_norm_refuses_parameters_of_different_lengths() {
    LayerNorm::new(
        View::from_slice(&[1.0; 3]),
        View::from_slice(&[1.0; 4]),
        1e-5,
    );
}
