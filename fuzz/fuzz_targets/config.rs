//! Arbitrary `config.json` with the weights of a small model: the folder is opened and packed, and
//! labels a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{label_texts, model_folder};

fuzz_target!(|input: &[u8]| {
    let folder = model_folder("config.json", input);
    label_texts(folder.path(), &["A good film, it is [MASK]! — 好"]);
});
