//! Packed models: both precisions on every instruction set of this CPU, against transformers, and
//! read back from their files.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{assert_logits, expected, fixture};
use shoal_encoder::packed::{Container, reseal};
use shoal_encoder::{
    Checkpoint, Isa, Model, ModelError, Packed, Precision, Purpose, Session, Target, Tokens,
};
use shoal_kernels::copy_aligned;

/// What "the same" means against transformers. In `int8`, the noise of rounding both sides of each
/// product is about 1 % of it (8 bits) or 2 % (7 bits) in wide layers; these random models have
/// logits of the order of 1, and layers so narrow that little of the noise evens out.
fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::Int8 => 0.3,
    }
}

fn every_way() -> Vec<(Precision, Isa)> {
    let ways: Vec<_> = Precision::ALL
        .into_iter()
        .flat_map(|precision| {
            Isa::available()
                .into_iter()
                .map(move |isa| (precision, isa))
        })
        .collect();
    println!("tested: {ways:?}");
    ways
}

fn pack(name: &str, precision: Precision, isa: Isa) -> Model {
    let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
    Model::pack(
        &checkpoint,
        "test".into(),
        Purpose::Classify,
        precision,
        isa,
    )
    .unwrap()
}

fn save(name: &str, precision: Precision, targets: &[Target], path: &Path) {
    let checkpoint = Checkpoint::open(&fixture(name)).unwrap();
    let packed = Packed::new(
        &checkpoint,
        "test".into(),
        Purpose::Classify,
        precision,
        targets,
    )
    .unwrap();
    packed.save(path).unwrap();
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn logits_are_those_of_transformers_in_every_precision() {
    for case in expected() {
        for (precision, isa) in every_way() {
            let model = Arc::new(pack(&case.model, precision, isa));
            assert_eq!(
                (model.precision(), model.isa().name()),
                (precision, isa.name())
            );
            let mut session = Session::new(Arc::clone(&model));
            let name = format!("{} in {precision} on {isa:?}", case.model);
            for record in &case.records {
                let tokens = model.encode(&record.text, record.max_tokens).unwrap();
                let logits = session.run(&[tokens]);
                assert_logits(
                    &name,
                    &record.text,
                    logits,
                    &record.logits,
                    tolerance(precision),
                );
            }
        }
    }
}

#[test]
fn logits_are_the_same_bits_for_every_cut_in_every_precision() {
    for case in expected() {
        for (precision, isa) in every_way() {
            let model = Arc::new(pack(&case.model, precision, isa));
            let tokens: Vec<Tokens> = case
                .records
                .iter()
                .map(|record| model.encode(&record.text, record.max_tokens).unwrap())
                .collect();
            let alone: Vec<f32> = tokens
                .iter()
                .flat_map(|record| {
                    let mut session = Session::new(Arc::clone(&model));
                    session.run(std::slice::from_ref(record)).to_vec()
                })
                .collect();
            let mut session = Session::new(Arc::clone(&model));
            for size in [1, 2, 3, 7, tokens.len()] {
                let together: Vec<f32> = tokens
                    .chunks(size)
                    .flat_map(|records| session.run(records).to_vec())
                    .collect();
                assert_eq!(
                    bits(&together),
                    bits(&alone),
                    "{} in {precision} on {isa:?}, cut by {size}",
                    case.model
                );
            }
        }
    }
}

#[test]
fn a_file_for_all_targets_gives_the_bits_of_each_instruction_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.shoal");
    for case in expected() {
        for precision in Precision::ALL {
            save(&case.model, precision, &Target::ALL, &path);
            for isa in Isa::available() {
                let opened = Arc::new(Model::open_packed(&path, &[isa]).unwrap());
                let built = Arc::new(pack(&case.model, precision, isa));
                assert_eq!(opened.classifier(), built.classifier());
                assert_eq!(opened.max_tokens(), built.max_tokens());
                assert_eq!(opened.fingerprint(), "test");
                for record in &case.records {
                    let tokens = opened.encode(&record.text, record.max_tokens).unwrap();
                    assert_eq!(tokens.ids, record.ids, "{}", case.model);
                    let from_file = Session::new(opened.clone())
                        .run(std::slice::from_ref(&tokens))
                        .to_vec();
                    let from_memory = Session::new(built.clone()).run(&[tokens]).to_vec();
                    assert_eq!(
                        bits(&from_file),
                        bits(&from_memory),
                        "{} {isa:?}",
                        case.model
                    );
                }
            }
        }
    }
}

