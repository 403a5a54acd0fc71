//! The pieces of a WordPiece vocabulary as a hash table in bytes, which is searched in place.
//!
//! A hash assigns each piece to a bucket. All integers are little-endian, at any alignment:
//!
//! ```text
//! buckets   u32              their number, at least 1
//! starts    u32 × buckets+1  where each bucket's records start, and where the last ends
//! records                    the pieces of bucket 0, of bucket 1, …
//!   head      u8             length in bytes, 1 to 127; 128 more for a piece inside a word
//!   id        u32
//!   text      head & 127     without the prefix that marks pieces inside a word
//! ```
//!
//! A piece with the prefix is stored twice, because a word may begin with the prefix.

use std::collections::HashMap;

/// Most bytes of a piece.
const MAX_LENGTH: usize = 127;
const INSIDE: u8 = 128;
/// `head` and `id`.
const RECORD: usize = 5;
/// Most bytes of a bucket, so that damaged bytes cannot make a search slow.
const MAX_BUCKET: usize = 4096;

/// Where the pieces are in checked bytes.
pub(super) struct Layout {
    /// Where the records start.
    records: usize,
    /// Length of the longest piece.
    longest: usize,
}

/// The pieces, for lookup.
pub(super) struct Pieces<'a> {
    starts: &'a [[u8; 4]],
    records: &'a [u8],
    longest: usize,
}

/// An incremental hash, so that all prefixes of a text are hashed in one pass: 32-bit FNV-1a.
#[derive(Clone, Copy, Default)]
struct Hash(u32);

impl Hash {
    fn new(inside: bool) -> Hash {
        // Different, so that a piece that is stored twice is in two buckets.
        Hash(if inside { 0x5bd1_e995 } else { 0x811c_9dc5 })
    }

