//! The packed form gives the ids of `tokenizers`.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};
use tokenizers::{NormalizedString, Normalizer};

use super::folder::Files;
use super::library::{self, Library};
use super::{Settings, Side, TextEncoder, Tokens, load};
use crate::error::ModelError;
use shoal_kernels::{Bytes, copy_aligned};

/// Settings and vocabulary of a tokenizer that has the packed form.
fn packed(encoder: &TextEncoder) -> Option<(Settings, Bytes)> {
    let (settings, bytes) = encoder.store().unwrap();
    Some((settings?.clone(), bytes))
}

/// A tokenizer in both forms.
struct Both {
    oracle: Library,
    packed: TextEncoder,
}

impl Both {
    fn new(library: Library) -> Both {
        let (settings, vocabulary) = library.pack().expect("it has the packed form");
        let packed = TextEncoder::packed(settings, copy_aligned(&vocabulary)).unwrap();
        assert_eq!(packed.frame(), &library.frame);
        Both {
            oracle: library,
            packed,
        }
    }

    fn from_json(json: &Value) -> Both {
        Both::new(Library::from_json(json.to_string().as_bytes(), false).unwrap())
    }

    /// Compares all ids of `text`, and those under limits about `limit`.
    #[track_caller]
    fn assert_equal(&self, text: &str, limit: usize) {
        for side in [Side::Right, Side::Left] {
            self.assert_equal_cut(text, limit, side);
        }
    }

    #[track_caller]
    fn assert_equal_cut(&self, text: &str, limit: usize, side: Side) {
        let frame = &self.oracle.frame;
        let whole = self.oracle.all_tokens(text).unwrap();
        let whole = whole.get_ids();
        for room in [
            0,
            1,
            limit,
            whole.len().saturating_sub(1),
            whole.len(),
            1 << 20,
        ] {
            let kept = room.min(whole.len());
            let kept = match side {
                Side::Right => &whole[..kept],
                Side::Left => &whole[whole.len() - kept..],
            };
            let expected = Tokens {
                ids: [&frame.prefix, kept, &frame.suffix].concat(),
                truncated: whole.len() > room,
                prompt: 0,
            };
            let limit = room + frame.size();
            let packed = self.packed.encode(text, limit, side).unwrap();
            assert_eq!(
                packed, expected,
                "packed, {side:?}, room for {room}: {text:?}"
            );
            let mut ids = Vec::new();
            let truncated = self.oracle.encode(text, room, side, &mut ids).unwrap();
            let ids = [&frame.prefix[..], &ids, &frame.suffix].concat();
            let library = Tokens {
                ids,
                truncated,
                prompt: 0,
            };
            assert_eq!(
                library, expected,
                "library, {side:?}, room for {room}: {text:?}"
            );
        }
    }
}

/// A tokenizer whose vocabulary is a little of everything.
fn tokenizer(normalizer: Value) -> Value {
    let mut words: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##", "#"]
        .map(String::from)
        .to_vec();
    let characters = ('!'..='~')
        .chain("éÉèñößẞſıIİςΣσйёЙאبक्ิ가각ᄀ\u{1161}映画豈𠀀ﬁ１①、。“”’–—…¿€£™😀\u{301}\u{307}\u{302e}\u{1d165}\u{1d16d}\u{200d}\u{1}\u{0}\u{fffd}\u{e000}".chars());
    for character in characters {
        words.push(character.to_string());
        words.push(format!("##{character}"));
    }
    for word in [
        "good",
        "movie",
        "the",
        "un",
        "##believ",
        "##able",
        "##ing",
        "##ed",
        "Good",
        "naive",
        "naïve",
        "cafe",
        "café",
        "##映",
        "映画",
        "mask",
        "[mask]",
        "ab",
        "abc",
        "##bc",
        "##abc",
        "##é",
        "##e\u{301}",
    ] {
        words.push(word.to_owned());
    }
    words.sort_by_key(|word| !word.starts_with('['));
    words.dedup();
    let vocabulary: serde_json::Map<String, Value> = words
        .into_iter()
        .enumerate()
        .map(|(id, word)| (word, id.into()))
        .collect();
    let added: Vec<Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        .into_iter()
        .map(|content| added(content, json!({"id": vocabulary[content]})))
        .collect();
    let special = |token: &str| json!({"id": token, "ids": [vocabulary[token]], "tokens": [token]});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")},
        },
        "decoder": null,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    })
}

