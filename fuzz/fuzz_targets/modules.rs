//! Arbitrary configuration of a sentence-transformers folder: opened, packed, and run on a text with
//! every prompt.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{SEPARATOR, allow_caught_panics, fixture, folder, link, run_texts};

const MODEL: &str = "embedding/dense-tanh-saved";

/// The files of the input, in order. A file that the input lacks is the fixture's.
const FILES: [&str; 5] = [
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
];

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let folder = folder();
    for name in ["1_Pooling", "2_Dense"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    for name in [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "2_Dense/model.safetensors",
    ] {
        link(MODEL, name, folder.path());
    }
    let mut contents = input.split(|byte| *byte == SEPARATOR);
    for name in FILES {
        match contents.next() {
            Some(content) => std::fs::write(folder.path().join(name), content).unwrap(),
            None if fixture(MODEL).join(name).exists() => link(MODEL, name, folder.path()),
            None => {}
        }
    }
    run_texts(folder.path(), &["A good film, it is [MASK]! — 好"]);
});
