//! Token ids of folders with unusual tokenizer settings, against transformers; `tools/fixtures/tokenizer_settings.py` in the
//! repository makes the expectations.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use common::fixture;
use safetensors::{Dtype, serialize_to_file, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Value, json};
use shoal_encoder::{Checkpoint, Model, Precision, Purpose};
use shoal_encoder::{Isa, Packed};

#[derive(Deserialize)]
struct Expected {
    limits: Vec<usize>,
    texts: Vec<String>,
    files: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Indices into the files.
    files: BTreeMap<String, usize>,
    /// Number of embeddings.
    rows: usize,
    config: serde_json::Map<String, Value>,
    refused: Option<String>,
    /// For each text, at each limit.
    ids: Vec<Vec<Vec<u32>>>,
}

fn expected() -> Expected {
    serde_json::from_slice(&fs::read(fixture("tokenizer_settings.json")).unwrap()).unwrap()
}

/// The smallest classifier with `rows` embeddings.
fn write_model(folder: &Path, rows: usize, more: &serde_json::Map<String, Value>) {
    let mut config = json!({
        "model_type": "distilbert", "vocab_size": rows, "max_position_embeddings": 64,
        "dim": 1, "hidden_dim": 1, "n_heads": 1, "n_layers": 1,
    });
    config.as_object_mut().unwrap().extend(more.clone());
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let layer = "distilbert.transformer.layer.0";
    let mut shapes: HashMap<String, Vec<usize>> = HashMap::new();
    for (name, rows) in [("word", rows), ("position", 64)] {
        shapes.insert(
            format!("distilbert.embeddings.{name}_embeddings.weight"),
            vec![rows, 1],
        );
    }
    let linear = ["attention.q_lin", "attention.k_lin", "attention.v_lin"];
    let linear = linear
        .into_iter()
        .chain(["attention.out_lin", "ffn.lin1", "ffn.lin2"]);
    let of_layer = linear.map(|name| (format!("{layer}.{name}"), 1));
    for (name, outputs) in of_layer.chain([("pre_classifier".into(), 1), ("classifier".into(), 2)])
    {
        shapes.insert(format!("{name}.weight"), vec![outputs, 1]);
        shapes.insert(format!("{name}.bias"), vec![outputs]);
    }
    for name in ["sa_layer_norm", "output_layer_norm"] {
        for part in ["weight", "bias"] {
            shapes.insert(format!("{layer}.{name}.{part}"), vec![1]);
        }
    }
    for part in ["weight", "bias"] {
        shapes.insert(format!("distilbert.embeddings.LayerNorm.{part}"), vec![1]);
    }
    let zeros = vec![0; 4 * rows.max(64)];
    let tensors = shapes.into_iter().map(|(name, shape)| {
        let bytes = &zeros[..4 * shape.iter().product::<usize>()];
        (name, TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    serialize_to_file(tensors, None, &folder.join("model.safetensors")).unwrap();
}

impl Case {
    fn write(&self, folder: &Path, files: &[String]) {
        write_model(folder, self.rows, &self.config);
        for (name, &content) in &self.files {
            fs::write(folder.join(name), &files[content]).unwrap();
        }
    }
}

#[test]
fn settings_give_the_ids_of_transformers() {
    let Expected {
        limits,
        texts,
        files,
        cases,
    } = expected();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in &cases {
        let folder = tempfile::tempdir().unwrap();
        case.write(folder.path(), &files);
        let opened = Model::open(folder.path());
        if let Some(words) = &case.refused {
            match opened.err().map(|error| error.to_string()) {
                Some(error) if error.contains(words) => {}
                other => wrong.push(format!("{}: not refused for {words}: {other:?}", case.name)),
            }
            continue;
        }
        let model = match opened {
            Ok(model) => model,
            Err(error) => {
                wrong.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        for (text, expected) in texts.iter().zip(&case.ids) {
            for (&limit, expected) in limits.iter().zip(expected) {
                let ids = model.encode(text, limit).unwrap().ids;
                if ids != *expected {
                    wrong.push(format!(
                        "{}: {text:?} at {limit}\n   is {ids:?}\n  not {expected:?}",
                        case.name
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A packed file gives the same ids as the folder.
#[test]
fn settings_survive_packing() {
    let Expected {
        texts,
        files,
        cases,
        ..
    } = expected();
    for case in cases.iter().filter(|case| case.refused.is_none()) {
        let folder = tempfile::tempdir().unwrap();
        case.write(folder.path(), &files);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let path = folder.path().join("packed.shoal");
        let isa = Isa::best();
        Packed::new(
            &checkpoint,
            String::new(),
            Purpose::Classify,
            Precision::F32,
            &[isa.target()],
        )
        .unwrap()
        .save(&path)
        .unwrap();
        let model = Model::open_packed(&path, &[isa]).unwrap();
        for (text, expected) in texts.iter().zip(&case.ids) {
            let ids = model.encode(text, 64).unwrap().ids;
            assert_eq!(ids, expected[0], "{}: {text:?}", case.name);
        }
    }
}

/// Each of the files that determine ids is part of the fingerprint.
#[test]
fn every_tokenizer_file_is_part_of_the_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let Expected { files, cases, .. } = expected();
    cases[0].write(folder.path(), &files);
    let mut seen = vec![Checkpoint::fingerprint(folder.path()).unwrap()];
    for name in [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ] {
        for content in ["{}", "{ }"] {
            fs::write(folder.path().join(name), content).unwrap();
            let fingerprint = Checkpoint::fingerprint(folder.path()).unwrap();
            assert!(!seen.contains(&fingerprint), "{name}");
            seen.push(fingerprint);
        }
    }
    // It has no effect beside tokenizer.json.
    fs::write(folder.path().join("vocab.txt"), "a\n").unwrap();
    assert!(seen.contains(&Checkpoint::fingerprint(folder.path()).unwrap()));
}
