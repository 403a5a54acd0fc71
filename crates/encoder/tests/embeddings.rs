//! Sentence embeddings and token ids against sentence-transformers, for small random models;
//! `tools/make_embedding_fixtures.py` in the repository makes the expectations.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::fixture;
use serde::Deserialize;
use serde_json::{Value, json};
use shoal_encoder::packed::{Container, reseal};
use shoal_encoder::{
    Checkpoint, Isa, Model, ModelError, Packed, Pooling, Precision, Purpose, Session, Target,
    Tokens,
};
use shoal_kernels::Bytes;
use tempfile::TempDir;

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

/// A copy of a fixture, to be changed.
fn copy(model: impl AsRef<Path>) -> TempDir {
    fn copy_all(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy_all(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    let copied = tempfile::tempdir().unwrap();
    copy_all(&fixture("embedding").join(model), copied.path());
    copied
}

/// Where `config.json` does not say, the tensors do; a cross-encoder has the files of
/// sentence-transformers too.
#[test]
fn the_default_purpose_is_what_the_folder_was_published_for() {
    let purpose = |folder: &Path| Checkpoint::open(folder).unwrap().default_purpose();
    for (model, says_nothing) in [
        (fixture("bert-f32"), Purpose::Classify),
        (folder("plain"), Purpose::Embed),
    ] {
        let copied = copy(model.strip_prefix(fixture("embedding")).unwrap_or(&model));
        assert_eq!(purpose(copied.path()), says_nothing);
        let path = copied.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        config.as_object_mut().unwrap().remove("architectures");
        fs::write(&path, config.to_string()).unwrap();
        assert_eq!(purpose(copied.path()), says_nothing);
    }
    let copied = copy("cls-old");
    let config = fixture("bert-f32").join("config.json");
    fs::copy(config, copied.path().join("config.json")).unwrap();
    assert_eq!(purpose(copied.path()), Purpose::Embed);
    let path = copied.path().join("config_sentence_transformers.json");
    fs::write(path, r#"{"model_type": "CrossEncoder"}"#).unwrap();
    assert_eq!(purpose(copied.path()), Purpose::Classify);
}

fn open_error(folder: &Path) -> ModelError {
    match Model::open(folder) {
        Ok(_) => panic!("the model must not open"),
        Err(error) => error,
    }
}

/// The error of a fixture after a change to one of its JSON files.
fn error_after(file: &str, change: impl FnOnce(&mut Value)) -> ModelError {
    let folder = copy("dense-tanh-saved");
    let path = folder.path().join(file);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(&path, value.to_string()).unwrap();
    open_error(folder.path())
}

#[test]
fn settings_that_are_not_implemented_are_named() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str]); 11] = [
        (
            "modules.json",
            |m| m[2]["type"] = json!("sentence_transformers.models.LSTM"),
            &[
                "Transformer, Pooling, LSTM, Normalize",
                "Dense and Normalize",
            ],
        ),
        (
            "modules.json",
            |m| m[1]["type"] = json!("custom.Pooling"),
            &["custom.Pooling", "supported are Transformer"],
        ),
        (
            "modules.json",
            |m| drop(m.as_array_mut().unwrap().remove(1)),
            &["Transformer, Dense, Normalize", "then Pooling"],
        ),
        (
            "modules.json",
            |m| m[0]["path"] = json!("0_Transformer"),
            &["0_Transformer", "the model folder itself"],
        ),
        (
            "1_Pooling/config.json",
            |c| c["pooling_mode"] = json!("median"),
            &["1_Pooling/config.json", "\"median\"", "weightedmean"],
        ),
        (
            "2_Dense/config.json",
            |c| c["activation_function"] = json!("torch.nn.modules.activation.Mish"),
            &[
                "2_Dense/config.json",
                "Mish",
                "Tanh, Identity, GELU and ReLU",
            ],
        ),
        (
            "2_Dense/config.json",
            |c| c["activation_function"] = json!("os.Tanh"),
            &["os.Tanh"],
        ),
        (
            "2_Dense/config.json",
            |c| c["use_residual"] = json!(true),
            &["use_residual"],
        ),
        (
            "2_Dense/config.json",
            |c| c["module_input_name"] = json!("token_embeddings"),
            &["token_embeddings", "sentence_embedding"],
        ),
        (
            "3_Normalize/config.json",
            |c| c["module_output_name"] = json!("token_embeddings"),
            &["3_Normalize/config.json", "token_embeddings"],
        ),
        (
            "config_sentence_transformers.json",
            |c| c["model_type"] = json!("SparseEncoder"),
            &["SparseEncoder", "SentenceTransformer"],
        ),
    ];
    for (file, change, says) in cases {
        let error = error_after(file, change);
        assert!(matches!(error, ModelError::Unsupported { .. }), "{error:?}");
        for part in says {
            assert!(
                error.to_string().contains(part),
                "{part:?} is not in {error}"
            );
        }
    }
}

