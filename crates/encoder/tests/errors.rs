//! Damaged, incomplete and foreign model folders give an error that says what to do, never a panic.

mod common;

use std::fs;
use std::path::Path;

use common::fixture;
use proptest::prelude::*;
use serde_json::{Value, json};
use shoal_encoder::{Checkpoint, Model, ModelError};
use tempfile::TempDir;

/// A copy of a fixture to be damaged.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn open_error(folder: &Path) -> ModelError {
    match Model::open(folder) {
        Ok(_) => panic!("the model must not open"),
        Err(error) => error,
    }
}

/// The error of a fixture whose `config.json` was changed.
fn config_error(name: &str, change: impl FnOnce(&mut Value)) -> ModelError {
    let folder = copy(name);
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    open_error(folder.path())
}

#[track_caller]
fn assert_says(error: &ModelError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn a_missing_folder_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_error(&folder.path().join("no-such-model"));
    assert!(matches!(error, ModelError::NotFound { .. }), "{error:?}");
    assert_says(&error, &["no-such-model"]);
}

#[test]
fn a_folder_without_a_part_of_a_model_is_none() {
    let empty = tempfile::tempdir().unwrap();
    let error = open_error(empty.path());
    assert!(matches!(error, ModelError::NotAModel { .. }), "{error:?}");
    assert_says(&error, &["config.json"]);

    let error = open_error(&fixture("expected.json"));
    assert!(matches!(error, ModelError::NotPacked { .. }), "{error:?}");
    assert_says(
        &error,
        &["expected.json", "neither a model folder nor a packed"],
    );

    for (missing, says) in [
        ("tokenizer.json", ["tokenizer.json", "vocab.txt"]),
        (
            "model.safetensors",
            ["model.safetensors", "model.safetensors.index.json"],
        ),
    ] {
        let folder = copy("distilbert-f32");
        fs::remove_file(folder.path().join(missing)).unwrap();
        let error = open_error(folder.path());
        assert!(matches!(error, ModelError::NotAModel { .. }), "{error:?}");
        assert_says(&error, &says);
    }
}

#[test]
fn pickled_weights_are_explained() {
    let folder = copy("distilbert-f32");
    let path = folder.path();
    fs::rename(
        path.join("model.safetensors"),
        path.join("pytorch_model.bin"),
    )
    .unwrap();
    let error = open_error(path);
    assert!(matches!(error, ModelError::NotAModel { .. }), "{error:?}");
    assert_says(&error, &["pytorch_model.bin", "pickle", "save_pretrained"]);
}

#[test]
fn other_kinds_of_models_are_unsupported() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str]); 8] = [
        (
            "bert-f32",
            |c| c["model_type"] = json!("roberta"),
            &["\"roberta\"", "distilbert", "bert"],
        ),
        (
            "bert-f32",
            |c| drop(c.as_object_mut().unwrap().remove("model_type")),
            &["model_type"],
        ),
        (
            "distilbert-f32",
            |c| c["architectures"] = json!(["DistilBertForMaskedLM"]),
            &[
                "DistilBertForMaskedLM",
                "DistilBertForSequenceClassification",
            ],
        ),
        (
            "bert-f32",
            |c| c["position_embedding_type"] = json!("relative_key"),
            &["position_embedding_type", "relative_key", "absolute"],
        ),
        (
            "bert-f32",
            |c| c["hidden_act"] = json!("silu"),
            &["silu", "gelu", "relu"],
        ),
        (
            "distilbert-f32",
            |c| c["activation"] = json!("mish"),
            &["mish"],
        ),
        (
            "bert-f32",
            |c| c["is_decoder"] = json!(true),
            &["is_decoder"],
        ),
        (
            "bert-f32",
            |c| c["problem_type"] = json!("ranking"),
            &["problem_type", "ranking"],
        ),
    ];
    for (name, change, says) in cases {
        let error = config_error(name, change);
        assert!(matches!(error, ModelError::Unsupported { .. }), "{error:?}");
        assert_says(&error, says);
    }
}

