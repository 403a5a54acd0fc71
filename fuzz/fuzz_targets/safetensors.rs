//! Arbitrary `model.safetensors`, arbitrary header with valid data, or a valid file with arbitrary
//! damage: the folder is opened and packed, and
//! runs on a text.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shoal_fuzz::{fixture, model_folder, run_texts};

const FILE: &str = "model.safetensors";

static WHOLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| std::fs::read(fixture("distilbert-regression").join(FILE)).unwrap());

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else {
        return;
    };
    let header = u64::from_le_bytes(WHOLE[..8].try_into().unwrap()) as usize;
    let content = match choice & 3 {
        0 => rest.to_vec(),
        1 => {
            let mut file = (rest.len() as u64).to_le_bytes().to_vec();
            file.extend_from_slice(rest);
            file.extend_from_slice(&WHOLE[8 + header..]);
            file
        }
        _ => {
            let mut file = WHOLE.clone();
            // Damage in units of four bytes: two for the position, two for the new values.
            for [a, b, values @ ..] in rest.as_chunks::<4>().0 {
                let span = if choice & 4 == 0 {
                    8 + header
                } else {
                    file.len()
                };
                let at = usize::from(u16::from_le_bytes([*a, *b])) % (span - 1);
                file[at..at + 2].copy_from_slice(values);
            }
            file
        }
    };
    let folder = model_folder(FILE, &content);
    run_texts(folder.path(), &["A good film, it is [MASK]! — 好"]);
});
