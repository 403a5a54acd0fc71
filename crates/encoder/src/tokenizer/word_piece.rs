//! BERT's tokenizer on packed bytes: a text is normalized, split and looked up in one pass, which stops
//! at the token limit.

use std::collections::HashMap;
use std::iter;
use std::ops::Deref;

use unicode_normalization_alignments::UnicodeNormalization;

use super::characters::{Kind, is_ideograph};
use super::pieces::{self, Layout, Pieces};
use super::tokens::{Frame, Tokens};
use crate::error::ModelError;

/// Name of the bytes in error messages.
pub(super) const PACKED: &str = "the packed tokenizer";
/// Most added tokens: they are compared one by one.
const MAX_ADDED: usize = 256;

/// Everything that determines the tokens of a text, apart from the special tokens around it.
pub(super) struct Settings {
    pub(super) rules: Rules,
    /// Longer words are unknown.
    pub(super) max_characters: usize,
    pub(super) unknown: u32,
    /// Tokens that are matched anywhere in a text, before normalization.
    pub(super) added: Vec<(String, u32)>,
}

/// How a text is normalized before it is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    /// Control characters are removed.
    pub(super) clean: bool,
    /// Every ideograph is one word.
    pub(super) ideographs: bool,
    /// Characters are decomposed, and their accents removed.
    pub(super) strip_accents: bool,
    pub(super) lowercase: bool,
}

impl Rules {
    fn to_bits(self) -> u32 {
        let fields = [
            self.clean,
            self.ideographs,
            self.strip_accents,
            self.lowercase,
        ];
        (0..)
            .zip(fields)
            .map(|(bit, field)| u32::from(field) << bit)
            .sum()
    }

    fn from_bits(bits: u32) -> Option<Rules> {
        let field = |bit: u32| (bits >> bit) & 1 != 0;
        (bits < 1 << 4).then_some(Rules {
            clean: field(0),
            ideographs: field(1),
            strip_accents: field(2),
            lowercase: field(3),
        })
    }
}

/// The bytes of a tokenizer; `None` if they cannot hold it. All integers are little-endian `u32`,
/// at any alignment:
///
/// ```text
/// rules            one bit each, in the order of the fields
/// max_characters
/// unknown
/// prefix           length, ids
/// suffix           length, ids
/// added            how many, then each: id, length in bytes, UTF-8
/// pieces           to the end, see `pieces`
/// ```
pub(super) fn pack(
    settings: &Settings,
    frame: &Frame,
    vocabulary: &HashMap<String, u32>,
    inside_prefix: &str,
) -> Option<Vec<u8>> {
    if settings.added.len() > MAX_ADDED {
        return None;
    }
    let mut bytes = Vec::new();
    let number = |bytes: &mut Vec<u8>, number: usize| {
        bytes.extend(u32::try_from(number).ok()?.to_le_bytes());
        Some(())
    };
    bytes.extend(settings.rules.to_bits().to_le_bytes());
    number(&mut bytes, settings.max_characters)?;
    bytes.extend(settings.unknown.to_le_bytes());
    for ids in [&frame.prefix, &frame.suffix] {
        number(&mut bytes, ids.len())?;
        bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    }
    number(&mut bytes, settings.added.len())?;
    for (text, id) in &settings.added {
        bytes.extend(id.to_le_bytes());
        number(&mut bytes, text.len())?;
        bytes.extend(text.as_bytes());
    }
    bytes.extend(pieces::pack(vocabulary, inside_prefix)?);
    Some(bytes)
}

/// Reads numbers and texts from the start of bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ModelError> {
        let taken = self.bytes[self.at..]
            .get(..length)
            .ok_or_else(|| ModelError::corrupt(PACKED, "it was cut short"))?;
        self.at += length;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, ModelError> {
        let (bytes, _) = self.take(4)?.as_chunks();
        Ok(u32::from_le_bytes(bytes[0]))
    }

    fn numbers(&mut self) -> Result<Vec<u32>, ModelError> {
        let length = self.number()? as usize;
        let (numbers, _) = self.take(length.saturating_mul(4))?.as_chunks();
        Ok(numbers.iter().copied().map(u32::from_le_bytes).collect())
    }
}

/// What a byte begins, other than a letter. An ASCII letter is itself, in lower case if the rules say
/// so.
mod step {
    pub(super) const SPACE: u8 = 0x80;
    pub(super) const PUNCTUATION: u8 = 0x81;
    pub(super) const REMOVED: u8 = 0x82;
    /// A character beyond ASCII.
    pub(super) const WIDE: u8 = 0x83;
    /// Possibly an added token.
    pub(super) const ADDED: u8 = 0x84;
}