#[test]
fn files_that_contradict_themselves_are_corrupt() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str]); 12] = [
        ("modules.json", |m| *m = json!({}), &["modules.json"]),
        ("modules.json", |m| *m = json!([]), &["0 modules"]),
        (
            "modules.json",
            |m| *m = json!(vec![m[3].clone(); 1000]),
            &["1000 modules", "32"],
        ),
        (
            "modules.json",
            |m| *m = json!([m[0], m[1], m[2], m[2]]),
            &["reads 32 values", "gets 24"],
        ),
        (
            "1_Pooling/config.json",
            |c| c["embedding_dimension"] = json!(33),
            &["1_Pooling/config.json", "33", "32"],
        ),
        (
            "1_Pooling/config.json",
            |c| c["pooling_mode"] = json!(vec!["mean"; 1000]),
            &["1000 ways of pooling"],
        ),
        (
            "1_Pooling/config.json",
            |c| c["pooling_mode"] = json!([]),
            &["0 ways of pooling"],
        ),
        (
            "2_Dense/config.json",
            |c| c["in_features"] = json!(1u64 << 40),
            &["linear.weight", "[24, 32]"],
        ),
        (
            "2_Dense/config.json",
            |c| drop(c.as_object_mut().unwrap().remove("out_features")),
            &["2_Dense/config.json", "out_features"],
        ),
        (
            "config_sentence_transformers.json",
            |c| c["default_prompt_name"] = json!("clustering"),
            &["default_prompt_name", "clustering"],
        ),
        (
            "config_sentence_transformers.json",
            |c| c["truncate_dim"] = json!(0),
            &["truncate_dim"],
        ),
        (
            "config_sentence_transformers.json",
            |c| c["prompts"] = json!({"query": "x".repeat(2 << 20)}),
            &["config_sentence_transformers.json", "at most"],
        ),
    ];
    for (file, change, says) in cases {
        let error = error_after(file, change);
        assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
        for part in says {
            assert!(
                error.to_string().contains(part),
                "{part:?} is not in {error}"
            );
        }
    }
}

#[test]
fn modules_stay_in_their_folder() {
    for path in [
        "../1_Pooling",
        "/etc",
        "1_Pooling/../../x",
        "..",
        ".",
        "a\\b",
    ] {
        let error = error_after("modules.json", |m| m[1]["path"] = json!(path));
        assert!(
            matches!(error, ModelError::Corrupt { .. }),
            "{path}: {error:?}"
        );
        assert!(error.to_string().contains("leads out"), "{error}");
    }
}

#[test]
fn files_of_modules_that_are_missing_are_named() {
    for (file, says) in [
        ("1_Pooling/config.json", "1_Pooling/config.json"),
        ("2_Dense/config.json", "in_features"),
        ("2_Dense/model.safetensors", "2_Dense/model.safetensors"),
    ] {
        let folder = copy("dense-tanh-saved");
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = open_error(folder.path());
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn the_fingerprint_covers_the_files_of_sentence_transformers() {
    let of = |folder: &Path| Checkpoint::fingerprint(folder).unwrap();
    let original = of(&folder("dense-tanh-saved"));
    assert_eq!(original, of(copy("dense-tanh-saved").path()));
    for file in [
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "3_Normalize/config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ] {
        let folder = copy("dense-tanh-saved");
        let path = folder.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        if file.ends_with(".json") {
            *bytes.last_mut().unwrap() ^= 1;
            bytes.push(b'\n');
        }
        fs::write(&path, bytes).unwrap();
        assert_ne!(original, of(folder.path()), "{file}");
    }
}

/// It was noted before there were embeddings; caches and runs are named by it.
#[test]
fn the_fingerprint_of_a_classifier_stays() {
    assert_eq!(
        Checkpoint::fingerprint(&fixture("bert-f32")).unwrap(),
        "3123ef53d095b99fc845ae3cac09cd268410b34d6ee08f175c1b45506dc4ca2e"
    );
}

#[test]
fn sealed_files_with_another_embedding_are_refused() {
    let checkpoint = Checkpoint::open(&folder("dense-tanh-saved")).unwrap();
    let isa = Isa::best();
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("model.shoal");
    Packed::new(
        &checkpoint,
        "test".into(),
        Purpose::Embed,
        Precision::Int8,
        &[isa.target()],
    )
    .unwrap()
    .save(&path)
    .unwrap();
    let whole = fs::read(&path).unwrap();
    for (from, to) in [
        ("\"outputs\":24", "\"outputs\":25"),
        ("\"outputs\":24", "\"outputs\":0 "),
        ("\"inputs\":32", "\"inputs\":31"),
        ("\"dimensions\":24", "\"dimensions\":99"),
        ("\"pooling\":[\"mean\"]", "\"pooling\":[]      "),
        ("\"pooling\":[\"mean\"]", "\"pooling\":[\"meen\"]"),
        ("\"tanh\"", "\"tenh\""),
        ("head.dense.0", "head.dense.1"),
    ] {
        assert_eq!(from.len(), to.len());
        let at = whole
            .windows(from.len())
            .position(|part| part == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in the file"));
        let mut bytes = whole.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        reseal(&mut bytes);
        let container = Container::from_bytes(Bytes::copy_from(&bytes), "model.shoal");
        let model = container.and_then(|container| Model::read(&container, &[isa]));
        let error = model
            .err()
            .unwrap_or_else(|| panic!("{from} → {to} opened"));
        assert!(matches!(error, ModelError::Malformed { .. }), "{error:?}");
    }
}
