//! Logits and token ids against transformers (PyTorch), for small random models of both families;
//! `tools/fixtures/make_models.py` in the repository makes the expectations.

mod common;

use std::sync::Arc;

use common::{Record, assert_logits, expected, fixture};
use proptest::prelude::*;
use serde_json::json;
use shoal_encoder::{
    Checkpoint, Classifier, Isa, Model, ModelFiles, Objective, Precision, Purpose, Session, Tokens,
};

/// What "the same" means for logits of two implementations in `f32`.
const TOLERANCE: f32 = 1e-4;

fn encode_all(model: &Model, records: &[Record]) -> Vec<Tokens> {
    records
        .iter()
        .map(|record| model.encode(&record.text, record.max_tokens).unwrap())
        .collect()
}

#[test]
fn token_ids_and_truncation_are_those_of_transformers() {
    for case in expected() {
        let model = Model::open(&fixture(&case.model)).unwrap();
        for record in &case.records {
            let tokens = model.encode(&record.text, record.max_tokens).unwrap();
            let of = format!("{} {:?} at {}", case.model, record.text, record.max_tokens);
            assert_eq!(tokens.ids, record.ids, "{of}");
            assert_eq!(tokens.truncated, record.truncated, "{of}");
        }
    }
}

#[test]
fn logits_are_those_of_transformers() {
    for case in expected() {
        let model = Arc::new(Model::open(&fixture(&case.model)).unwrap());
        assert_eq!(
            model.classifier().unwrap().labels,
            case.labels,
            "{}",
            case.model
        );
        let mut session = Session::new(Arc::clone(&model));
        for record in &case.records {
            let tokens = model.encode(&record.text, record.max_tokens).unwrap();
            let logits = session.run(&[tokens]);
            assert_logits(&case.model, &record.text, logits, &record.logits, TOLERANCE);
        }
    }
}

#[test]
fn expectations_tell_records_apart() {
    // Otherwise the comparison above would prove little.
    for case in expected() {
        let first = &case.records[0].logits;
        let apart = case.records.iter().any(|record| {
            let difference = |(a, b): (&f32, &f32)| (a - b).abs() > 100.0 * TOLERANCE;
            record.logits.iter().zip(first).any(difference)
        });
        assert!(apart, "{}", case.model);
    }
}

