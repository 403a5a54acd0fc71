//! The properties of characters that BERT's normalizer and pre-tokenizer depend on.
//!
//! They come from the crates that `tokenizers` uses, so that they belong to the same version of Unicode,
//! and are cached, because those crates search up to a dozen tables for each.

use std::sync::atomic::{AtomicU8, Ordering};

use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

/// The properties of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    /// Separates words.
    pub(super) const SPACE: u8 = 1;
    /// Is one word.
    pub(super) const PUNCTUATION: u8 = 1 << 1;
    /// Is removed if the text is cleaned.
    pub(super) const REMOVED: u8 = 1 << 2;
    /// Is removed if accents are stripped.
    pub(super) const MARK: u8 = 1 << 3;
    /// Canonical decomposition neither changes it nor reorders anything across it.
    pub(super) const INERT: u8 = 1 << 4;
    /// Set in every cached value, so that none is 0.
    const KNOWN: u8 = 1 << 7;

    pub(super) fn of(character: char) -> Kind {
        // Pages of zeros take no memory until they are written. Threads that race write the same value.
        static KINDS: [AtomicU8; 0x11_0000] = [const { AtomicU8::new(0) }; 0x11_0000];
        let slot = &KINDS[character as usize];
        match slot.load(Ordering::Relaxed) {
            0 => {
                let kind = Kind::find(character);
                slot.store(kind.0, Ordering::Relaxed);
                kind
            }
            kind => Kind(kind),
        }
    }

    fn find(character: char) -> Kind {
        let removed = match character {
            '\t' | '\n' | '\r' => false,
            '\0' | '\u{fffd}' => true,
            _ => character.is_other(),
        };
        let mut decomposed = false;
        decompose_canonical(character, |part| decomposed |= part != character);
        let inert = !decomposed && canonical_combining_class(character) == 0;
        let punctuation = character.is_ascii_punctuation() || character.is_punctuation();
        let properties = [
            (character.is_whitespace(), Kind::SPACE),
            (punctuation, Kind::PUNCTUATION),
            (removed, Kind::REMOVED),
            (character.is_mark_nonspacing(), Kind::MARK),
            (inert, Kind::INERT),
        ];
        let held = properties.into_iter().filter(|(holds, _)| *holds);
        Kind(held.fold(Kind::KNOWN, |kind, (_, property)| kind | property))
    }

    pub(super) fn is(self, property: u8) -> bool {
        self.0 & property != 0
    }
}

/// Whether BERT treats the character as Chinese, so that it is one word.
pub(super) fn is_ideograph(character: char) -> bool {
    matches!(
        u32::from(character),
        0x4e00..=0x9fff
            | 0x3400..=0x4dbf
            | 0x2_0000..=0x2_a6df
            | 0x2_a700..=0x2_b73f
            | 0x2_b740..=0x2_b81f
            // As `tokenizers` has it; the block begins at 0x2b820.
            | 0x2_b920..=0x2_ceaf
            | 0xf900..=0xfaff
            | 0x2_f800..=0x2_fa1f
    )
}