#[test]
fn the_first_instruction_set_that_the_file_has_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.shoal");
    let sets = Isa::available();
    let last = *sets.last().unwrap();
    save("distilbert-f32", Precision::Int8, &[last.target()], &path);
    let model = Model::open_packed(&path, &sets).unwrap();
    assert_eq!(model.isa().name(), last.name());
    if sets.len() > 1 {
        let Err(error) = Model::open_packed(&path, &sets[..1]) else {
            panic!("opened for {:?}", sets[0]);
        };
        let message = error.to_string();
        for part in ["model.shoal", last.name(), sets[0].name(), "pack it again"] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }
}

#[test]
fn a_file_for_other_cpus_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.shoal");
    let targets = [Target::Avx512Vnni, Target::Avx2];
    save("distilbert-f32", Precision::Int8, &targets, &path);
    for isa in Isa::available() {
        let opened = Model::open_packed(&path, &[isa]);
        if targets.contains(&isa.target()) {
            assert_eq!(opened.unwrap().isa().target(), isa.target());
            continue;
        }
        let message = opened.err().expect("it is not for this one").to_string();
        let says = format!("packed for avx512-vnni, avx2, and not for {isa:?}");
        assert!(message.contains(&says), "{message}");
    }
}

#[test]
fn weights_that_are_no_numbers_are_refused_in_int8() {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("distilbert-f32")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let mut weights = fs::read(&path).unwrap();
    let end = weights.len();
    // The last tensor's last element.
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let header = 8 + u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
    for element in weights[header..]
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .step_by(97)
    {
        *element = f32::INFINITY.to_le_bytes();
    }
    fs::write(&path, weights).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let packed = |precision| {
        Packed::new(
            &checkpoint,
            "test".into(),
            Purpose::Classify,
            precision,
            &[Isa::best().target()],
        )
    };
    assert!(packed(Precision::F32).is_ok());
    let Err(error) = packed(Precision::Int8) else {
        panic!("packed infinite weights");
    };
    assert!(matches!(error, ModelError::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains("use f32"), "{error}");
}

/// A section of another length, a missing one, another model's description: sealed, so that
/// nothing but the reader stands between them and the kernels.
#[test]
fn sealed_files_that_contradict_themselves_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.shoal");
    save(
        "distilbert-f32",
        Precision::Int8,
        &[Isa::best().target()],
        &path,
    );
    let whole = fs::read(&path).unwrap();
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut bytes = whole.clone();
        let mut count = 0;
        while let Some(at) = bytes
            .windows(from.len())
            .position(|part| part == from.as_bytes())
        {
            bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
            count += 1;
        }
        assert!(count > 0, "{from:?} is not in the file");
        reseal(&mut bytes);
        bytes
    };
    let error = |bytes: &[u8]| {
        let container = Container::from_bytes(copy_aligned(bytes), "model.shoal");
        match container.and_then(|container| Model::read(&container, &Isa::available())) {
            Ok(_) => panic!("opened"),
            Err(error) => error.to_string(),
        }
    };
    for (from, to, says) in [
        ("layers.0.expand", "layers.9.expand", "is missing"),
        ("embeddings.words", "embeddings.wordz", "is missing"),
        (
            "\"precision\":\"int8\"",
            "\"precision\":\"int9\"",
            "unknown variant",
        ),
        (
            "\"precision\":\"int8\"",
            "\"precision\":\"f32\" ",
            "is missing",
        ),
        (
            "\"words\":\"int8\"",
            "\"words\":\"bf16\"",
            "elements instead of",
        ),
        ("\"packing\":5", "\"packing\":7", "pack it again"),
        (
            Isa::best().name(),
            &"x".repeat(Isa::best().name().len()),
            "packed for x",
        ),
    ] {
        let message = error(&replaced(from, to));
        assert!(
            message.contains(says),
            "{from} → {to}: {says:?} is not in {message:?}"
        );
    }
}
