//! Arbitrary `config.json` with the weights of a small model: the folder is opened and packed, and
//! run on a text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{model_folder, run_texts};

fuzz_target!(|input: &[u8]| {
    let folder = model_folder("config.json", input);
    run_texts(folder.path(), &["A good film, it is [MASK]! — 好"]);
});
