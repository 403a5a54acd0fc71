//! Of a long text only a beginning is tokenized; the ids must be those of the whole.

mod common;

use std::fs;

use common::fixture;
use proptest::prelude::*;
use shoal_encoder::Model;
use tokenizers::{Tokenizer, TruncationParams};

/// The file's tokenizer with the truncation of Hugging Face, on the whole text.
fn whole(tokenizer: &mut Tokenizer, text: &str, max_tokens: usize) -> (Vec<u32>, bool) {
    tokenizer.with_padding(None);
    let truncation = TruncationParams {
        max_length: max_tokens,
        ..TruncationParams::default()
    };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    let encoding = tokenizer.encode(text, true).unwrap();
    let truncated = !encoding.get_overflowing().is_empty();
    (encoding.get_ids().to_vec(), truncated)
}

fn both(name: &str) -> (Model, Tokenizer) {
    let folder = fixture(name);
    let tokenizer = Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
    (Model::open(&folder).unwrap(), tokenizer)
}

/// A model that leaves tokenizing to the library, although its tokenizer is of BERT's form.
fn with_the_library(name: &str) -> Model {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("tokenizer.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // A token that is added twice adds nothing, but is not of that form.
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.push(added[0].clone());
    fs::write(&path, json.to_string()).unwrap();
    Model::open(folder.path()).unwrap()
}

#[track_caller]
fn assert_equal_to_whole(model: &Model, tokenizer: &mut Tokenizer, text: &str, max_tokens: usize) {
    let tokens = model.encode(text, max_tokens).unwrap();
    let (ids, truncated) = whole(tokenizer, text, max_tokens);
    let start: String = text.chars().take(60).collect();
    let of = format!("{} bytes at {max_tokens}: {start:?}", text.len());
    assert_eq!(tokens.ids, ids, "{of}");
    assert_eq!(tokens.truncated, truncated, "{of}");
}

#[test]
fn beginnings_of_awkward_texts_give_the_ids_of_the_whole() {
    let (model, mut tokenizer) = both("distilbert-positions");
    let library = with_the_library("distilbert-positions");
    let mut texts = vec![
        "a good movie ".repeat(10_000),
        // Spaces and removed characters take bytes but no tokens.
        format!("{}good bad", " ".repeat(200_000)),
        format!("{}good bad", " \u{0}\u{fffd}".repeat(50_000)),
        format!("good {} bad movie", "\n".repeat(100_000)),
        // One word of all the text, then more.
        format!("{} good movie", "x".repeat(100_000)),
        "x".repeat(100_000),
        "映".repeat(40_000),
        "good映映 画bad".repeat(10_000),
        format!("{}映", "x".repeat(4_200)).repeat(20),
        format!("{}[SEP]{}", "x".repeat(4_090), "y".repeat(200)).repeat(20),
        format!("{}\u{301} good [MASK]", "x".repeat(300)).repeat(300),
        // Accents far longer than the word they stand on.
        format!("a{} good movie", "\u{301}".repeat(100_000)),
        format!(
            "good a{}b movie {}",
            "\u{301}".repeat(6_000),
            "bad ".repeat(20_000)
        ),
        // A space before a combining mark.
        "a \u{301}b\u{301} ".repeat(10_000),
        "[SEP][CLS] [MASK]x[UNK] ".repeat(10_000),
        ".".repeat(100_000),
    ];
    // A few tokens, then nothing for long: the first beginnings have too few.
    texts.push(format!("{}{}", "good movie ".repeat(4), "\u{200b} ".repeat(60_000)) + "bad plot");
    for text in &texts {
        for max_tokens in [2, 3, 17, 300] {
            for model in [&model, &library] {
                assert_equal_to_whole(model, &mut tokenizer, text, max_tokens);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn beginnings_of_any_text_give_the_ids_of_the_whole(
        words in proptest::collection::vec("\\PC{0,12}|[a-z]{1,9}|[ \\t\\n]{0,40}|[\u{300}-\u{310}]{1,3}|\\[SEP\\]|[映画]{1,3}|[a-z0-9]{90,300}", 1..60),
        joint in "[ \\n.,]?",
        repeat in 20usize..200,
        max_tokens in 2usize..40,
    ) {
        let (model, mut tokenizer) = both("distilbert-f32");
        let text = words.join(&joint).repeat(repeat);
        for model in [model, with_the_library("distilbert-f32")] {
            assert_equal_to_whole(&model, &mut tokenizer, &text, max_tokens);
        }
    }
}

#[test]
fn ten_megabytes_are_tokenized_by_their_beginning() {
    let (model, _) = both("distilbert-positions");
    let text = "It was never a good film. ".repeat(400_000);
    assert!(text.len() > 10_000_000);
    for model in [model, with_the_library("distilbert-positions")] {
        let tokens = model.encode(&text, 300).unwrap();
        assert_eq!(tokens.ids.len(), 300);
        assert!(tokens.truncated);
        assert_eq!(tokens, model.encode(&text[..26 * 400], 300).unwrap());
    }
}
