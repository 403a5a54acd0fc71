//! Converts text in other encodings to UTF-8.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_8};

use crate::dialect::Encoding;

/// What a malformed sequence becomes. UTF-8 never contains this byte, so reading the text reports it.
const MALFORMED: u8 = 0xff;
/// Bytes that are converted at once.
const CHUNK: usize = 64 << 10;

/// The encoding of a text that starts with `head`, of at least 4 bytes if it is as long: that of its byte-order mark, or
/// else `given`. `None` is UTF-8.
///
/// # Errors
/// A byte-order mark of UTF-32.
pub(super) fn detect(
    head: &[u8],
    given: Option<Encoding>,
) -> Result<Option<Encoding>, &'static str> {
    if head.starts_with(b"\xff\xfe\0\0") || head.starts_with(b"\0\0\xfe\xff") {
        return Err(
            "it is encoded in UTF-32; convert it to UTF-8, for example with iconv -f UTF-32 -t UTF-8",
        );
    }
    let found = match encoding_rs::Encoding::for_bom(head) {
        Some((encoding, _)) => Some(Encoding(encoding)),
        None => given,
    };
    Ok(found.filter(|found| found.0 != UTF_8))
}

/// A whole text, converted.
pub(super) fn decode(text: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut reader = Decoding::new(text, encoding);
    reader
        .read_to_end(&mut decoded)
        .expect("memory can be read");
    decoded
}

/// A reader of text in an encoding, converted to UTF-8, without a byte-order mark at its start.
pub(super) struct Decoding<R> {
    reader: R,
    decoder: Decoder,
    raw: Vec<u8>,
    /// The part of `raw` that is not converted yet.
    rest: std::ops::Range<usize>,
    is_end: bool,
    is_done: bool,
    decoded: Vec<u8>,
    /// How many bytes of `decoded` were read.
    read: usize,
}

impl<R: Read> Decoding<R> {
    pub(super) fn new(reader: R, encoding: Encoding) -> Self {
        Self {
            reader,
            decoder: encoding.0.new_decoder_with_bom_removal(),
            raw: vec![0; CHUNK],
            rest: 0..0,
            is_end: false,
            is_done: false,
            decoded: Vec::new(),
            read: 0,
        }
    }

    /// Converts more bytes.
    fn convert(&mut self) -> io::Result<()> {
        if self.rest.is_empty() && !self.is_end {
            let read = self.reader.read(&mut self.raw)?;
            (self.rest, self.is_end) = (0..read, read == 0);
        }
        self.decoded.resize(CHUNK, 0);
        let raw = &self.raw[self.rest.clone()];
        let decoded = &mut self.decoded;
        let (result, read, written) =
            self.decoder
                .decode_to_utf8_without_replacement(raw, decoded, self.is_end);
        self.decoded.truncate(written);
        self.read = 0;
        self.rest.start += read;
        match result {
            DecoderResult::Malformed(..) => self.decoded.push(MALFORMED),
            DecoderResult::InputEmpty => self.is_done = self.is_end,
            DecoderResult::OutputFull => {}
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoding<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.decoded.len() {
            if self.is_done {
                return Ok(0);
            }
            self.convert()?;
        }
        let read = (&self.decoded[self.read..]).read(out)?;
        self.read += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(name: &str) -> Encoding {
        name.parse().unwrap()
    }

    #[test]
    fn a_byte_order_mark_overrides_what_is_given() {
        let latin = Some(encoding("latin1"));
        let name = |head: &[u8], given| detect(head, given).unwrap().map(Encoding::name);
        assert_eq!(name(b"a", None), None);
        assert_eq!(name(b"a", Some(encoding("utf-8"))), None);
        assert_eq!(name(b"a", latin), Some("windows-1252"));
        assert_eq!(name(b"\xff\xfea\0", latin), Some("UTF-16LE"));
        assert_eq!(name(b"\xfe\xff\0a", None), Some("UTF-16BE"));
        assert_eq!(name(b"\xef\xbb\xbfa", latin), None);
        assert!(detect(b"\xff\xfe\0\0a\0\0\0", None).is_err());
    }

    #[test]
    fn malformed_sequences_become_invalid_utf8() {
        let japanese = ["日本 ".as_bytes(), &[MALFORMED], b"\n"].concat();
        for (name, text, expected) in [
            ("latin1", &b"Tr\xe8s \x80"[..], "Très €".as_bytes()),
            ("shift_jis", b"\x93\xfa\x96\x7b \xfc\n", &japanese),
            ("utf-16le", b"\xff\xfea\0\x3d\xd8\n\0", b"a\xff\n"),
            ("utf-16be", b"\0a\0", b"a\xff"),
        ] {
            assert_eq!(decode(text, encoding(name)), expected, "{name}");
        }
    }

    #[test]
    fn long_texts_are_converted_in_pieces() {
        let text = "ü€😀\n".repeat(100_000);
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(decode(&wide, encoding("utf-16le")) == text.as_bytes());
    }
}