#[test]
fn impossible_configurations_are_corrupt() {
    type Change = fn(&mut Value);
    let cases: [(&str, Change, &[&str]); 8] = [
        (
            "bert-f32",
            |c| c["hidden_size"] = json!(0),
            &["hidden size"],
        ),
        (
            "bert-f32",
            |c| c["hidden_size"] = json!(1u64 << 40),
            &["hidden size"],
        ),
        (
            "bert-f32",
            |c| c["hidden_size"] = json!("wide"),
            &["config.json", "wide"],
        ),
        (
            "bert-f32",
            |c| c["num_attention_heads"] = json!(5),
            &["36", "5 heads"],
        ),
        (
            "bert-f32",
            |c| c["vocab_size"] = json!(-1),
            &["config.json"],
        ),
        (
            "bert-f32",
            |c| c["layer_norm_eps"] = json!(-1e-5),
            &["layer_norm_eps"],
        ),
        (
            "bert-f32",
            |c| c["id2label"] = json!({"0": "a", "2": "b"}),
            &["id2label", "1"],
        ),
        ("bert-f32", |c| c["id2label"] = json!({}), &["id2label"]),
    ];
    for (name, change, says) in cases {
        let error = config_error(name, change);
        assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
        assert_says(&error, says);
    }
    let folder = copy("bert-f32");
    fs::write(
        folder.path().join("config.json"),
        "{\"model_type\": \"bert\", ",
    )
    .unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
    assert_says(&error, &["config.json", "line 1"]);
}

#[test]
fn labels_have_default_names() {
    let folder = copy("bert-f32");
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("id2label");
    fs::write(&path, config.to_string()).unwrap();
    let model = Model::open(folder.path()).unwrap();
    assert_eq!(model.classifier().unwrap().labels, ["LABEL_0", "LABEL_1"]);
}

/// As `configuration_utils.py` of transformers 5.24 merges them.
#[test]
fn both_names_of_a_key_are_read() {
    let open = |name: &str, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let folder = copy(name);
        let path = folder.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(config.as_object_mut().unwrap());
        fs::write(&path, config.to_string()).unwrap();
        Model::open(folder.path()).unwrap()
    };
    let names = [
        ("dim", "hidden_size"),
        ("n_heads", "num_attention_heads"),
        ("n_layers", "num_hidden_layers"),
    ];
    let expected = Model::open(&fixture("distilbert-f32")).unwrap();
    let other = open("distilbert-f32", &|config| {
        for (old, new) in names {
            let value = config.remove(old).unwrap();
            config.insert(new.to_owned(), value);
        }
    });
    assert_eq!(other.plan().hidden(), expected.plan().hidden());
    // If a file has both, the standard one counts.
    let both = open("distilbert-f32", &|config| {
        for (old, new) in names {
            let value = config.insert(old.to_owned(), json!(1)).unwrap();
            config.insert(new.to_owned(), value);
        }
    });
    assert_eq!(both.plan().hidden(), expected.plan().hidden());

    let labels = |count: u64| {
        let model = open("bert-f32", &|config| {
            config.insert("num_labels".into(), json!(count));
        });
        model.classifier().unwrap().labels.clone()
    };
    assert_eq!(labels(2), ["label A", "label B"]);
    let error = config_error("bert-f32", |c| c["num_labels"] = json!(3));
    assert_says(&error, &["classifier.weight", "[3, 36]"]);
    let unnamed = open("bert-f32", &|config| {
        config.insert("id2label".into(), json!({"0": "a", "1": "b", "2": "c"}));
        config.insert("num_labels".into(), json!(2));
    });
    assert_eq!(unnamed.classifier().unwrap().labels, ["LABEL_0", "LABEL_1"]);
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_named() {
    let error = config_error("distilbert-f32", |c| c["hidden_dim"] = json!(97));
    assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
    assert_says(
        &error,
        &[
            "ffn.lin1.weight",
            "[96, 48]",
            "[97, 48]",
            "model.safetensors",
        ],
    );

    let error = config_error("distilbert-f32", |c| c["n_layers"] = json!(3));
    assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
    assert_says(&error, &["transformer.layer.2", "missing"]);

    let error = config_error("distilbert-f32", |c| {
        c["id2label"] = json!({"0": "a", "1": "b", "2": "c"});
    });
    assert_says(&error, &["classifier.weight", "[2, 48]", "[3, 48]"]);

    // DistilBERT's tensors under BERT's configuration.
    let error = config_error("distilbert-f32", |c| {
        c["model_type"] = json!("bert");
        c["architectures"] = json!(["BertForSequenceClassification"]);
    });
    assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
}