fn added(content: &str, changes: Value) -> Value {
    let mut token = json!({
        "id": 0,
        "content": content,
        "single_word": false,
        "lstrip": false,
        "rstrip": false,
        "normalized": false,
        "special": true,
    });
    for (key, value) in changes.as_object().unwrap() {
        token[key] = value.clone();
    }
    token
}

fn bert(clean: bool, ideographs: bool, strip: Option<bool>, lowercase: bool) -> Value {
    json!({
        "type": "BertNormalizer",
        "clean_text": clean,
        "handle_chinese_chars": ideographs,
        "strip_accents": strip,
        "lowercase": lowercase,
    })
}

/// Every setting of the normalizer, and none.
fn normalizers() -> Vec<Value> {
    let mut all = vec![Value::Null];
    for bits in 0..8 {
        let [clean, ideographs, lowercase] = [1, 2, 4].map(|bit| bits & bit != 0);
        for strip in [None, Some(true), Some(false)] {
            all.push(bert(clean, ideographs, strip, lowercase));
        }
    }
    all
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

fn awkward_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\n\t\r",
        "good movie",
        "  The GOOD, the unbelievable; movie!! ",
        "unbelievablexyz",
        "[CLS] good [MASK] [mask] [SEP][PAD]x[UNK",
        "a[MASK]b [MASK]",
        "[MASK[MASK]]]",
        "e\u{301}\u{323}e\u{323}\u{301} é ế",
        "\u{301}",
        "a\u{301}\u{1}\u{302e}\u{323}b",
        // Marks that are kept, and change places across what is removed.
        "x\u{1d16d}\u{302e}\u{1d165}",
        "x\u{1d16d}\u{1}\u{302e}\u{200d}\u{1d165}\u{0}y",
        "é\u{200d}\u{302e}\u{301}good",
        "e[MASK]\u{301}",
        "\u{302e}[MASK]\u{301}\u{302e}",
        "映画映 good映",
        "豈\u{301}更",
        "가각ᄀ\u{1161}\u{11a8}",
        "İIıſẞßΣς",
        "a\u{0}b\u{fffd}c\u{7f}d\u{85}e\u{b}f\u{c}g\u{1c}h\u{2028}i\u{3000}j\u{a0}k\u{200b}l\u{feff}m",
        "“good”—movie…¿€£™😀👍🏽👩‍👩‍👧",
        "##ing ##",
        "1234567890 3.14",
        "\u{2000}\u{2001}\u{1680}x\u{180e}y",
        "\u{f73}\u{f71}\u{f72}\u{344}\u{1f71}\u{212b}\u{2126}",
    ]
    .map(String::from)
    .to_vec();
    for length in [99, 100, 101, 127, 128, 129, 300] {
        texts.push("a".repeat(length));
        texts.push(format!("good {}\u{301} movie", "é".repeat(length)));
        texts.push(format!("{}.{}", "映".repeat(length), "x".repeat(length)));
    }
    texts
}

#[test]
fn awkward_texts_have_the_ids_of_the_library() {
    for normalizer in normalizers() {
        let both = Both::from_json(&tokenizer(normalizer));
        for text in awkward_texts() {
            both.assert_equal(&text, 3);
        }
    }
}

