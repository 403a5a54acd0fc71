//! Pooling and normalization of embeddings. Each value is one chain of additions over the tokens of its
//! record, in their order, so that it does not depend on other records.

use crate::embedding::Pooling;

/// Pools one record's `states` (`[tokens, hidden]`) by each of `modes` into `out`
/// (`[modes, hidden]`), without the first `skipped` tokens.
pub(crate) fn pool(
    modes: &[Pooling],
    states: &[f32],
    hidden: usize,
    skipped: usize,
    out: &mut [f32],
) {
    let tokens = states.len() / hidden;
    let kept = states.get(skipped * hidden..).unwrap_or(&[]);
    let count = (kept.len() / hidden) as f32;
    for (mode, out) in modes.iter().zip(out.chunks_exact_mut(hidden)) {
        match mode {
            Pooling::Cls => {
                let first = first_token(tokens, skipped);
                out.copy_from_slice(&states[first * hidden..][..hidden]);
            }
            Pooling::Max => {
                out.fill(f32::NEG_INFINITY);
                for row in kept.chunks_exact(hidden) {
                    for (max, &value) in out.iter_mut().zip(row) {
                        // Unlike `max`, this keeps a NaN.
                        *max = if value > *max || value.is_nan() {
                            value
                        } else {
                            *max
                        };
                    }
                }
            }
            Pooling::Mean => {
                add_weighted(kept, |_| 1.0, out);
                divide(out, count.max(1e-9));
            }
            Pooling::MeanSqrtLen => {
                add_weighted(kept, |_| 1.0, out);
                divide(out, count.max(1e-9).sqrt());
            }
            Pooling::WeightedMean => {
                let weight = |index: usize| (skipped + index + 1) as f32;
                add_weighted(kept, weight, out);
                let sum: f32 = (0..kept.len() / hidden).map(weight).sum();
                divide(out, sum.max(1e-9));
            }
            Pooling::LastToken => match kept.chunks_exact(hidden).next_back() {
                Some(last) => out.copy_from_slice(last),
                None => out.fill(0.0),
            },
        }
    }
}

/// The token that [`Pooling::Cls`] takes of a record.
pub(crate) fn first_token(tokens: usize, skipped: usize) -> usize {
    if skipped < tokens { skipped } else { 0 }
}

/// Replaces `out` with the sum of `rows`, each multiplied by the weight of its index.
fn add_weighted(rows: &[f32], weight: impl Fn(usize) -> f32, out: &mut [f32]) {
    out.fill(0.0);
    for (index, row) in rows.chunks_exact(out.len()).enumerate() {
        let weight = weight(index);
        for (sum, value) in out.iter_mut().zip(row) {
            *sum += weight * value;
        }
    }
}

fn divide(values: &mut [f32], divisor: f32) {
    for value in values {
        *value /= divisor;
    }
}

/// Divides `row` by its Euclidean norm, or by 10⁻¹² if that is larger.
pub(crate) fn normalize(row: &mut [f32]) {
    let squares: f64 = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
    divide(row, squares.sqrt().max(1e-12) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of all modes, one after the other.
    fn pooled(states: &[f32], skipped: usize) -> Vec<f32> {
        let mut out = vec![9.0; Pooling::ALL.len()];
        pool(&Pooling::ALL, states, 1, skipped, &mut out);
        out
    }

    #[test]
    fn skipped_tokens_do_not_count_but_keep_their_positions() {
        let sqrt = 2f32.sqrt();
        assert_eq!(
            pooled(&[5.0, 2.0, 4.0], 1),
            [
                2.0,
                4.0,
                3.0,
                6.0 / sqrt,
                (2.0 * 2.0 + 3.0 * 4.0) / 5.0,
                4.0
            ]
        );
    }

    #[test]
    fn without_tokens_the_result_is_that_of_sentence_transformers() {
        for skipped in [2, 3, 100] {
            let none = [5.0, f32::NEG_INFINITY, 0.0, 0.0, 0.0, 0.0];
            assert_eq!(pooled(&[5.0, 2.0], skipped), none);
        }
    }

    #[test]
    fn a_value_that_is_not_a_number_reaches_the_result() {
        assert!(
            pooled(&[1.0, f32::NAN, 2.0], 0)[1..5]
                .iter()
                .all(|v| v.is_nan())
        );
    }

    #[test]
    fn zeros_stay_zeros_when_normalized() {
        let mut row = [0.0, 0.0];
        normalize(&mut row);
        assert_eq!(row, [0.0, 0.0]);
        let mut row = [3.0, -4.0];
        normalize(&mut row);
        assert_eq!(row, [0.6, -0.8]);
    }
}