/// A tokenizer on packed bytes.
pub(super) struct WordPieceEncoder {
    bytes: Box<dyn Deref<Target = [u8]> + Send + Sync>,
    layout: Layout,
    /// The added tokens are sorted, the longest first.
    settings: Settings,
    /// What each byte begins.
    steps: [u8; 256],
    /// The same, ignoring added tokens.
    steps_of_text: [u8; 256],
}

impl WordPieceEncoder {
    /// Checks all of `bytes` in one pass. Also returns the special tokens around every text.
    pub(super) fn new(
        bytes: Box<dyn Deref<Target = [u8]> + Send + Sync>,
    ) -> Result<(WordPieceEncoder, Frame), ModelError> {
        let corrupt = |reason: &str| ModelError::corrupt(PACKED, reason);
        let mut reader = Reader {
            bytes: &bytes,
            at: 0,
        };
        let rules = Rules::from_bits(reader.number()?).ok_or_else(|| corrupt("unknown rules"))?;
        let max_characters = reader.number()? as usize;
        let unknown = reader.number()?;
        let frame = Frame {
            prefix: reader.numbers()?,
            suffix: reader.numbers()?,
        };
        if frame.prefix.is_empty() {
            return Err(corrupt("it puts no token before the text"));
        }
        let count = reader.number()? as usize;
        if count > MAX_ADDED {
            return Err(corrupt("it has too many added tokens"));
        }
        let mut added = Vec::with_capacity(count);
        for _ in 0..count {
            let id = reader.number()?;
            let length = reader.number()? as usize;
            let text = str::from_utf8(reader.take(length)?)
                .map_err(|_| corrupt("an added token is not UTF-8"))?;
            if text.is_empty() {
                return Err(corrupt("an added token is empty"));
            }
            added.push((text.to_owned(), id));
        }
        added.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let layout = Layout::check(&bytes, reader.at).map_err(corrupt)?;

        let steps_of_text = std::array::from_fn(|byte| step_of(byte as u8, rules));
        let mut steps = steps_of_text;
        for (text, _) in &added {
            steps[usize::from(text.as_bytes()[0])] = step::ADDED;
        }
        let encoder = WordPieceEncoder {
            layout,
            settings: Settings {
                rules,
                max_characters,
                unknown,
                added,
            },
            steps,
            steps_of_text,
            bytes,
        };
        Ok((encoder, frame))
    }

    /// The bytes that this was made from.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tokens of `text`, cut on the right to `room`, with those of `frame` around them.
    pub(super) fn encode(&self, text: &str, room: usize, frame: &Frame) -> Tokens {
        // Texts usually have fewer tokens than half their bytes, in any language.
        let mut ids = Vec::with_capacity(frame.size() + room.min(text.len() / 2) + 1);
        ids.extend_from_slice(&frame.prefix);
        let limit = ids.len().saturating_add(room);
        let mut words = Words {
            settings: &self.settings,
            pieces: self.layout.of(&self.bytes),
            word: Vec::new(),
            characters: 0,
            ids,
            limit,
        };
        self.divide(text, &mut words);
        let mut ids = words.ids;
        let truncated = ids.len() > limit;
        ids.truncate(limit);
        ids.extend_from_slice(&frame.suffix);
        Tokens {
            ids,
            truncated,
            prompt: 0,
        }
    }

    /// Adds the words of `text` to `words` until there are enough.
    fn divide(&self, text: &str, words: &mut Words) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at)
            && !words.are_enough()
        {
            let mut step = self.steps[usize::from(byte)];
            if step == step::ADDED {
                if let Some((added, id)) = self.added_at(&bytes[at..]) {
                    words.end_word();
                    words.ids.push(*id);
                    at += added.len();
                    continue;
                }
                step = self.steps_of_text[usize::from(byte)];
            }
            match step {
                step::WIDE => at = self.wide_character(text, at, words),
                step::SPACE => {
                    words.end_word();
                    at += 1;
                }
                step::PUNCTUATION => {
                    words.end_word();
                    words.letter(byte);
                    words.end_word();
                    at += 1;
                }
                step::REMOVED => at += 1,
                letter => {
                    words.letter(letter);
                    at += 1;
                }
            }
        }
        if !words.are_enough() {
            words.end_word();
        }
    }

    /// The longest added token that `text` begins with.
    fn added_at(&self, text: &[u8]) -> Option<&(String, u32)> {
        let added = self.settings.added.iter();
        added
            .clone()
            .find(|(added, _)| text.starts_with(added.as_bytes()))
    }

    /// Adds the character at `at`, which is not ASCII, and perhaps some that follow; returns where they
    /// end.
    fn wide_character(&self, text: &str, at: usize, words: &mut Words) -> usize {
        let rules = self.settings.rules;
        let Some(character) = text[at..].chars().next() else {
            return text.len();
        };
        let after = at + character.len_utf8();
        let kind = Kind::of(character);
        if rules.clean && kind.is_removed() {
            return after;
        }
        if rules.ideographs && is_ideograph(character) {
            words.end_word();
            if rules.strip_accents {
                words.decomposed(iter::once(character));
            } else {
                words.character(character);
            }
            words.end_word();
            return after;
        }
        if !rules.strip_accents {
            words.character(character);
            return after;
        }
        if kind.is_inert() {
            if !kind.is_mark() {
                words.character(character);
            }
            return after;
        }
        let mut run = Run {
            encoder: self,
            text,
            at,
        };
        words.decomposed(&mut run);
        run.at
    }
}

