//! Decompression of text formats.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use serde::Serialize;

/// Memory for the window of a zstd frame is limited to two to the power of this: 2 GiB, the most that `zstd --long=31` needs.
/// The decoder uses no more of it than the content is long.
const MAX_ZSTD_WINDOW_LOG: u32 = 31;

/// The compression of a text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Uncompressed.
    None,
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// The number of bytes behind the compressed data that are not part of it.
pub(super) type Ignored = Rc<Cell<u64>>;

impl Compression {
    /// `reader`'s bytes, decompressed, to the end of `reader`. Bytes that are skipped are counted in `ignored`.
    pub(super) fn decompress(
        self,
        reader: impl Read + 'static,
        ignored: &Ignored,
    ) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::None => Box::new(reader),
            Self::Gzip => Box::new(Gzip {
                next: Next::Member(member(&[], BufReader::new(reader))),
                ignored: ignored.clone(),
            }),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(reader)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// What is wrong with compressed data.
pub(super) fn damage(error: &io::Error) -> String {
    let text = error.to_string();
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "the compressed file ends too early; it is truncated".into()
    } else if text.contains("too much memory") {
        "its zstd window is larger than 2 GiB; compress it again with zstd --long=31 or less".into()
    } else if text.contains("not enough memory") {
        "there is not enough memory for its zstd window; compress it again without --long".into()
    } else if text.contains("Unknown frame descriptor") {
        "data that is not zstd follows its compressed data; copy the file again, or unpack it with `zstd -dc`".into()
    } else {
        format!("the compressed file is damaged: {text}")
    }
}

/// The members of a gzip file, one after the other. As for `gzip`, other bytes after them are no error; zeros are padding, also
/// between members.
struct Gzip<R> {
    next: Next<R>,
    ignored: Ignored,
}

enum Next<R> {
    Member(Box<Member<R>>),
    /// The end of a member.
    Between(BufReader<R>),
    End,
}

/// A member, the first bytes of which were read already.
type Member<R> = GzDecoder<io::Chain<Cursor<Vec<u8>>, BufReader<R>>>;

fn member<R: Read>(first: &[u8], rest: BufReader<R>) -> Box<Member<R>> {
    Box::new(GzDecoder::new(Cursor::new(first.to_vec()).chain(rest)))
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            self.next = match std::mem::replace(&mut self.next, Next::End) {
                Next::End => return Ok(0),
                Next::Member(mut member) => {
                    let read = member.read(out)?;
                    if read > 0 || out.is_empty() {
                        self.next = Next::Member(member);
                        return Ok(read);
                    }
                    Next::Between(member.into_inner().into_inner().1)
                }
                Next::Between(mut reader) => match after_padding(&mut reader)?.as_slice() {
                    [] => Next::End,
                    [0x1f] => return Err(io::ErrorKind::UnexpectedEof.into()),
                    magic @ [0x1f, 0x8b] => Next::Member(member(magic, reader)),
                    other => {
                        let rest = io::copy(&mut reader, &mut io::sink())?;
                        self.ignored.set(rest + other.len() as u64);
                        Next::End
                    }
                },
            };
        }
    }
}

/// The next two bytes, fewer at the end, without zeros before them.
fn after_padding(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    loop {
        let bytes = reader.fill_buf()?;
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let is_end = zeros < bytes.len() || bytes.is_empty();
        reader.consume(zeros);
        if is_end {
            let mut next = Vec::new();
            reader.take(2).read_to_end(&mut next)?;
            return Ok(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// The content, and the number of ignored bytes.
    fn read(compression: Compression, file: Vec<u8>) -> Result<(String, u64), String> {
        let ignored = Ignored::default();
        let mut text = String::new();
        compression
            .decompress(Cursor::new(file), &ignored)
            .and_then(|mut reader| reader.read_to_string(&mut text))
            .map_err(|e| damage(&e))?;
        Ok((text, ignored.get()))
    }

    #[test]
    fn bytes_behind_gzip_members_are_ignored() {
        let [a, b] = [gzip("a\n"), gzip("b\n")];
        let zeros = vec![0; 100_000];
        for (file, text, ignored) in [
            (a.clone(), "a\n", 0),
            ([&a[..], &b].concat(), "a\nb\n", 0),
            ([&a[..], &zeros].concat(), "a\n", 0),
            ([&a[..], &zeros, &b, &zeros].concat(), "a\nb\n", 0),
            ([&a[..], b"\njunk"].concat(), "a\n", 5),
            ([&a[..], &zeros, b"x"].concat(), "a\n", 1),
            (
                [&a[..], &[0x1f, 0x8c], &b].concat(),
                "a\n",
                2 + b.len() as u64,
            ),
        ] {
            assert_eq!(read(Compression::Gzip, file), Ok((text.into(), ignored)));
        }
    }

    #[test]
    fn truncated_and_damaged_gzip_members_are_errors() {
        let [a, b] = [gzip("a\n"), gzip("b\n")];
        let both = [&a[..], &b].concat();
        for length in (0..a.len()).chain(a.len() + 1..both.len()) {
            let error = read(Compression::Gzip, both[..length].to_vec()).unwrap_err();
            assert!(error.contains("truncated"), "{length}: {error}");
        }
        for at in [a.len() + 2, both.len() - 5] {
            let mut file = both.clone();
            file[at] ^= 1;
            let error = read(Compression::Gzip, file).unwrap_err();
            assert!(error.contains("damaged"), "{at}: {error}");
        }
    }

    /// A frame of a block without compression, and with this window.
    fn frame(window_log: u32, text: &str) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0];
        frame.push(((window_log - 10) << 3) as u8);
        let header = 1 | (text.len() as u32) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(text.as_bytes());
        frame
    }

    #[test]
    fn zstd_frames_follow_each_other_and_may_be_skippable() {
        let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let [a, b] = ["a\n", "b\n"].map(|text| zstd::encode_all(text.as_bytes(), 1).unwrap());
        let file = [&skippable[..], &a, &skippable, &b, &skippable].concat();
        assert_eq!(read(Compression::Zstd, file), Ok(("a\nb\n".into(), 0)));
        let error = read(Compression::Zstd, [&a[..], b"junk"].concat()).unwrap_err();
        assert!(error.contains("not zstd"), "{error}");
        let error = read(Compression::Zstd, a[..a.len() - 1].to_vec()).unwrap_err();
        assert!(error.contains("truncated"), "{error}");
    }

    #[test]
    fn zstd_windows_are_limited() {
        for window_log in [20, 27, 28, 31] {
            let file = frame(window_log, "text");
            assert_eq!(
                read(Compression::Zstd, file),
                Ok(("text".into(), 0)),
                "{window_log}"
            );
        }
        for window_log in [32, 41] {
            let error = read(Compression::Zstd, frame(window_log, "text")).unwrap_err();
            assert!(error.contains("larger than 2 GiB"), "{error}");
        }
    }
}
