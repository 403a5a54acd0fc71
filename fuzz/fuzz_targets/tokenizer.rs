//! Any bytes as `tokenizer.json`, `vocab.txt` or `tokenizer_config.json`, beside the weights of a small model, and any
//! text: the folder is opened, packed, and labels the text.

#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{BETWEEN, label_texts, model_folder};

static QUIET: Once = Once::new();

fuzz_target!(|input: &[u8]| {
    // The library behind panics on some files, which shoal catches; one that it does not catch still ends the target.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let file = ["tokenizer.json", "vocab.txt", "tokenizer_config.json"][usize::from(choice % 3)];
    let mut parts = rest.split(|byte| *byte == BETWEEN);
    let content = parts.next().unwrap_or_default();
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let folder = model_folder(file, content);
    label_texts(
        folder.path(),
        &["A good film, it is [MASK]! — 好 unaffable", &text],
    );
});
