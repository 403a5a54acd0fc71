//! The fixtures.

// Each test file uses its part of this.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) labels: Vec<String>,
    pub(crate) records: Vec<Record>,
}

#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) text: String,
    pub(crate) max_tokens: usize,
    pub(crate) ids: Vec<u32>,
    pub(crate) truncated: bool,
    pub(crate) logits: Vec<f32>,
}

/// A model folder of the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// What transformers gives.
pub(crate) fn expected() -> Vec<Case> {
    let text = fs::read(fixture("expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&text).unwrap();
    assert!(!cases.is_empty());
    cases
}

#[track_caller]
pub(crate) fn assert_logits(
    model: &str,
    text: &str,
    actual: &[f32],
    expected: &[f32],
    tolerance: f32,
) {
    assert_eq!(actual.len(), expected.len(), "{model} {text:?}");
    for (label, (a, e)) in actual.iter().zip(expected).enumerate() {
        let difference = (a - e).abs();
        assert!(
            difference <= tolerance,
            "{model} {text:?}: logit {label} is {a}, expected {e} (difference {difference:e})"
        );
    }
}
