//! What a folder is that is not a model folder, and which file or folder to name instead.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::files::{CONFIG, SINGLE, read_at_most};

/// Most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;
/// Most bytes of an adapter's configuration.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct Adapter {
    base_model_name_or_path: Option<String>,
}

/// How weights that are not safetensors are converted, from a folder that transformers can open.
const CONVERT: &str = "convert them with transformers: \
    AutoModelForSequenceClassification.from_pretrained(FOLDER).save_pretrained(FOLDER)";

/// Why `folder`, which lacks what `lacks` says, is not a model, and what to do.
pub(crate) fn explain(folder: &Path, lacks: &str) -> String {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.take(MAX_ENTRIES).collect();
    names.sort();
    match hint(folder, &names) {
        Some(hint) => format!("it has {lacks}: {hint}"),
        None => format!("it has {lacks}"),
    }
}

fn hint(folder: &Path, names: &[String]) -> Option<String> {
    let has = |name: &str| names.iter().any(|other| other == name);
    let first = |wanted: &dyn Fn(&str) -> bool| names.iter().find(|name| wanted(name));
    if names.is_empty() {
        return Some("it is empty".to_owned());
    }
    if has("adapter_config.json") {
        return Some(adapter(folder));
    }
    if let Some(checkpoint) = newest_checkpoint(folder, names) {
        return Some(format!(
            "it is the output folder of a Trainer; its newest checkpoint is {}",
            folder.join(checkpoint).display()
        ));
    }
    if has("snapshots") {
        return Some(snapshots(folder));
    }
    if let Some(model) = first(&|name| name.starts_with("models--")) {
        let name = model["models--".len()..].replace("--", "/");
        return Some(format!(
            "it is a cache of the Hugging Face hub; name one of its models, such as {}, or {name} if HF_HUB_CACHE is this \
             folder",
            folder.join(model).display()
        ));
    }
    if let Some(name) = ["pytorch_model.bin", "pytorch_model.bin.index.json"]
        .into_iter()
        .find(|name| has(name))
    {
        return Some(format!(
            "the weights in {name} are pickled, which shoal does not read, because reading them runs code from the file; \
             {CONVERT}"
        ));
    }
    for (end, what) in [
        (".h5", "of TensorFlow"),
        (".pb", "of TensorFlow"),
        (".msgpack", "of Flax"),
    ] {
        if let Some(name) = first(&|name| name.ends_with(end)) {
            return Some(format!(
                "the weights in {name} are {what}, which shoal does not read; {CONVERT}"
            ));
        }
    }
    let in_onnx = fs::read_dir(folder.join("onnx"))
        .into_iter()
        .flatten()
        .flatten();
    let in_onnx = in_onnx.map(|entry| format!("onnx/{}", entry.file_name().to_string_lossy()));
    let in_onnx: Vec<String> = in_onnx.take(MAX_ENTRIES).collect();
    let all = || names.iter().chain(&in_onnx);
    for (end, what) in [(".onnx", "an ONNX model"), (".gguf", "a GGUF model")] {
        if let Some(name) = all().find(|name| name.ends_with(end)) {
            return Some(format!(
                "{name} is {what}, which shoal does not read; name the model that it was made from, with {}",
                SINGLE
            ));
        }
    }
    let inner = first(&|name| folder.join(name).join(CONFIG).is_file())?;
    Some(format!(
        "the folder {} in it has one; name that",
        folder.join(inner).display()
    ))
}

fn adapter(folder: &Path) -> String {
    let config = read_at_most(&folder.join("adapter_config.json"), MAX_BYTES).ok();
    let config = config.and_then(|bytes| serde_json::from_slice::<Adapter>(&bytes).ok());
    let base = config.and_then(|config| config.base_model_name_or_path);
    let of = base.map_or_else(String::new, |base| format!(" of {base:?}"));
    format!(
        "it is an adapter{of} (adapter_config.json), not a whole model; merge it with peft: \
         AutoPeftModelForSequenceClassification.from_pretrained(FOLDER).merge_and_unload().save_pretrained(NEW_FOLDER), \
         and save the tokenizer there"
    )
}

/// The `checkpoint-N` with a model and the largest number.
fn newest_checkpoint<'a>(folder: &Path, names: &'a [String]) -> Option<&'a String> {
    let number = |name: &str| name.strip_prefix("checkpoint-")?.parse::<u64>().ok();
    names
        .iter()
        .filter_map(|name| Some((number(name)?, name)))
        .filter(|(_, name)| folder.join(name).join(CONFIG).is_file())
        .max()
        .map(|(_, name)| name)
}

fn snapshots(folder: &Path) -> String {
    let entries = fs::read_dir(folder.join("snapshots"))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<String> = entries
        .take(MAX_ENTRIES)
        .map(|entry| entry.path())
        .filter(|path| path.join(CONFIG).is_file())
        .map(|path| path.display().to_string())
        .collect();
    paths.sort();
    match paths.as_slice() {
        [] => "it is a model's folder in the cache of the Hugging Face hub, without a complete snapshot; download it again"
            .to_owned(),
        paths => format!(
            "it is a model's folder in the cache of the Hugging Face hub; name one of its snapshots: {}",
            paths.join(", ")
        ),
    }
}