fn step_of(byte: u8, rules: Rules) -> u8 {
    if !byte.is_ascii() {
        return step::WIDE;
    }
    let kind = Kind::of(char::from(byte));
    if rules.clean && kind.is_removed() {
        step::REMOVED
    } else if kind.is_space() {
        step::SPACE
    } else if kind.is_punctuation() {
        step::PUNCTUATION
    } else if rules.lowercase {
        byte.to_ascii_lowercase()
    } else {
        byte
    }
}

/// The cleaned characters from `at` up to one that canonical decomposition does not change or reorder.
/// Such a run is decomposed as in the whole text.
struct Run<'a> {
    encoder: &'a WordPieceEncoder,
    text: &'a str,
    at: usize,
}

impl Iterator for Run<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let rules = self.encoder.settings.rules;
        loop {
            let rest = &self.text[self.at..];
            let character = rest.chars().next()?;
            let step = self.encoder.steps[usize::from(rest.as_bytes()[0])];
            if step == step::ADDED && self.encoder.added_at(rest.as_bytes()).is_some() {
                return None;
            }
            let kind = Kind::of(character);
            let removed = rules.clean && kind.is_removed();
            if !removed && (kind.is_inert() || rules.ideographs && is_ideograph(character)) {
                return None;
            }
            self.at += character.len_utf8();
            if !removed {
                return Some(character);
            }
        }
    }
}

/// The word that is being read, and the tokens of those before it.
struct Words<'a> {
    settings: &'a Settings,
    pieces: Pieces<'a>,
    /// The normalized word, up to the most characters that a word may have.
    word: Vec<u8>,
    characters: usize,
    ids: Vec<u32>,
    /// More ids than this are enough.
    limit: usize,
}

impl Words<'_> {
    fn are_enough(&self) -> bool {
        self.ids.len() > self.limit
    }

    /// Adds a normalized ASCII character to the word.
    fn letter(&mut self, letter: u8) {
        self.characters += 1;
        if self.characters <= self.settings.max_characters {
            self.word.push(letter);
        }
    }

    /// Decomposes characters and adds them.
    fn decomposed(&mut self, characters: impl Iterator<Item = char>) {
        for (character, _) in characters.nfd() {
            if !Kind::of(character).is_mark() {
                self.character(character);
            }
            if self.are_enough() {
                break;
            }
        }
    }

    /// Adds a character that is normalized except for its case.
    fn character(&mut self, character: char) {
        if self.settings.rules.lowercase {
            for character in character.to_lowercase() {
                self.divide(character);
            }
        } else {
            self.divide(character);
        }
    }

    fn divide(&mut self, character: char) {
        let kind = Kind::of(character);
        if kind.is_space() {
            self.end_word();
        } else if kind.is_punctuation() {
            self.end_word();
            self.add(character);
            self.end_word();
        } else {
            self.add(character);
        }
    }

    fn add(&mut self, character: char) {
        self.characters += 1;
        if self.characters <= self.settings.max_characters {
            let mut buffer = [0; 4];
            self.word
                .extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }

    /// Splits the word into the longest pieces from the left. If a part of it has no piece, the whole word
    /// is unknown.
    fn end_word(&mut self) {
        if self.characters == 0 {
            return;
        }
        let known = self.ids.len();
        let mut rest = self.word.as_slice();
        let mut whole = self.characters <= self.settings.max_characters;
        while whole && !rest.is_empty() {
            let inside = rest.len() < self.word.len();
            match self.pieces.longest(rest, inside) {
                Some((id, length)) => {
                    self.ids.push(id);
                    rest = &rest[length..];
                }
                None => whole = false,
            }
        }
        if !whole {
            self.ids.truncate(known);
            self.ids.push(self.settings.unknown);
        }
        self.word.clear();
        self.characters = 0;
    }
}
