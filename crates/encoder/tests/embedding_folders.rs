//! Folders of sentence-transformers: what they are opened for, what their fingerprint covers, and an error
//! that names the file and the setting for those that are damaged or not supported.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::fixture;
use serde_json::{Value, json};
use shoal_encoder::packed::{Container, reseal};
use shoal_encoder::{Checkpoint, Isa, Model, ModelError, Packed, Precision, Purpose};
use shoal_kernels::copy_aligned;
use tempfile::TempDir;

fn folder(model: &str) -> PathBuf {
    fixture("embedding").join(model)
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
    let cases: [(&str, Change, &[&str]); 13] = [
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
            &["1000 pooling modes"],
        ),
        (
            "1_Pooling/config.json",
            |c| c["pooling_mode"] = json!([]),
            &["0 pooling modes"],
        ),
        (
            "2_Dense/config.json",
            |c| c["in_features"] = json!(1u64 << 40),
            &["reads 1099511627776 values", "gets 32"],
        ),
        (
            "2_Dense/config.json",
            |c| {
                c["bias"] = json!(false);
                c["out_features"] = json!(1u64 << 60);
            },
            &["out_features is 1152921504606846976"],
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
fn arguments_of_the_transformer_are_honoured_or_refused() {
    let with = |change: Value| {
        let folder = copy("dense-tanh-saved");
        let path = folder.path().join("sentence_bert_config.json");
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let change = change.as_object().unwrap().clone();
        value.as_object_mut().unwrap().extend(change);
        fs::write(&path, value.to_string()).unwrap();
        Model::open(folder.path())
    };
    for (change, key) in [
        (
            json!({"processor_kwargs": {"do_lower_case": true}}),
            "processor_kwargs.do_lower_case",
        ),
        (
            json!({"tokenizer_args": {"truncation_side": "left"}}),
            "tokenizer_args.truncation_side",
        ),
        (
            json!({"model_args": {"hidden_act": "relu"}}),
            "model_args.hidden_act",
        ),
        (
            json!({"config_args": {"num_hidden_layers": 1}}),
            "config_args.num_hidden_layers",
        ),
        (
            json!({"processing_kwargs": {"text": {"max_length": 8}}}),
            "processing_kwargs",
        ),
        (
            json!({"processing_kwargs": {"common": {"truncation": false}}}),
            "processing_kwargs",
        ),
        (json!({"transformer_task": "fill-mask"}), "transformer_task"),
        (
            json!({"module_output_name": "sentence_embedding"}),
            "module_output_name",
        ),
        (
            json!({"modality_config": {"text": {"method": "forward", "method_output_name": "logits"}}}),
            "modality_config",
        ),
        (json!({"query_length": 8}), "query_length"),
        (
            json!({"tokenizer_name_or_path": "bert-base-cased"}),
            "tokenizer_name_or_path",
        ),
    ] {
        let error = match with(change) {
            Ok(_) => panic!("{key} is not refused"),
            Err(error) => error.to_string(),
        };
        let says = format!("sentence_bert_config.json sets {key} to");
        assert!(error.contains(&says), "{error}");
    }
    let default = with(json!({})).unwrap().max_tokens();
    for (change, limit) in [
        (json!({"max_seq_length": 9}), 9),
        (json!({"processor_kwargs": {"model_max_length": 8}}), 8),
        (
            json!({"tokenizer_args": {"model_max_length": 8}, "max_seq_length": 9}),
            8,
        ),
        (
            json!({
                "model_args": {"torch_dtype": "float16", "attn_implementation": "sdpa"},
                "config_args": {"trust_remote_code": false},
                "processor_kwargs": null, "query_length": null, "unpad_inputs": false,
            }),
            default,
        ),
    ] {
        let found = with(change.clone()).unwrap().max_tokens();
        assert_eq!(found, limit, "{change}");
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

/// An embedding model in `int8`, as a file.
fn packed_bytes(isa: Isa) -> Vec<u8> {
    let checkpoint = Checkpoint::open(&folder("dense-tanh-saved")).unwrap();
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
    fs::read(&path).unwrap()
}

/// Seals `bytes` and returns why they are refused.
fn refusal(isa: Isa, mut bytes: Vec<u8>, change: &str) -> ModelError {
    reseal(&mut bytes);
    let container = Container::from_bytes(copy_aligned(&bytes), "model.shoal");
    let model = container.and_then(|container| Model::read(&container, &[isa]));
    let error = model.err();
    error.unwrap_or_else(|| panic!("opened after a change of {change}"))
}

#[test]
fn factors_that_are_not_finite_or_have_another_length_are_refused() {
    let isa = Isa::best();
    let whole = packed_bytes(isa);
    let container = Container::from_bytes(copy_aligned(&whole), "model.shoal").unwrap();
    let smoothed: Vec<String> = container
        .sections()
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.ends_with(".smoothing"))
        .collect();
    for part in ["query", "key", "value", "expand"] {
        let name = format!("layers.0.{part}.smoothing");
        assert!(smoothed.contains(&name), "{name} is not in {smoothed:?}");
        let factors = container.section(&name).unwrap();
        let at = whole
            .windows(factors.len())
            .position(|bytes| bytes == &factors[..])
            .unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut bytes = whole.clone();
            bytes[at + 4..][..4].copy_from_slice(&bad.to_le_bytes());
            let error = refusal(isa, bytes, &name);
            assert!(matches!(error, ModelError::Malformed { .. }), "{error:?}");
            assert!(error.to_string().contains("not finite"), "{error}");
        }
    }
    let length = |bytes: &mut [u8]| {
        let name = b"layers.0.expand.smoothing";
        let at = bytes.windows(name.len()).position(|part| part == name);
        let at = at.unwrap();
        let key = b"\"length\":128";
        let length = bytes[at..]
            .windows(key.len())
            .position(|part| part == key)
            .unwrap();
        assert!(length < 60);
        bytes[at + length..][..key.len()].copy_from_slice(b"\"length\":124");
    };
    let mut bytes = whole.clone();
    length(&mut bytes);
    let error = refusal(isa, bytes, "a length");
    assert!(matches!(error, ModelError::Malformed { .. }), "{error:?}");
    assert!(
        error.to_string().contains("31 elements instead of 32"),
        "{error}"
    );
}

#[test]
fn sealed_files_with_another_embedding_are_refused() {
    let isa = Isa::best();
    let whole = packed_bytes(isa);
    for (from, to) in [
        ("\"outputs\":24", "\"outputs\":25"),
        ("\"outputs\":24", "\"outputs\":0 "),
        ("\"inputs\":32", "\"inputs\":31"),
        ("\"dimensions\":24", "\"dimensions\":99"),
        ("\"pooling\":[\"mean\"]", "\"pooling\":[]      "),
        ("\"pooling\":[\"mean\"]", "\"pooling\":[\"meen\"]"),
        ("\"tanh\"", "\"tenh\""),
        ("head.0.", "head.1."),
        ("layers.0.expand.smoothing", "layers.9.expand.smoothing"),
    ] {
        assert_eq!(from.len(), to.len());
        let at = whole
            .windows(from.len())
            .position(|part| part == from.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{from} is not in the file"));
        let mut bytes = whole.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        let error = refusal(isa, bytes, from);
        assert!(matches!(error, ModelError::Malformed { .. }), "{error:?}");
    }
}
