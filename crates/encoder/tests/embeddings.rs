//! Sentence embeddings and token ids against sentence-transformers, for small random models;
//! `tools/make_embedding_fixtures.py` in the repository makes the expectations.

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::fixture;
use serde::Deserialize;
use shoal_encoder::{
    Checkpoint, Isa, Model, Packed, Pooling, Precision, Purpose, Session, Target, Tokens,
};

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    dimension: usize,
    max_seq_length: usize,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    normalize_embeddings: bool,
    truncate_dim: Option<usize>,
    prompt_name: Option<String>,
    prompt: Option<String>,
    prompt_length: Option<usize>,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    text: usize,
    ids: Vec<u32>,
    embedding: Vec<f32>,
}

fn expected() -> Expected {
    let text = fs::read(fixture("embedding/expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&text).unwrap();
    assert!(expected.cases.len() >= 20);
    expected
}

fn folder(model: &str) -> PathBuf {
    fixture("embedding").join(model)
}

fn pack(model: &str, precision: Precision, isa: Isa) -> Arc<Model> {
    let checkpoint = Checkpoint::open(&folder(model)).unwrap();
    assert_eq!(checkpoint.default_purpose(), Purpose::Embed, "{model}");
    let model = Model::pack(&checkpoint, "test".into(), Purpose::Embed, precision, isa);
    Arc::new(model.unwrap())
}

fn every_way() -> impl Iterator<Item = (Precision, Isa)> {
    let isas = |precision| {
        Isa::available()
            .into_iter()
            .map(move |isa| (precision, isa))
    };
    Precision::ALL.into_iter().flat_map(isas)
}

impl Call {
    /// The prompt, as `_resolve_prompt` in `base/model.py` of sentence-transformers chooses it.
    fn prompt<'a>(&'a self, model: &'a Model) -> &'a str {
        let spec = model.embedding().unwrap();
        let name = self.prompt_name.as_ref().or(spec.default_prompt.as_ref());
        match (&self.prompt, name) {
            (Some(prompt), _) => prompt,
            (None, Some(name)) => &spec.prompts[name],
            (None, None) => "",
        }
    }

    fn encode(&self, model: &Model, texts: &[String]) -> Vec<Tokens> {
        let prompt = self.prompt(model);
        self.records
            .iter()
            .map(|record| {
                let text = &texts[record.text];
                model.encode_with_prompt(prompt, text, usize::MAX).unwrap()
            })
            .collect()
    }

    /// What `encode` does after the last module.
    fn finish(&self, model: &Model, embedding: &[f32]) -> Vec<f32> {
        let dimensions = self
            .truncate_dim
            .or(model.embedding().unwrap().truncate_dim);
        let mut embedding = embedding[..dimensions.unwrap_or(embedding.len())].to_vec();
        if self.normalize_embeddings {
            let norm = embedding
                .iter()
                .map(|v| v * v)
                .sum::<f32>()
                .sqrt()
                .max(1e-12);
            embedding.iter_mut().for_each(|v| *v /= norm);
        }
        embedding
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn token_ids_prompts_and_limits_are_those_of_sentence_transformers() {
    let expected = expected();
    for case in &expected.cases {
        let model = Model::open(&folder(&case.model)).unwrap();
        assert_eq!(model.purpose(), Purpose::Embed, "{}", case.model);
        assert_eq!(model.max_tokens(), case.max_seq_length, "{}", case.model);
        let spec = model.embedding().unwrap();
        assert_eq!(model.output_width(), spec.dimensions, "{}", case.model);
        let dimensions = spec.truncate_dim.unwrap_or(spec.dimensions);
        assert_eq!(dimensions, case.dimension, "{}", case.model);
        assert!(model.classifier().is_none());
        for call in &case.calls {
            for (tokens, record) in call
                .encode(&model, &expected.texts)
                .iter()
                .zip(&call.records)
            {
                let of = format!(
                    "{} text {} of {:?}",
                    case.model,
                    record.text,
                    call.prompt(&model)
                );
                assert_eq!(tokens.ids, record.ids, "{of}");
                let excluded = if spec.include_prompt {
                    None
                } else {
                    call.prompt_length
                };
                assert_eq!(tokens.prompt, excluded.unwrap_or(0), "{of}");
            }
        }
    }
}

/// In `int8`, each product has a noise of about 1 % (8 bits) or 2 % (7 bits); layers of these models
/// are so narrow that little of it averages out, and their values are of the order of 1.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-5,
        Precision::Int8 => 0.3,
    }
}

#[test]
fn embeddings_are_those_of_sentence_transformers_in_every_precision() {
    let expected = expected();
    let mut worst = [0f32; 2];
    for (precision, isa) in every_way() {
        for case in &expected.cases {
            let model = pack(&case.model, precision, isa);
            let mut session = Session::new(Arc::clone(&model));
            for call in &case.calls {
                let tokens = call.encode(&model, &expected.texts);
                let embeddings = session.run(&tokens);
                let embeddings = embeddings.chunks_exact(model.output_width());
                assert_eq!(embeddings.len(), call.records.len());
                for (embedding, record) in embeddings.zip(&call.records) {
                    let embedding = call.finish(&model, embedding);
                    assert_eq!(embedding.len(), record.embedding.len());
                    for (at, (a, e)) in embedding.iter().zip(&record.embedding).enumerate() {
                        // Without tokens, the maximum is −∞ on both sides.
                        let difference = if a == e { 0.0 } else { (a - e).abs() };
                        let worst = &mut worst[precision as usize];
                        *worst = worst.max(difference);
                        assert!(
                            difference <= tolerance(precision),
                            "{} in {precision} on {isa:?}, text {} after {:?}: value {at} is {a}, \
                             expected {e} (difference {difference:e})",
                            case.model,
                            record.text,
                            call.prompt(&model)
                        );
                    }
                }
            }
        }
    }
    println!("greatest difference in f32 and int8: {worst:?}");
}

#[test]
fn embeddings_are_the_same_bits_for_every_cut_and_order() {
    let expected = expected();
    for (precision, isa) in every_way() {
        for case in &expected.cases {
            let model = pack(&case.model, precision, isa);
            let tokens: Vec<Tokens> = case
                .calls
                .iter()
                .flat_map(|call| call.encode(&model, &expected.texts))
                .collect();
            let width = model.output_width();
            let alone: Vec<Vec<u32>> = tokens
                .iter()
                .map(|record| {
                    let mut session = Session::new(Arc::clone(&model));
                    bits(session.run(std::slice::from_ref(record)))
                })
                .collect();
            let mut session = Session::new(Arc::clone(&model));
            let mut order: Vec<usize> = (0..tokens.len()).collect();
            for size in [1, 2, 3, 7, tokens.len()] {
                for records in order.chunks(size) {
                    let batch: Vec<Tokens> = records.iter().map(|&at| tokens[at].clone()).collect();
                    let output = session.run(&batch);
                    for (embedding, &at) in output.chunks_exact(width).zip(records) {
                        let of = format!("{} {precision} {isa:?} record {at}", case.model);
                        assert_eq!(bits(embedding), alone[at], "{of}, cut by {size}");
                    }
                }
                order.reverse();
                order.rotate_left(tokens.len() / 3);
            }
        }
    }
}

#[test]
fn a_packed_file_holds_all_that_an_embedding_needs() {
    let expected = expected();
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("model.shoal");
    for case in &expected.cases {
        let checkpoint = Checkpoint::open(&folder(&case.model)).unwrap();
        for precision in Precision::ALL {
            let packed = Packed::new(
                &checkpoint,
                "test".into(),
                Purpose::Embed,
                precision,
                &Target::ALL,
            );
            packed.unwrap().save(&path).unwrap();
            for isa in Isa::available() {
                let opened = Arc::new(Model::open_packed(&path, &[isa]).unwrap());
                let built = pack(&case.model, precision, isa);
                assert_eq!(opened.embedding(), built.embedding());
                assert_eq!(opened.max_tokens(), built.max_tokens());
                assert_eq!(opened.purpose(), Purpose::Embed);
                for call in &case.calls {
                    let tokens = call.encode(&opened, &expected.texts);
                    assert_eq!(tokens, call.encode(&built, &expected.texts));
                    assert_eq!(
                        bits(Session::new(opened.clone()).run(&tokens)),
                        bits(Session::new(built.clone()).run(&tokens)),
                        "{} {precision} {isa:?}",
                        case.model
                    );
                }
            }
        }
    }
}

/// A classifier's encoder, as sentence-transformers takes a folder of transformers.
#[test]
fn a_classifier_can_be_opened_for_embeddings() {
    for name in ["distilbert-f32", "bert-f32"] {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        assert_eq!(checkpoint.default_purpose(), Purpose::Classify);
        let precision = Precision::F32;
        let model = Model::pack(
            &checkpoint,
            "test".into(),
            Purpose::Embed,
            precision,
            Isa::best(),
        );
        let model = Arc::new(model.unwrap());
        assert_eq!(model.output_width(), model.plan().hidden());
        assert_eq!(model.embedding().unwrap().pooling, [Pooling::Mean]);
        let tokens = model.encode("a good movie", 64).unwrap();
        let mut session = Session::new(model);
        assert!(session.run(&[tokens]).iter().all(|v| v.is_finite()));
    }
}
