//! Compares every kernel, on every instruction set that this CPU supports, with the naive loops.

mod attention;
#[path = "../common/mod.rs"]
mod common;
mod elementwise;
mod linear;
mod naive;
mod not_finite;

use shoal_kernels::Isa;

/// Every instruction set that this CPU supports; prints their names.
fn instruction_sets() -> Vec<Isa> {
    let found = Isa::available();
    println!("tested: {found:?}");
    found
}

/// Fails with the worst element if any differs from the expected value by more than `atol + rtol *
/// |expected|`.
#[track_caller]
fn assert_close(isa: Isa, what: &str, actual: &[f32], expected: &[f32], atol: f32, rtol: f32) {
    let tolerances: Vec<f64> = expected
        .iter()
        .map(|v| f64::from(atol + rtol * v.abs()))
        .collect();
    assert_within(isa, what, actual, expected, &tolerances);
}

/// Fails with the worst element if any differs from the expected value by more than its tolerance.
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
        // NaN compares as not greater than the limit; treat it as infinite.
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

/// The root mean square.
fn rms(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for v in values {
        sum += v * v;
        count += 1;
    }
    (sum / f64::from(count.max(1))).sqrt()
}

/// 0, 1, 2, and the numbers around `edge` and `2 * edge`.
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
