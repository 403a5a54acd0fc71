//! A row's result does not depend on the rows around it: the same bits for every cut.

mod common;

use common::values;
use proptest::prelude::*;
use shoal_kernels::{
    Activation, AttentionScratch, Heads, Isa, LayerNorm, PackedLinear, attention, layer_norm,
};

const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Tanh,
];

/// Fails if any bit differs.
#[track_caller]
fn assert_same_bits(isa: Isa, what: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{isa:?} {what}: lengths");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert_eq!(
            a.to_bits(),
            e.to_bits(),
            "{isa:?} {what}: element {i} is {a:e}, expected the same bits as {e:e}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn linear_rows_are_independent(
        rows in 1usize..40,
        inputs in 1usize..90,
        outputs in 1usize..120,
        activation in 0usize..5,
        cuts in proptest::collection::vec(1usize..12, 1..40),
        seed: u32,
    ) {
        for isa in Isa::available() {
            let weight = values(seed, outputs * inputs);
            let bias = values(seed ^ 1, outputs);
            let layer = PackedLinear::new(isa, &weight, &bias, inputs, ACTIVATIONS[activation]);
            let x = values(seed ^ 2, rows * inputs);
            let mut whole = vec![0.0; rows * outputs];
            layer.forward(&x, &mut whole);
            let mut first = 0;
            for &cut in cuts.iter().chain(std::iter::repeat(&1)) {
                if first == rows {
                    break;
                }
                let end = (first + cut).min(rows);
                let mut part = vec![0.0; (end - first) * outputs];
                layer.forward(&x[first * inputs..end * inputs], &mut part);
                let what = format!("rows {first}..{end} of {rows}");
                assert_same_bits(isa, &what, &part, &whole[first * outputs..end * outputs]);
                first = end;
            }
        }
    }

    #[test]
    fn queries_are_independent(
        keys in 1usize..120,
        count in 1usize..4,
        dim in 1usize..40,
        seed: u32,
    ) {
        let heads = Heads { count, dim };
        let hidden = heads.hidden();
        for isa in Isa::available() {
            let q = values(seed, keys * hidden);
            let kv = values(seed ^ 1, keys * 2 * hidden);
            let mut scratch = AttentionScratch::default();
            let mut whole = vec![0.0; q.len()];
            attention(isa, heads, &q, &kv, &mut whole, &mut scratch);
            // One query alone, on scratch that a longer record has used before.
            for query in [0, keys / 2, keys - 1] {
                let row = query * hidden..(query + 1) * hidden;
                let mut one = vec![0.0; hidden];
                attention(isa, heads, &q[row.clone()], &kv, &mut one, &mut scratch);
                assert_same_bits(isa, &format!("query {query} of {keys}"), &one, &whole[row]);
            }
        }
    }

    #[test]
    fn normalized_rows_are_independent(rows in 1usize..8, hidden in 1usize..100, seed: u32) {
        for isa in Isa::available() {
            let norm = LayerNorm::new(values(seed, hidden), values(seed ^ 1, hidden), 1e-12);
            let x = values(seed ^ 2, rows * hidden);
            let mut whole = x.clone();
            layer_norm(isa, &norm, &mut whole, None);
            for row in 0..rows {
                let at = row * hidden..(row + 1) * hidden;
                let mut one = x[at.clone()].to_vec();
                layer_norm(isa, &norm, &mut one, None);
                assert_same_bits(isa, &format!("row {row} of {rows}"), &one, &whole[at]);
            }
        }
    }
}