#[test]
fn the_fixtures_and_the_bundled_model_have_the_packed_form() {
    let mut folders = vec![repository("models/sentiment")];
    for fixtures in ["", "embedding"] {
        let fixtures = repository("crates/encoder/tests/fixtures").join(fixtures);
        let entries = fs::read_dir(fixtures).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        folders.extend(paths.filter(|path| path.join("config.json").is_file()));
    }
    assert!(folders.len() > 28);
    for folder in folders {
        let config = fs::read(folder.join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let rows = config["vocab_size"].as_u64().unwrap() as usize;
        let (mut library, _) = load::load(&Files::read(&folder).unwrap(), &config, rows).unwrap();
        if folder.ends_with("lower-case-old") {
            library.lowercase();
        }
        let both = Both::new(library);
        for text in awkward_texts() {
            both.assert_equal(&text, 3);
        }
    }
}

/// Every character of the first two planes, and those about the ends of what counts as ideographs
/// in the third, in words and beside others of its kind.
#[test]
fn every_character_has_the_ids_of_the_library() {
    let characters: Vec<char> = ('\u{0}'..='\u{20010}')
        .chain('\u{2a6d0}'..='\u{2a710}')
        .chain('\u{2b730}'..='\u{2b930}')
        .chain('\u{2cea0}'..='\u{2ceb0}')
        .chain('\u{2f7f0}'..='\u{2fa2f}')
        .chain('\u{e0000}'..='\u{e01ff}')
        .collect();
    for normalizer in [
        bert(true, true, None, true),
        bert(true, false, Some(false), true),
        bert(false, true, Some(true), false),
        Value::Null,
    ] {
        let mut json = tokenizer(normalizer);
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        for character in &characters {
            for piece in [character.to_string(), format!("##{character}")] {
                let id = vocabulary.len();
                vocabulary.entry(piece).or_insert(id.into());
            }
        }
        let both = Both::from_json(&json);
        for some in characters.chunks(60) {
            let mut text = String::from_iter(some);
            for character in some {
                text.extend([
                    ' ', 'x', *character, 'E', *character, '\u{302e}', '\u{301}', ',',
                ]);
            }
            let whole = both.oracle.all_tokens(&text).unwrap();
            let packed = both.packed.encode(&text, 1 << 20, Side::Right).unwrap();
            let inner = &packed.ids[1..packed.ids.len() - 1];
            assert_eq!(inner, whole.get_ids(), "{text:?}");
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let fragment = prop_oneof![
        4 => "[a-z]{1,9}",
        3 => Just(" ".to_owned()),
        2 => "(good|movie|the|un|believ|able|ing|ed|naive|café|abc|映画|MASK|#){1,4}",
        2 => "\\PC{0,12}",
        1 => proptest::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        2 => "[éÉèñößẞſıIİςΣσйёЙאبक्ิ가각ᄀ\u{1161}\u{11a8}]{1,6}",
        2 => "[\u{300}-\u{345}\u{323}\u{302e}\u{302f}\u{16ff0}\u{1d165}\u{1d16d}\u{5b0}\u{64b}]{1,4}",
        1 => "[映画豈更\u{f900}-\u{faff}𠀀㐀\u{2f800}ひカ]{1,4}",
        1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{ad}\u{fffd}\u{e000}]{1,3}",
        1 => "[ \t\n\r\u{b}\u{c}\u{85}\u{a0}\u{1680}\u{2000}-\u{200f}\u{2028}\u{2029}\u{202f}\u{3000}\u{feff}]{1,3}",
        1 => "[!-/:-@\\[-`{-~“”’–—…¿€£™、。]{1,4}",
        1 => "[😀👍🏽👩\u{200d}👧\u{fe0f}🇩]{1,4}",
        2 => "(\\[(MASK|SEP|CLS|PAD|UNK|mask|M)\\]?){1,3}",
        1 => "[a-zé]{95,135}",
        1 => "[a\u{301}]{95,135}",
    ];
    let joint = prop_oneof![3 => Just(""), 1 => Just(" ")];
    (proptest::collection::vec(fragment, 0..24), joint)
        .prop_map(|(fragments, joint)| fragments.join(joint))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_has_the_ids_of_the_library(texts in proptest::collection::vec(any_text(), 4), setting in 0usize..25, limit in 0usize..40) {
        let both = Both::from_json(&tokenizer(normalizers().swap_remove(setting)));
        for text in texts {
            both.assert_equal(&text, limit);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn any_long_text_has_the_ids_of_the_library(text in any_text(), repeat in 100usize..400, limit in 0usize..300) {
        let both = Both::from_json(&tokenizer(bert(true, true, None, true)));
        both.assert_equal(&text.repeat(repeat), limit);
    }
}

#[test]
fn unusual_vocabularies_and_added_tokens_have_the_ids_of_the_library() {
    type Change = fn(&mut Value);
    let changes: [Change; 9] = [
        |t| t["model"]["continuing_subword_prefix"] = json!(""),
        |t| t["model"]["continuing_subword_prefix"] = json!("a"),
        |t| t["model"]["max_input_chars_per_word"] = json!(0),
        |t| t["model"]["max_input_chars_per_word"] = json!(5),
        |t| t["model"]["max_input_chars_per_word"] = json!(100_000),
        |t| t["model"]["unk_token"] = json!("good"),
        |t| t["added_tokens"] = json!([]),
        |t| {
            let strip = json!({"lstrip": true, "rstrip": true});
            let tokens = [
                "[MASK]", "[M", "ood", "é", "映画", "\u{301}", "\u{1}", "E", "“",
            ];
            t["added_tokens"] = tokens.map(|token| added(token, strip.clone())).into();
        },
        |t| {
            let plain = json!({"special": false});
            let tokens = [
                "[MASK]", "[MASK][", "MASK", "a", "aa", "\u{302e}", "가", "12345",
            ];
            t["added_tokens"] = tokens.map(|token| added(token, plain.clone())).into();
        },
    ];
    for change in changes {
        for normalizer in [
            Value::Null,
            bert(true, true, None, true),
            bert(true, true, None, false),
        ] {
            let mut json = tokenizer(normalizer);
            change(&mut json);
            let both = Both::from_json(&json);
            for text in awkward_texts() {
                both.assert_equal(&text, 3);
                both.assert_equal(&format!("{text} [MASK]\t [MASK] x{text}"), 3);
            }
        }
    }
}

#[test]
fn other_forms_stay_with_the_library() {
    type Change = fn(&mut Value);
    let changes: [Change; 12] = [
        |t| t["normalizer"] = json!({"type": "Lowercase"}),
        |t| t["pre_tokenizer"] = json!({"type": "Whitespace"}),
        |t| t["pre_tokenizer"] = Value::Null,
        |t| t["model"]["unk_token"] = json!("[NONE]"),
        |t| t["model"]["vocab"]["x".repeat(128)] = json!(1000),
        |t| t["added_tokens"][0]["normalized"] = json!(true),
        |t| t["added_tokens"][0]["single_word"] = json!(true),
        |t| t["added_tokens"][0]["content"] = json!("[a b]"),
        |t| {
            let tokens = t["added_tokens"].as_array_mut().unwrap();
            tokens.push(added("[MASK]", json!({"normalized": true})));
            tokens.push(added("[MASK]", json!({})));
        },
        // Two tokens with one id.
        |t| t["model"]["vocab"]["[MASK]"] = t["model"]["vocab"]["[SEP]"].clone(),
        |t| {
            let tokens = (0..257).map(|number| added(&format!("[{number}]"), json!({})));
            t["added_tokens"] = tokens.collect();
        },
        |t| {
            t["model"] =
                json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": t["model"]["vocab"]});
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut json = tokenizer(bert(true, true, None, true));
        change(&mut json);
        let encoder = TextEncoder::from_json(json.to_string().as_bytes(), false).unwrap();
        assert!(
            matches!(encoder, TextEncoder::Library(_)),
            "change {number}"
        );
        assert!(packed(&encoder).is_none(), "change {number}");
        encoder.encode("good", 8, Side::Right).unwrap();
    }
}

#[test]
fn packing_is_repeatable() {
    let json = tokenizer(bert(true, true, None, true)).to_string();
    let first = TextEncoder::from_json(json.as_bytes(), false).unwrap();
    let second = TextEncoder::from_json(json.as_bytes(), false).unwrap();
    let (settings, bytes) = packed(&first).unwrap();
    let again = TextEncoder::packed(settings.clone(), bytes.clone()).unwrap();
    for other in [second, again] {
        let (other_settings, other_bytes) = packed(&other).unwrap();
        assert_eq!(settings, other_settings);
        assert_eq!(*bytes, *other_bytes);
    }
}

#[test]
fn packed_bytes_may_have_any_alignment() {
    let json = tokenizer(bert(true, true, None, true)).to_string();
    let encoder = TextEncoder::from_json(json.as_bytes(), false).unwrap();
    let text = "The good, the unbelievable movie [MASK] naïve";
    for shift in 0..8 {
        let (settings, vocabulary) = packed(&encoder).unwrap();
        let bytes = copy_aligned(&[&vec![0; shift], &vocabulary[..]].concat());
        let bytes = bytes.slice(shift..);
        let shifted = TextEncoder::packed(settings, bytes).unwrap();
        assert_eq!(
            shifted.encode(text, 64, Side::Left).unwrap(),
            encoder.encode(text, 64, Side::Left).unwrap()
        );
    }
}

#[test]
fn every_cut_of_packed_bytes_is_an_error() {
    let json = tokenizer(bert(true, true, None, true)).to_string();
    let encoder = TextEncoder::from_json(json.as_bytes(), false).unwrap();
    let (settings, bytes) = packed(&encoder).unwrap();
    let error = |bytes: &[u8]| match TextEncoder::packed(settings.clone(), copy_aligned(bytes)) {
        Err(error @ ModelError::Corrupt { .. }) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no error"),
    };
    for length in 0..bytes.len() {
        assert!(error(&bytes[..length]).contains("packed tokenizer"));
    }
    assert!(error(&[&bytes[..], &[0]].concat()).contains("after its end"));
}

#[test]
fn settings_that_are_not_a_tokenizer_are_refused() {
    type Change = fn(&mut Settings);
    let json = tokenizer(bert(true, true, None, true)).to_string();
    let encoder = TextEncoder::from_json(json.as_bytes(), false).unwrap();
    let cases: [(Change, &str); 3] = [
        (|settings| settings.frame.prefix.clear(), "no token before"),
        (
            |settings| settings.added.push((String::new(), 0)),
            "is empty",
        ),
        (
            |settings| settings.added = vec![("[A]".to_owned(), 0); 257],
            "too many",
        ),
    ];
    for (change, says) in cases {
        let (mut settings, vocabulary) = packed(&encoder).unwrap();
        change(&mut settings);
        let error = TextEncoder::packed(settings, vocabulary).err().unwrap();
        assert!(error.to_string().contains(says), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    /// An error or a working encoder, never a panic.
    #[test]
    fn random_damage_of_packed_bytes_never_panics(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>(), prop_oneof![any::<u32>(), 0u32..64, Just(u32::MAX)], 1usize..5), 1..6),
        cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
        text in any_text(),
        room in 0usize..40,
    ) {
        use std::sync::LazyLock;
        static PACKED: LazyLock<(Settings, Bytes)> = LazyLock::new(|| {
            let json = tokenizer(bert(true, true, None, true)).to_string();
            let encoder = TextEncoder::from_json(json.as_bytes(), false).unwrap();
            packed(&encoder).unwrap()
        });
        let (settings, bytes) = &*PACKED;
        let mut bytes = bytes.to_vec();
        for (at, early, value, width) in damage {
            // The numbers at the front decide most.
            let at = at.index(if early { 128 } else { bytes.len() - 4 });
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(encoder) = TextEncoder::packed(settings.clone(), copy_aligned(&bytes)) {
            let limit = encoder.special_tokens() + room;
            for side in [Side::Right, Side::Left] {
                let tokens = encoder.encode(&text, limit, side).unwrap();
                assert!(tokens.ids.len() <= limit);
            }
            let _ = encoder.check(64);
        }
    }
}

/// For every character: what [`library::lowercase_first`] makes of BERT's normalizer is the lower case
/// of `tokenizers`, followed by that normalizer.
#[test]
fn lower_case_comes_first() {
    let characters: Vec<char> = ('\0'..=char::MAX).collect();
    for (strip_accents, lowercase) in [(None, false), (Some(true), false)] {
        let bert = BertNormalizer::new(true, true, strip_accents, lowercase);
        let merged = library::lowercase_first(Some(bert.into()));
        let sequence = Sequence::new(vec![Lowercase.into(), bert.into()]);
        for characters in characters.chunks(64) {
            // Accents follow some of them, as if they were decomposed.
            let text: String = characters
                .iter()
                .flat_map(|&c| [c, ' ', c, '\u{301}'])
                .collect();
            let [mut ours, mut theirs] = [(); 2].map(|()| NormalizedString::from(&*text));
            merged.normalize(&mut ours).unwrap();
            sequence.normalize(&mut theirs).unwrap();
            assert_eq!(
                ours.get(),
                theirs.get(),
                "{strip_accents:?} {lowercase} {text:?}"
            );
        }
    }
}