#[test]
fn damaged_weights_are_corrupt() {
    let write = |bytes: &[u8]| {
        let folder = copy("distilbert-f32");
        fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        let error = open_error(folder.path());
        assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
        assert_says(&error, &["model.safetensors"]);
        error
    };
    let whole = fs::read(fixture("distilbert-f32").join("model.safetensors")).unwrap();
    for len in [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
        write(&whole[..len]);
    }
    write(&[whole.as_slice(), b"more"].concat());
    write(&[&[0xff; 8], &whole[8..]].concat());
    write(b"PK\x03\x04 this is a zip archive");
    let error = write(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    assert_says(&error, &["git lfs pull"]);
}

#[test]
fn weights_of_another_type_are_unsupported() {
    let folder = copy("distilbert-regression");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    // Same size and length, so that only the type is wrong.
    let header = header.replace("\"F32\"", "\"I32\"");
    let changed = [&bytes[..8], header.as_bytes(), &bytes[8 + length..]].concat();
    fs::write(&path, changed).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, ModelError::Unsupported { .. }), "{error:?}");
    assert_says(&error, &["I32", "F32, F16 and BF16"]);
}

#[test]
fn shards_stay_in_their_folder() {
    for shard in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        ".",
        "",
        "a\\b",
    ] {
        let folder = copy("bert-bf16-sharded");
        let index = json!({"metadata": {}, "weight_map": {"classifier.weight": shard}});
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(path, index.to_string()).unwrap();
        let error = open_error(folder.path());
        assert!(
            matches!(error, ModelError::Corrupt { .. }),
            "{shard:?}: {error:?}"
        );
        assert_says(&error, &["index.json", "not a file name"]);
    }
    let folder = copy("bert-bf16-sharded");
    fs::remove_file(folder.path().join("model-00002-of-00006.safetensors")).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, ModelError::NotAModel { .. }), "{error:?}");
    assert_says(&error, &["model-00002-of-00006.safetensors", "missing"]);
}

#[test]
fn damaged_tokenizers_are_corrupt() {
    for (name, file, content) in [
        ("distilbert-f32", "tokenizer.json", "{\"version\": \"1.0\""),
        ("distilbert-f32", "tokenizer.json", "[]"),
        ("distilbert-f32", "tokenizer_config.json", "nonsense"),
        ("bert-vocabulary", "vocab.txt", "only\nwords\n"),
        ("bert-vocabulary", "vocab.txt", ""),
    ] {
        let folder = copy(name);
        fs::write(folder.path().join(file), content).unwrap();
        let error = open_error(folder.path());
        assert!(
            matches!(error, ModelError::Corrupt { .. }),
            "{file}: {error:?}"
        );
        assert_says(&error, &[file]);
    }
    let folder = copy("bert-vocabulary");
    fs::write(folder.path().join("vocab.txt"), [0xff, 0xfe, 0x0a]).unwrap();
    assert_says(&open_error(folder.path()), &["vocab.txt"]);
}

#[test]
fn a_tokenizer_larger_than_the_model_is_noticed() {
    let folder = copy("bert-vocabulary");
    let path = folder.path().join("vocab.txt");
    let words = fs::read_to_string(&path).unwrap() + "zanzibar\n";
    fs::write(&path, words).unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, ModelError::Corrupt { .. }), "{error:?}");
    assert_says(
        &error,
        &["\"zanzibar\"", "the id 186", "186 tokens", "vocab_size"],
    );
}

