//! Arbitrary `tokenizer.json`, `vocab.txt` or `tokenizer_config.json` with the weights of a small
//! model, and arbitrary text: the folder is opened and packed, and runs on the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{SEPARATOR, allow_caught_panics, model_folder, run_texts};

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let file = ["tokenizer.json", "vocab.txt", "tokenizer_config.json"][usize::from(choice % 3)];
    let mut parts = rest.split(|byte| *byte == SEPARATOR);
    let content = parts.next().unwrap_or_default();
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let folder = model_folder(file, content);
    run_texts(
        folder.path(),
        &["A good film, it is [MASK]! — 好 unaffable", &text],
    );
});
