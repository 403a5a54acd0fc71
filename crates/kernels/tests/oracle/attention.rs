//! Attention.

use shoal_kernels::{
    AttentionInput, AttentionScratch, Heads, Isa, Precision, Rows, RowsMut, attention,
};

use crate::common::{PRECISIONS, Record, byte_limits, normal_values, values};
use crate::naive;
use crate::{around, assert_close, assert_within, instruction_sets, rms};

/// The kernel's result for a record, with `gap` elements between rows. Fails if anything else is
/// written.
pub(crate) fn attend(
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
        let gap = &row[hidden..];
        assert!(
            gap.iter().all(|v| v.to_bits() == before.to_bits()),
            "{isa:?} {precision:?} attention wrote outside its rows"
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
    naive::attention(record.heads, &q, &kv)
}

/// The largest error of each element of the result that 8-bit quantization can cause.
///
/// The error of a score is at most dⱼ = scale · Σ (|dq| |k| + |q| |dk| + |dq| |dk|). The error of
/// its weight tⱼ = exp(score − maximum) is therefore at most tⱼ (exp(dⱼ) (1 + 10⁻⁴) − 1), which
/// includes the error of the coarse `exp2`, plus exp(max dⱼ) / 510 for rounding to multiples of
/// 1/255 of a maximum that may be too large. With E the sum of these errors and T the sum of the
/// weights, the normalized weights change by at most 2 E / T in total, which is multiplied by the
/// largest |v| of the column. Rounding the values adds half a unit, and a unit is a 127th of that
/// largest |v|.
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
            let (dq, q_size) = (largest(q) / 127.0 / 2.0, sum_of_sizes(q));
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
                // The `f32` score is rounded, too.
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
                // Two weighted means of the values differ by at most twice the largest.
                let share = (2.0 * errors / weights + 0.5 / 127.0).min(2.0);
                *bound = 1.01 * share * largest + 1e-6;
            }
        }
    }
    bounds
}

/// Compares with the oracle on every instruction set, in both precisions. `atol` and `rtol` apply
/// to `f32`.
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
            // These instruction sets compute attention in `f32`.
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
fn attention_matches_for_any_length() {
    let mut lengths: Vec<usize> = instruction_sets()
        .into_iter()
        .flat_map(|isa| [isa.target().tile().columns, isa.target().tile().lanes])
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
fn attention_matches_for_any_number_of_queries() {
    instruction_sets();
    for queries in (1..18).chain([47, 48, 49, 95, 96, 97]) {
        let record = Record::new(Heads { count: 2, dim: 20 }, queries, 33, 6, normal_values);
        check_attention("attention", &record, 1e-5, 1e-5);
    }
}

#[test]
fn attention_matches_over_several_blocks_of_keys() {
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
fn attention_matches_for_wide_scores() {
    instruction_sets();
    for keys in [1, 40, 97, 600] {
        for heads in HEADS {
            let record = Record::new(heads, 9, keys, 8, normal_values).scale_queries(4.0);
            check_attention("wide scores", &record, 3e-5, 1e-5);
        }
    }
}

#[test]
fn attention_matches_for_scores_beyond_the_range_of_exp() {
    instruction_sets();
    let heads = Heads { count: 1, dim: 4 };
    for keys in [20, 1100] {
        let record = Record::new(heads, 5, keys, 9, values).scale_queries(300.0);
        check_attention("scores beyond exp", &record, 2e-4, 1e-4);
    }
}

#[test]
fn attention_matches_for_blocks_of_keys_with_very_different_maxima() {
    instruction_sets();
    let heads = Heads { count: 2, dim: 8 };
    // The largest scores are in the first, the second or the last block, or fall or rise through
    // all blocks.
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
            // All queries are positive, so that an offset of the keys shifts all scores equally.
            row[..hidden].iter_mut().for_each(|v| *v = v.abs() + 0.5);
            row[hidden..2 * hidden]
                .iter_mut()
                .for_each(|v| *v += factors[token / 512] / 8.0);
        }
        check_attention(&format!("{factors:?}"), &record, 1e-4, 1e-4);
    }
}

#[test]
fn int8_attention_is_usually_far_closer_than_its_bounds() {
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
            let typical = rms(off);
            println!(
                "{isa:?}, {keys} keys: RMS error {:.3} % of the largest |v|, maximum {:.3} %",
                100.0 * typical,
                100.0 * worst
            );
            // Half a unit of the values is 0.4 % of the largest. Over many keys these errors and
            // those of the weights average out.
            assert!(typical < 0.002, "{isa:?}, {keys} keys: {typical}");
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

/// Runs attention with one head of 2 elements, two queries, and operands of these lengths.
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
#[should_panic(expected = "3 elements with a row stride of 2 do not hold 2 rows of 2")]
fn attention_refuses_too_few_queries() {
    attend_to(3, 6, 6, 3, 4);
}

#[test]
#[should_panic(expected = "5 elements with a row stride of 2 do not hold 3 rows of 2")]
fn attention_refuses_too_few_keys() {
    attend_to(4, 5, 6, 3, 4);
}

#[test]
#[should_panic(expected = "5 elements with a row stride of 2 do not hold 3 rows of 2")]
fn attention_refuses_too_few_values() {
    attend_to(4, 6, 5, 3, 4);
}

#[test]
#[should_panic(expected = "3 elements with a row stride of 2 do not hold 2 rows of 2")]
fn attention_refuses_a_result_that_is_too_short() {
    attend_to(4, 6, 6, 3, 3);
}