#[test]
fn a_limit_without_room_for_the_special_tokens_is_refused() {
    let model = Model::open(&fixture("bert-f32")).unwrap();
    for limit in [0, 1] {
        assert_says(&model.encode("good", limit).unwrap_err(), &["no room"]);
    }
    assert_eq!(model.encode("good", 2).unwrap().ids, [3, 4]);
    assert!(model.encode("good", 2).unwrap().truncated);
    assert!(!model.encode("", 2).unwrap().truncated);
    let long = "good ".repeat(100);
    assert_eq!(
        model.encode(&long, 1000).unwrap().ids.len(),
        model.max_tokens()
    );
}

#[test]
fn the_fingerprint_changes_with_every_file() {
    let original = Checkpoint::fingerprint(&fixture("bert-bf16-sharded")).unwrap();
    assert_eq!(original.len(), 64);
    assert_eq!(
        original,
        Checkpoint::fingerprint(copy("bert-bf16-sharded").path()).unwrap()
    );
    for entry in fs::read_dir(fixture("bert-bf16-sharded")).unwrap() {
        let name = entry.unwrap().file_name();
        let folder = copy("bert-bf16-sharded");
        let path = folder.path().join(&name);
        let mut bytes = fs::read(&path).unwrap();
        // White space keeps the JSON files valid.
        bytes.push(b'\n');
        fs::write(&path, bytes).unwrap();
        assert_ne!(
            original,
            Checkpoint::fingerprint(folder.path()).unwrap(),
            "{name:?}"
        );
    }
    let error = Checkpoint::fingerprint(Path::new("no such folder")).unwrap_err();
    assert!(matches!(error, ModelError::NotFound { .. }), "{error:?}");
}

#[test]
fn files_in_memory_have_the_fingerprint_of_their_folder() {
    let folder = copy("distilbert-f32");
    fs::remove_file(folder.path().join("tokenizer_config.json")).unwrap();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    let files = shoal_encoder::ModelFiles {
        config: &read("config.json"),
        tokenizer: &read("tokenizer.json"),
        weights: read("model.safetensors").leak(),
    };
    assert_eq!(
        files.fingerprint(),
        Checkpoint::fingerprint(folder.path()).unwrap()
    );
}

/// `tokenizers` itself panics on these.
#[test]
fn a_damaged_part_of_the_tokenizer_is_an_error() {
    let whole =
        fs::read_to_string(fixture("distilbert-regression").join("tokenizer.json")).unwrap();
    let (before, decoder) = whole.split_once("\"decoder\":").unwrap();
    for damaged in [
        format!("{before}\"decoder\":"),
        format!("{before}\"decoder\": 1e999,{decoder}"),
        format!("{before}\"decoder\": {{\"type\": ,{decoder}"),
        whole.replacen("\"normalizer\": {", "\"normalizer\": {\"a\": 1e999,", 1),
        whole.replacen("\"id\": \"[CLS]\"", "\"id\": \"[CXS]\"", 1),
    ] {
        assert_ne!(damaged, whole);
        let folder = copy("distilbert-regression");
        fs::write(folder.path().join("tokenizer.json"), damaged).unwrap();
        let Err(error) = Model::open(folder.path()) else {
            panic!("it opened");
        };
        assert!(error.to_string().contains("tokenizer.json"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// Damage anywhere in the small files and in the header of the weights: an error or a working
    /// model, never a panic.
    #[test]
    fn random_damage_never_panics(file in 0usize..4, at: prop::sample::Index, byte: u8) {
        let name = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"][file];
        let folder = copy("distilbert-regression");
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let len = bytes.len().min(4096);
        bytes[at.index(len)] = byte;
        fs::write(&path, bytes).unwrap();
        if let Ok(model) = Model::open(folder.path()) {
            let _ = model.encode("a good movie", 16);
        }
    }
}
