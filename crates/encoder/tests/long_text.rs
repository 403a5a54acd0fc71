//! Of a long text only the end that is kept is tokenized; the ids must be those of the whole.

mod common;

use std::fs;

use common::fixture;
use proptest::prelude::*;
use shoal_encoder::Model;
use tempfile::TempDir;
use tokenizers::{Tokenizer, TruncationDirection, TruncationParams};

/// The file's tokenizer with the truncation of Hugging Face, on the whole text.
fn whole(
    tokenizer: &mut Tokenizer,
    direction: TruncationDirection,
    text: &str,
    max_tokens: usize,
) -> (Vec<u32>, bool) {
    tokenizer.with_padding(None);
    let truncation = TruncationParams {
        max_length: max_tokens,
        direction,
        ..TruncationParams::default()
    };
    tokenizer.with_truncation(Some(truncation)).unwrap();
    let encoding = tokenizer.encode(text, true).unwrap();
    let truncated = !encoding.get_overflowing().is_empty();
    (encoding.get_ids().to_vec(), truncated)
}

/// A changed model and the file's tokenizer.
struct Changed {
    model: Model,
    tokenizer: Tokenizer,
    direction: TruncationDirection,
}

fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

impl Changed {
    /// The model as it is or, if `with_library`, one that leaves tokenizing to the library, although its tokenizer is of
    /// BERT's form. It cuts texts at the end that `direction` names.
    fn new(name: &str, with_library: bool, direction: TruncationDirection) -> Changed {
        let folder = copy(name);
        let change = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
            let path = folder.path().join(name);
            let mut json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            change(&mut json);
            fs::write(&path, json.to_string()).unwrap();
        };
        if with_library {
            // A token that is added twice adds nothing, but is not of that form.
            change("tokenizer.json", &|json| {
                let added = json["added_tokens"].as_array_mut().unwrap();
                added.push(added[0].clone());
            });
        }
        change("tokenizer_config.json", &|json| {
            json["truncation_side"] = direction.as_ref().into();
        });
        Changed {
            model: Model::open(folder.path()).unwrap(),
            tokenizer: Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap(),
            direction,
        }
    }

    /// The model in both forms and with both ends.
    fn all(name: &str) -> Vec<Changed> {
        let directions = [TruncationDirection::Right, TruncationDirection::Left];
        let all = directions.map(|direction| {
            [false, true].map(|with_library| Changed::new(name, with_library, direction))
        });
        all.into_iter().flatten().collect()
    }

    #[track_caller]
    fn assert_equal_to_whole(&mut self, text: &str, max_tokens: usize) {
        let tokens = self.model.encode(text, max_tokens).unwrap();
        let (ids, truncated) = whole(&mut self.tokenizer, self.direction, text, max_tokens);
        let start: String = text.chars().take(60).collect();
        let of = format!(
            "{} bytes at {max_tokens}, {:?}: {start:?}",
            text.len(),
            self.direction
        );
        assert_eq!(tokens.ids, ids, "{of}");
        assert_eq!(tokens.truncated, truncated, "{of}");
    }
}

#[test]
fn ends_of_awkward_texts_give_the_ids_of_the_whole() {
    let mut models = Changed::all("distilbert-positions");
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
    let reversed = texts
        .iter()
        .map(|text| text.split(' ').rev().collect::<Vec<_>>().join(" "));
    texts.extend(reversed.collect::<Vec<_>>());
    for text in &texts {
        for max_tokens in [2, 3, 17, 300] {
            for model in &mut models {
                model.assert_equal_to_whole(text, max_tokens);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn ends_of_any_text_give_the_ids_of_the_whole(
        words in proptest::collection::vec("\\PC{0,12}|[a-z]{1,9}|[ \\t\\n]{0,40}|[\u{300}-\u{310}]{1,3}|\\[SEP\\]|[映画]{1,3}|[a-z0-9]{90,300}", 1..60),
        joint in "[ \\n.,]?",
        repeat in 20usize..200,
        max_tokens in 2usize..40,
    ) {
        let text = words.join(&joint).repeat(repeat);
        for mut model in Changed::all("distilbert-f32") {
            model.assert_equal_to_whole(&text, max_tokens);
        }
    }
}

#[test]
fn ten_megabytes_are_tokenized_by_the_end_that_is_kept() {
    let sentence = "It was never a good film. ";
    let text = format!("bad {}bad", sentence.repeat(400_000));
    assert!(text.len() > 10_000_000);
    for Changed {
        model, direction, ..
    } in Changed::all("distilbert-positions")
    {
        let tokens = model.encode(&text, 300).unwrap();
        assert_eq!(tokens.ids.len(), 300);
        assert!(tokens.truncated);
        let part = match direction {
            TruncationDirection::Right => &text[..26 * 400],
            TruncationDirection::Left => &text[text.len() - 26 * 400..],
        };
        assert_eq!(tokens, model.encode(part, 300).unwrap());
    }
}