#[test]
fn logits_are_the_same_bits_for_every_cut() {
    for case in expected() {
        let model = Arc::new(Model::open(&fixture(&case.model)).unwrap());
        let tokens = encode_all(&model, &case.records);
        let labels = model.output_width();
        let mut alone = Vec::new();
        for record in &tokens {
            // A fresh session: no scratch of a longer record before it.
            alone.extend_from_slice(
                Session::new(Arc::clone(&model)).run(std::slice::from_ref(record)),
            );
        }
        let mut session = Session::new(Arc::clone(&model));
        for size in [1, 2, 3, 7, tokens.len()] {
            let together: Vec<f32> = tokens
                .chunks(size)
                .flat_map(|records| session.run(records).to_vec())
                .collect();
            for (index, (a, b)) in together
                .chunks(labels)
                .zip(alone.chunks(labels))
                .enumerate()
            {
                assert_eq!(
                    bits(a),
                    bits(b),
                    "{} record {index}, cut by {size}",
                    case.model
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn logits_do_not_depend_on_company(
        lengths in proptest::collection::vec(1usize..64, 1..12),
        seed: u32,
    ) {
        for name in ["distilbert-f32", "bert-bf16-sharded"] {
            let model = Arc::new(Model::open(&fixture(name)).unwrap());
            let mut state = seed;
            let records: Vec<Tokens> = lengths
                .iter()
                .map(|&length| {
                    let ids = (0..length).map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 8) % model.plan().vocabulary() as u32
                    });
                    Tokens::from_ids(ids.collect())
                })
                .collect();
            let mut session = Session::new(Arc::clone(&model));
            let labels = model.output_width();
            let together = session.run(&records).to_vec();
            for (index, record) in records.iter().enumerate() {
                let alone = session.run(std::slice::from_ref(record));
                prop_assert_eq!(bits(alone), bits(&together[index * labels..][..labels]));
            }
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn no_records_give_no_logits() {
    let model = Arc::new(Model::open(&fixture("bert-f32")).unwrap());
    assert!(Session::new(model).run(&[]).is_empty());
}

#[test]
fn a_model_in_memory_is_the_model_of_the_folder() {
    let folder = fixture("distilbert-f16");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let weights = read("model.safetensors");
    let opened = Arc::new(Model::open(&folder).unwrap());
    let tokens = opened.encode("a good movie", 64).unwrap();
    let expected = Session::new(opened)
        .run(std::slice::from_ref(&tokens))
        .to_vec();
    for shift in 0..4 {
        // Bytes compiled into a program may start anywhere.
        let mut moved = vec![0; shift];
        moved.extend_from_slice(&weights);
        let moved: &'static [u8] = &moved.leak()[shift..];
        let checkpoint = Checkpoint::from_files(ModelFiles {
            config: &read("config.json"),
            tokenizer: &read("tokenizer.json"),
            weights: moved,
        });
        let model = Model::pack(
            &checkpoint.unwrap(),
            "test".into(),
            Purpose::Classify,
            Precision::F32,
            Isa::best(),
        )
        .unwrap();
        assert_eq!(model.encode("a good movie", 64).unwrap(), tokens);
        let logits = Session::new(Arc::new(model))
            .run(std::slice::from_ref(&tokens))
            .to_vec();
        assert_eq!(bits(&logits), bits(&expected), "moved by {shift}");
    }
}

#[test]
fn objectives_and_limits_come_from_the_configuration() {
    let of = |name| Model::open(&fixture(name)).unwrap();
    assert_eq!(
        of("distilbert-f16").classifier().unwrap().objective,
        Objective::SingleLabel
    );
    assert_eq!(
        of("bert-f32").classifier().unwrap().objective,
        Objective::SingleLabel
    );
    assert_eq!(
        of("bert-cased-multi").classifier().unwrap().objective,
        Objective::MultiLabel
    );
    assert_eq!(
        of("distilbert-regression").classifier().unwrap().objective,
        Objective::Regression
    );
    assert_eq!(of("bert-f32").max_tokens(), 64);
    assert_eq!(of("distilbert-positions").max_tokens(), 300);
}

/// As `pipelines/text_classification.py` of transformers 5.24 chooses between softmax, sigmoid and nothing.
#[test]
fn the_objective_follows_problem_type_and_labels() {
    let of = |problem_type: Option<&str>, labels: u32| {
        let config = json!({"num_labels": labels, "problem_type": problem_type});
        Classifier::from_config(&config).unwrap().objective
    };
    for problem_type in [None, Some("single_label_classification")] {
        assert_eq!(of(problem_type, 1), Objective::MultiLabel);
        assert_eq!(of(problem_type, 2), Objective::SingleLabel);
    }
    for labels in [1, 2] {
        let multi = Some("multi_label_classification");
        assert_eq!(of(multi, labels), Objective::MultiLabel);
        assert_eq!(of(Some("regression"), labels), Objective::Regression);
    }
}

#[test]
fn scores_follow_the_objective() {
    let mut scores = vec![9.0; 7];
    Objective::SingleLabel.probabilities(&[0.0, 0.0, f32::ln(2.0)], &mut scores);
    assert_logits("softmax", "", &scores, &[0.25, 0.25, 0.5], 1e-6);
    Objective::MultiLabel.probabilities(&[0.0, f32::ln(3.0)], &mut scores);
    assert_logits("sigmoid", "", &scores, &[0.5, 0.75], 1e-6);
    Objective::Regression.probabilities(&[-3.5], &mut scores);
    assert_eq!(scores, [-3.5]);
}

#[test]
#[should_panic(expected = "at least one token")]
fn a_record_without_tokens_is_refused() {
    let model = Arc::new(Model::open(&fixture("bert-f32")).unwrap());
    Session::new(model).run(&[Tokens::default()]);
}

#[test]
#[should_panic(expected = "beyond the model's vocabulary")]
fn an_unknown_id_is_refused() {
    let model = Arc::new(Model::open(&fixture("bert-f32")).unwrap());
    let tokens = Tokens::from_ids(vec![3, 1_000_000]);
    Session::new(model).run(&[tokens]);
}
