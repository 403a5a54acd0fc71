//! Arbitrary `tokenizer.json`, `vocab.txt` or `tokenizer_config.json` with the weights of a small
//! model, and arbitrary text: the folder is opened and packed, and labels the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{SEPARATOR, allow_caught_panics, label_texts, model_folder};

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
    label_texts(
        folder.path(),
        &["A good film, it is [MASK]! — 好 unaffable", &text],
    );
});
