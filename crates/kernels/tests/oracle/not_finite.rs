//! NaNs and infinities.

use shoal_kernels::{
    Activation, AttentionScratch, Heads, LayerNorm, Precision, View, activate, layer_norm, softmax,
};

use crate::attention::attend;
use crate::common::{Record, values};
use crate::instruction_sets;
use crate::linear::Layer;

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
        softmax(&mut x);
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
fn a_nan_in_attention_reaches_only_its_query_or_value() {
    for isa in instruction_sets() {
        let heads = Heads { count: 2, dim: 3 };
        let mut scratch = AttentionScratch::default();
        for keys in [6, 520] {
            let clean = Record::new(heads, 6, keys, 14, values);
            let mut record = clean.clone();
            // The second head of query 2.
            record.data[2 * 18 + 4] = f32::NAN;
            let y = attend(isa, Precision::F32, &record, 0, &mut scratch);
            for (i, v) in y.iter().enumerate() {
                let touched = i / 6 == 2 && i % 6 >= 3;
                assert_eq!(v.is_nan(), touched, "{isa:?} query: {y:?}");
            }
            let mut record = clean.clone();
            // The first element of value 4.
            record.data[4 * 18 + 12] = f32::NAN;
            let y = attend(isa, Precision::F32, &record, 0, &mut scratch);
            for (i, v) in y.iter().enumerate() {
                assert_eq!(v.is_nan(), i % 6 == 0, "{isa:?} value: {y:?}");
            }
        }
    }
}

#[test]
fn int8_kernels_tolerate_values_that_are_not_finite() {
    for isa in instruction_sets() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut layer = Layer::new(3, 50, 7, values);
            let clean = layer.run(isa, Precision::Int8, 0);
            layer.x[50..100].fill(bad);
            let y = layer.run(isa, Precision::Int8, 0);
            // Rows do not affect each other.
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