    fn with(self, byte: u8) -> Hash {
        Hash((self.0 ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    fn bucket(self, buckets: usize) -> usize {
        // FNV mixes towards the high bits, and even these are similar for short texts.
        let mixed = (self.0 ^ (self.0 >> 15)).wrapping_mul(0x9e37_79b1);
        ((u64::from(mixed) * buckets as u64) >> 32) as usize
    }
}

/// The bytes of a vocabulary; `None` if a piece does not fit the format. The same vocabulary
/// always gives the same bytes.
pub(super) fn pack(vocabulary: &HashMap<String, u32>, prefix: &str) -> Option<Vec<u8>> {
    let mut pieces: Vec<(bool, &str, u32)> = Vec::with_capacity(vocabulary.len() * 5 / 4);
    for (piece, &id) in vocabulary {
        pieces.push((false, piece, id));
        if let Some(piece) = piece.strip_prefix(prefix) {
            pieces.push((true, piece, id));
        }
    }
    // No word has an empty piece.
    pieces.retain(|(_, piece, _)| !piece.is_empty());

    let buckets = (pieces.len() / 2).max(1);
    let mut records = Vec::with_capacity(pieces.len());
    for (inside, piece, id) in pieces {
        if piece.len() > MAX_LENGTH {
            return None;
        }
        let hash = piece.bytes().fold(Hash::new(inside), Hash::with);
        records.push((hash.bucket(buckets), inside, piece, id));
    }
    records.sort_unstable();

    let mut starts = Vec::with_capacity(buckets + 1);
    let mut bytes = Vec::new();
    for (bucket, inside, piece, id) in records {
        starts.resize(bucket + 1, bytes.len());
        bytes.push(piece.len() as u8 | if inside { INSIDE } else { 0 });
        bytes.extend(id.to_le_bytes());
        bytes.extend(piece.as_bytes());
    }
    starts.resize(buckets + 1, bytes.len());
    if starts.windows(2).any(|pair| pair[1] - pair[0] > MAX_BUCKET) {
        return None;
    }
    let mut packed = Vec::with_capacity(4 * (buckets + 2) + bytes.len());
    for number in std::iter::once(buckets).chain(starts) {
        packed.extend(u32::try_from(number).ok()?.to_le_bytes());
    }
    packed.extend(bytes);
    Some(packed)
}

impl Layout {
    /// Checks all of `bytes`.
    pub(super) fn check(bytes: &[u8]) -> Result<Layout, &'static str> {
        let cut_short = "it was cut short";
        let (buckets, data) = bytes.split_first_chunk().ok_or(cut_short)?;
        let buckets = u32::from_le_bytes(*buckets) as usize;
        if buckets == 0 {
            return Err("its vocabulary has no buckets");
        }
        let size = buckets
            .checked_add(1)
            .and_then(|starts| starts.checked_mul(4))
            .ok_or(cut_short)?;
        let (starts, records) = data.split_at_checked(size).ok_or(cut_short)?;
        let (starts, _) = starts.as_chunks();

        let (mut end, mut longest) = (0, 0);
        for &start in starts {
            let start = u32::from_le_bytes(start) as usize;
            let bucket = records
                .get(end..start)
                .filter(|bucket| bucket.len() <= MAX_BUCKET)
                .ok_or("its vocabulary has a bucket out of place")?;
            let mut at = 0;
            while at < bucket.len() {
                let length = usize::from(bucket[at] & !INSIDE);
                if length == 0 {
                    return Err("its vocabulary has an empty piece");
                }
                longest = longest.max(length);
                at += RECORD + length;
            }
            if at > bucket.len() {
                return Err("its vocabulary has a piece out of place");
            }
            end = start;
        }
        if end != records.len() {
            return Err("there is more after its end");
        }
        Ok(Layout {
            records: 4 + size,
            longest,
        })
    }

    /// The pieces in the checked bytes.
    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> Pieces<'a> {
        let (starts, records) = bytes.split_at(self.records);
        Pieces {
            starts: starts[4..].as_chunks().0,
            records,
            longest: self.longest,
        }
    }
}

impl<'a> Pieces<'a> {
    /// All pieces with their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'a [u8], u32)> + use<'a> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let (&[head, ref id @ ..], after) = rest.split_first_chunk::<RECORD>()?;
            let (text, after) = after.split_at_checked(usize::from(head & !INSIDE))?;
            rest = after;
            Some((text, u32::from_le_bytes(*id)))
        })
    }

    /// Id and length of the longest piece that `text` begins with. `text` is a word, or if `inside`, the
    /// rest of one.
    pub(super) fn longest(&self, text: &[u8], inside: bool) -> Option<(u32, usize)> {
        let limit = text.len().min(self.longest);
        let mut hashes = [Hash::default(); MAX_LENGTH];
        let mut hash = Hash::new(inside);
        for (slot, &byte) in hashes.iter_mut().zip(&text[..limit]) {
            hash = hash.with(byte);
            *slot = hash;
        }
        (1..=limit).rev().find_map(|length| {
            // Pieces consist of whole characters: none ends before a continuation byte.
            if text.get(length).is_some_and(|byte| byte & 0xc0 == 0x80) {
                return None;
            }
            let id = self.id(&text[..length], inside, hashes[length - 1])?;
            Some((id, length))
        })
    }

    fn id(&self, piece: &[u8], inside: bool, hash: Hash) -> Option<u32> {
        let bucket = hash.bucket(self.starts.len().checked_sub(1)?);
        let [start, end] = self.starts.get(bucket..bucket + 2)? else {
            return None;
        };
        let range = u32::from_le_bytes(*start) as usize..u32::from_le_bytes(*end) as usize;
        let mut records = self.records.get(range)?;
        let wanted = piece.len() as u8 | if inside { INSIDE } else { 0 };
        while let Some((&[head, ref id @ ..], rest)) = records.split_first_chunk::<RECORD>() {
            let (text, rest) = rest.split_at_checked(usize::from(head & !INSIDE))?;
            if head == wanted && text == piece {
                return Some(u32::from_le_bytes(*id));
            }
            records = rest;
        }
        None
    }
}
