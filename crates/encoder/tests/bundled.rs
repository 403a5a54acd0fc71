//! The logits of the bundled model on the project's sample, against transformers;
//! `tools/fixtures/bundled_logits.py` in the repository makes the expectations.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::assert_logits;
use serde::Deserialize;
use shoal_encoder::{Model, Session};

#[derive(Deserialize)]
struct Expected {
    id: String,
    logits: Vec<f32>,
}

#[derive(Deserialize)]
struct Review {
    id: String,
    text: String,
}

#[test]
fn logits_of_the_sample_are_those_of_transformers() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let expected = fs::read(root.join("crates/cli/tests/fixtures/bundled_logits.json")).unwrap();
    let expected: Vec<Expected> = serde_json::from_slice(&expected).unwrap();
    let reviews = fs::read_to_string(root.join("examples/reviews.jsonl")).unwrap();
    let texts: HashMap<String, String> = reviews
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|review: Review| (review.id, review.text))
        .collect();
    assert_eq!(expected.len(), 200);
    assert_eq!(texts.len(), expected.len());

    let model = Arc::new(Model::open(&root.join("models/sentiment")).unwrap());
    let mut session = Session::new(Arc::clone(&model));
    for records in expected.chunks(8) {
        let tokens: Vec<_> = records
            .iter()
            .map(|record| model.encode(&texts[&record.id], 512).unwrap())
            .collect();
        let logits = session.run(&tokens);
        for (record, logits) in records.iter().zip(logits.chunks(model.output_width())) {
            assert_logits("sentiment", &record.id, logits, &record.logits, 1e-4);
        }
    }
}
