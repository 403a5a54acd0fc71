//! Small packed models with arbitrary damage and a correct checksum, so that the damage reaches the
//! code behind it: each is read completely and, if that succeeds, runs on a text. It never panics.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use shoal_encoder::packed::{Container, reseal};
use shoal_encoder::{Checkpoint, Isa, Model, Packed, Precision, Purpose, Target};
use shoal_fuzz::{fixture, run_model};
use shoal_kernels::copy_aligned;

/// A classifier and a model of embeddings, in each precision.
static MODELS: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    let classifier = ("distilbert-regression", Purpose::Classify);
    let embedder = ("embedding/dense-tanh-saved", Purpose::Embed);
    [
        (classifier, Precision::F32),
        (classifier, Precision::Int8),
        (embedder, Precision::F32),
        (embedder, Precision::Int8),
    ]
    .map(|((name, purpose), precision)| {
        let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        Packed::new(&checkpoint, "fuzz".into(), purpose, precision, &Target::ALL)
            .and_then(|packed| packed.save(file.path()))
            .unwrap();
        std::fs::read(file.path()).unwrap()
    })
});

/// Header and metadata, where each byte matters most, are below this offset.
const FRONT: usize = 8192;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, damage)) = input.split_first() else {
        return;
    };
    let mut bytes = MODELS[usize::from(choice & 3)].clone();
    // Damage in units of eight bytes: four for the position, one for the length, and three for the
    // new values. The remaining bytes, if any, truncate the file.
    let (places, rest) = damage.as_chunks::<8>();
    for [a, b, c, d, kind, values @ ..] in places {
        let span = if kind & 4 == 0 { FRONT } else { usize::MAX };
        let at = u32::from_le_bytes([*a, *b, *c, *d]) as usize % bytes.len().min(span);
        let count = usize::from(kind & 3).min(bytes.len() - at);
        bytes[at..at + count].copy_from_slice(&values[..count]);
    }
    if let [a, b, c, ..] = rest {
        let len = u32::from_le_bytes([*a, *b, *c, 0]) as usize % (bytes.len() + 1);
        bytes.truncate(len);
    }
    reseal(&mut bytes);
    let Ok(container) = Container::from_bytes(copy_aligned(&bytes), "fuzz.shoal") else {
        return;
    };
    for isa in Isa::available() {
        if let Ok(model) = Model::read(&container, &[isa]) {
            run_model(&Arc::new(model), &["A good film, it is [MASK]! — 好"]);
        }
    }
});
