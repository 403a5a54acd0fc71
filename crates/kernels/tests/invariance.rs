//! Tests that a row's result does not depend on the rows around it: every split gives the same
//! bits.

mod common;

use common::{PRECISIONS, Record, normal_values, values};
use proptest::prelude::*;
use shoal_kernels::{
    AttentionScratch, Heads, Isa, LayerNorm, Linear, LinearScratch, Precision, Rows, RowsMut, View,
    attention, layer_norm,
};

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

/// Splits `0..len` into parts whose sizes cycle through `cuts`.
fn parts(len: usize, cuts: &[usize]) -> Vec<std::ops::Range<usize>> {
    let mut first = 0;
    let mut parts = Vec::new();
    for &cut in cuts.iter().cycle() {
        if first == len {
            break;
        }
        let end = (first + cut).min(len);
        parts.push(first..end);
        first = end;
    }
    parts
}

/// The result of the queries `first..first + count`, without gaps between its rows.
fn attend(
    isa: Isa,
    precision: Precision,
    record: &Record,
    first: usize,
    count: usize,
    scratch: &mut AttentionScratch,
) -> Vec<f32> {
    let hidden = record.heads.hidden();
    let mut out = vec![f32::NAN; count * hidden];
    let input = record.input(first, count);
    let to = RowsMut::new(&mut out, hidden);
    attention(isa, precision, input, to, scratch);
    out
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn linear_rows_are_independent(
        rows in 1usize..40,
        inputs in 1usize..90,
        outputs in 1usize..120,
        gap in 0usize..5,
        cuts in proptest::collection::vec(1usize..12, 1..40),
        seed: u32,
    ) {
        for isa in Isa::available() {
            for precision in PRECISIONS {
                let weight = values(seed, outputs * inputs);
                let bias = values(seed ^ 1, outputs);
                let layer = Linear::pack(isa, precision, &weight, &bias, inputs);
                let x = values(seed ^ 2, rows * inputs);
                let mut scratch = LinearScratch::default();
                let mut whole = vec![0.0; rows * outputs];
                let to = RowsMut::new(&mut whole, outputs);
                layer.forward(rows, Rows::new(&x, inputs), to, &mut scratch);
                for part in parts(rows, &cuts) {
                    // These rows have gaps between them, and the scratch memory was used before.
                    let (from, to) = (inputs + gap, outputs + gap);
                    let mut x_part = vec![f32::NAN; part.len() * from];
                    for (apart, row) in x_part.chunks_mut(from).zip(part.clone()) {
                        apart[..inputs].copy_from_slice(&x[row * inputs..][..inputs]);
                    }
                    let mut y = vec![0.0; part.len() * to];
                    layer.forward(
                        part.len(),
                        Rows::new(&x_part, from),
                        RowsMut::new(&mut y, to),
                        &mut scratch,
                    );
                    for (y, row) in y.chunks(to).zip(part) {
                        let what = format!("{precision:?}, row {row} of {rows}");
                        let expected = &whole[row * outputs..][..outputs];
                        assert_same_bits(isa, &what, &y[..outputs], expected);
                    }
                }
            }
        }
    }

    #[test]
    fn queries_may_be_split_in_any_way(
        keys in 1usize..120,
        count in 1usize..4,
        dim in 1usize..40,
        cuts in proptest::collection::vec(1usize..60, 1..40),
        seed: u32,
    ) {
        let record = Record::new(Heads { count, dim }, keys, keys, seed, normal_values);
        let hidden = record.heads.hidden();
        for isa in Isa::available() {
            for precision in PRECISIONS {
                let mut scratch = AttentionScratch::default();
                let whole = attend(isa, precision, &record, 0, keys, &mut scratch);
                for part in parts(keys, &cuts) {
                    let what = format!("{precision:?}, queries {part:?} of {keys}");
                    let (first, count) = (part.start, part.len());
                    let y = attend(isa, precision, &record, first, count, &mut scratch);
                    let expected = &whole[first * hidden..][..count * hidden];
                    assert_same_bits(isa, &what, &y, expected);
                }
            }
        }
    }

    #[test]
    fn a_result_does_not_depend_on_previous_uses_of_the_scratch(
        one in (1usize..150, 1usize..4, 1usize..70),
        others in proptest::collection::vec((1usize..150, 1usize..4, 1usize..70), 1..4),
        seed: u32,
    ) {
        let record = |(keys, count, dim): (usize, usize, usize), seed| {
            Record::new(Heads { count, dim }, keys, keys, seed, normal_values)
        };
        let one = record(one, seed);
        for isa in Isa::available() {
            for precision in PRECISIONS {
                let mut scratch = AttentionScratch::default();
                let expected = attend(isa, precision, &one, 0, one.queries, &mut scratch);
                let mut scratch = AttentionScratch::default();
                for (i, &other) in others.iter().enumerate() {
                    let mut other = record(other, seed ^ (i as u32 + 1));
                    // Even a NaN in the scratch memory must have no effect.
                    if i == 0 {
                        other.data.fill(f32::NAN);
                    }
                    attend(isa, precision, &other, 0, other.queries, &mut scratch);
                }
                let actual = attend(isa, precision, &one, 0, one.queries, &mut scratch);
                assert_same_bits(isa, &format!("{precision:?}"), &actual, &expected);
            }
        }
    }

    #[test]
    fn normalized_rows_are_independent(rows in 1usize..8, hidden in 1usize..100, seed: u32) {
        for isa in Isa::available() {
            let parameters = |seed| View::from_slice(&values(seed, hidden));
            let norm = LayerNorm::new(parameters(seed), parameters(seed ^ 1), 1e-12);
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

proptest! {
    #![proptest_config(cases(6))]

    /// These records have several blocks of keys, across which the softmax is updated.
    #[test]
    fn queries_of_long_records_may_be_split_in_any_way(
        keys in 500usize..1100,
        dim in 1usize..20,
        cuts in proptest::collection::vec(1usize..60, 1..40),
        seed: u32,
    ) {
        let record = Record::new(Heads { count: 1, dim }, 100, keys, seed, normal_values);
        for isa in Isa::available() {
            for precision in PRECISIONS {
                let mut scratch = AttentionScratch::default();
                let whole = attend(isa, precision, &record, 0, 100, &mut scratch);
                for part in parts(100, &cuts) {
                    let what = format!("{precision:?}, queries {part:?} of {keys}");
                    let (first, count) = (part.start, part.len());
                    let y = attend(isa, precision, &record, first, count, &mut scratch);
                    let expected = &whole[first * dim..][..count * dim];
                    assert_same_bits(isa, &what, &y, expected);
                }
            }
        }
    }
}
