//! BERT's tokenizer on packed bytes: a text is normalized, split and looked up in one pass, which stops
//! at the token limit.

use std::iter;

use serde::{Deserialize, Serialize};
use shoal_kernels::Bytes;
use unicode_normalization_alignments::UnicodeNormalization;

use super::characters::{Kind, is_ideograph};
use super::pieces::{Layout, Pieces};
use super::tokens::{Frame, Side};
use crate::error::ModelError;

/// Most added tokens: they are compared one by one.
pub(super) const MAX_ADDED: usize = 256;

/// Everything that determines the tokens of a text, apart from the vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(super) rules: Rules,
    /// Longer words are unknown.
    pub(super) max_characters: usize,
    pub(super) unknown: u32,
    pub(super) frame: Frame,
    /// Tokens that are matched anywhere in a text, before normalization.
    pub(super) added: Vec<(String, u32)>,
}

/// How a text is normalized before it is split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    /// Control characters are removed.
    pub(super) clean: bool,
    /// Every ideograph is one word.
    pub(super) ideographs: bool,
    /// Characters are decomposed, and their accents removed.
    pub(super) strip_accents: bool,
    pub(super) lowercase: bool,
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

/// A tokenizer on a packed vocabulary.
pub(crate) struct WordPieceEncoder {
    /// The added tokens are sorted, the longest first.
    pub(super) settings: Settings,
    pub(super) vocabulary: Bytes,
    layout: Layout,
    /// What each byte begins.
    steps: [u8; 256],
    /// The same, ignoring added tokens.
    steps_of_text: [u8; 256],
}

impl WordPieceEncoder {
    /// Checks all of `vocabulary` in one pass.
    pub(super) fn new(
        mut settings: Settings,
        vocabulary: Bytes,
    ) -> Result<WordPieceEncoder, ModelError> {
        let corrupt = |reason| ModelError::corrupt("the packed tokenizer", reason);
        if settings.frame.prefix.is_empty() {
            return Err(corrupt("it puts no token before the text"));
        }
        let added = &mut settings.added;
        if added.len() > MAX_ADDED {
            return Err(corrupt("it has too many added tokens"));
        }
        if added.iter().any(|(text, _)| text.is_empty()) {
            return Err(corrupt("an added token is empty"));
        }
        added.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        let steps_of_text = std::array::from_fn(|byte| step_of(byte as u8, settings.rules));
        let mut steps = steps_of_text;
        for (text, _) in &settings.added {
            steps[usize::from(text.as_bytes()[0])] = step::ADDED;
        }
        Ok(WordPieceEncoder {
            layout: Layout::check(&vocabulary).map_err(corrupt)?,
            settings,
            vocabulary,
            steps,
            steps_of_text,
        })
    }

    /// Adds the tokens of `text` to `ids`, cut on `side` to `room`; returns whether there are more.
    pub(super) fn encode(&self, text: &str, room: usize, side: Side, ids: &mut Vec<u32>) -> bool {
        let start = ids.len();
        let limit = start.saturating_add(room);
        let mut words = Words {
            settings: &self.settings,
            pieces: self.layout.of(&self.vocabulary),
            word: Vec::new(),
            characters: 0,
            ids,
            start,
            limit,
            side,
            truncated: false,
        };
        self.divide(text, &mut words);
        words.cut()
    }

    /// A token with an id of `rows` or more, and that id; the smallest such id.
    pub(super) fn beyond(&self, rows: usize) -> Option<(String, u32)> {
        let added = self.settings.added.iter();
        let added = added.map(|(text, id)| (text.as_bytes(), *id));
        let pieces = self.layout.of(&self.vocabulary);
        let all = added.chain(pieces.all());
        let beyond = all.filter(|&(_, id)| id as usize >= rows);
        let (text, id) = beyond.min_by_key(|&(_, id)| id)?;
        Some((String::from_utf8_lossy(text).into_owned(), id))
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
                    words.push(*id);
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
        let mut added = self.settings.added.iter();
        added.find(|(added, _)| text.starts_with(added.as_bytes()))
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
        if rules.clean && kind.is(Kind::REMOVED) {
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
        if kind.is(Kind::INERT) {
            if !kind.is(Kind::MARK) {
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
    if rules.clean && kind.is(Kind::REMOVED) {
        step::REMOVED
    } else if kind.is(Kind::SPACE) {
        step::SPACE
    } else if kind.is(Kind::PUNCTUATION) {
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
            let removed = rules.clean && kind.is(Kind::REMOVED);
            if !removed && (kind.is(Kind::INERT) || rules.ideographs && is_ideograph(character)) {
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
    ids: &'a mut Vec<u32>,
    /// Where the ids of the text start.
    start: usize,
    /// Where they end at the most.
    limit: usize,
    side: Side,
    /// Whether ids of the text were dropped.
    truncated: bool,
}

impl Words<'_> {
    fn are_enough(&self) -> bool {
        self.side == Side::Right && self.ids.len() > self.limit
    }

    /// Adds an id that is a word.
    fn push(&mut self, id: u32) {
        self.ids.push(id);
        self.bound();
    }

    /// Keeps the number of ids below a multiple of the limit while more follow.
    fn bound(&mut self) {
        const SPARE: usize = 4096;
        let length = self.limit - self.start;
        if self.side == Side::Left && self.ids.len() > self.limit.saturating_add(length.max(SPARE))
        {
            self.cut();
        }
    }

    /// Cuts the ids to the limit; returns whether any were dropped.
    fn cut(&mut self) -> bool {
        let excess = self.ids.len().saturating_sub(self.limit);
        match self.side {
            Side::Right => self.ids.truncate(self.limit),
            Side::Left => drop(self.ids.drain(self.start..self.start + excess)),
        }
        self.truncated |= excess > 0;
        self.truncated
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
            if !Kind::of(character).is(Kind::MARK) {
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
        if kind.is(Kind::SPACE) {
            self.end_word();
        } else if kind.is(Kind::PUNCTUATION) {
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
        self.bound();
    }
}
