//! Reads a text source sequentially: hashes, decompresses and, if needed, converts it to UTF-8 and stages it.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use super::compression::{Compression, Ignored, damage};
use super::decode::{self, Decoding};
use super::delimited::parser::MARK;
use super::found::Found;
use super::row::MAX_LINE_BYTES;
use crate::dialect::Encoding;
use crate::store::ObjectWriter;
use crate::{Error, Result};

/// Size of the head of a source, from which its columns are resolved.
const HEAD_BYTES: usize = 1 << 20;
/// Size to which the head grows if the first record needs it: a header and a record of maximum size.
const MAX_HEAD_BYTES: usize = MAX_LINE_BYTES as usize + HEAD_BYTES;

/// A decompressed source in UTF-8.
pub(crate) struct Stream {
    uri: String,
    reader: BufReader<Box<dyn Read>>,
    head: Vec<u8>,
    /// Whether the head is the whole source.
    is_whole: bool,
    taken: usize,
    compression: Compression,
    ignored: Ignored,
    hasher: Rc<RefCell<blake3::Hasher>>,
    staged: Rc<RefCell<Option<ObjectWriter>>>,
    position: u64,
    encoding: Option<Encoding>,
    /// Whether only the head is read, and the source is longer.
    is_cut: bool,
}

impl Stream {
    /// Reads `raw`, the bytes of `found`. `encoding` applies unless a byte-order mark says otherwise.
    pub(crate) fn open(
        found: &Found,
        raw: Box<dyn Read>,
        encoding: Option<Encoding>,
    ) -> Result<Self> {
        let hasher = Rc::new(RefCell::new(blake3::Hasher::new()));
        let hash = hasher.clone();
        let raw = Tee {
            reader: raw,
            to: move |bytes: &[u8]| {
                hash.borrow_mut().update(bytes);
                Ok(())
            },
        };
        let failed = |e| unreadable(&found.uri, e);
        let ignored = Ignored::default();
        let plain = found.compression.decompress(raw, &ignored);
        let mut plain = plain.map_err(failed)?;
        let mut start = Vec::new();
        let read = (&mut plain).take(4).read_to_end(&mut start);
        read.map_err(failed)?;
        let encoding =
            decode::detect(&start, encoding).map_err(|reason| Error::input(&found.uri, reason))?;
        let plain = io::Cursor::new(start).chain(plain);
        let plain: Box<dyn Read> = match encoding {
            Some(encoding) => Box::new(Decoding::new(plain, encoding)),
            None => Box::new(plain),
        };
        let staged = Rc::new(RefCell::new(None::<ObjectWriter>));
        let writer = staged.clone();
        let plain = Tee {
            reader: plain,
            to: move |bytes: &[u8]| match &mut *writer.borrow_mut() {
                Some(writer) => writer.write_all(bytes),
                None => Ok(()),
            },
        };
        let mut stream = Self {
            uri: found.uri.clone(),
            reader: BufReader::with_capacity(256 << 10, Box::new(plain)),
            head: Vec::new(),
            is_whole: false,
            taken: 0,
            compression: found.compression,
            ignored,
            hasher,
            staged,
            position: 0,
            encoding,
            is_cut: false,
        };
        stream.read_head(HEAD_BYTES)?;
        if stream.head.starts_with(MARK) {
            stream.consume(MARK.len());
        }
        Ok(stream)
    }

    /// Copies the decompressed bytes in UTF-8 to `writer`. Must be called before any are read.
    pub(crate) fn stage(&mut self, mut writer: ObjectWriter) -> Result<()> {
        // The head, and what was read after it.
        writer
            .write_all(&self.head)
            .and_then(|()| writer.write_all(self.reader.buffer()))
            .map_err(|e| unreadable(&self.uri, e))?;
        *self.staged.borrow_mut() = Some(writer);
        Ok(())
    }

    /// Ends the stream after its head.
    pub(crate) fn cut(&mut self) {
        self.is_cut = !self.head().1;
        self.reader = BufReader::new(Box::new(io::empty()));
    }

    /// Whether the stream ends before its source, perhaps within a record.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The encoding of the source; `None` for UTF-8.
    pub(crate) fn encoding(&self) -> Option<Encoding> {
        self.encoding
    }

    /// Extends the head to at most `size` bytes.
    fn read_head(&mut self, size: usize) -> Result<()> {
        let more = size - self.head.len();
        (&mut self.reader)
            .take(more as u64)
            .read_to_end(&mut self.head)
            .map_err(|e| unreadable(&self.uri, e))?;
        self.is_whole = self.head.len() < size;
        Ok(())
    }

    /// Doubles the head, of which nothing was consumed. Returns whether it shows more then.
    pub(crate) fn extend_head(&mut self) -> Result<bool> {
        let can_grow = !self.is_whole && self.head.len() < MAX_HEAD_BYTES;
        if can_grow {
            self.read_head(MAX_HEAD_BYTES.min(2 * self.head.len()))?;
        }
        Ok(can_grow)
    }

    /// Whether the head is the beginning of a line that is too large for a record.
    pub(crate) fn is_oversized(&self) -> bool {
        let line = self.head.get(..=MAX_LINE_BYTES as usize);
        line.is_some_and(|line| memchr::memchr(b'\n', line).is_none())
    }

    /// Consumes the first line and reads another head.
    pub(crate) fn skip_line(&mut self) -> Result<()> {
        loop {
            let input = self.fill()?;
            let newline = memchr::memchr(b'\n', input);
            let read = newline.map_or(input.len(), |at| at + 1);
            self.consume(read);
            if newline.is_some() || read == 0 {
                break;
            }
        }
        self.head.drain(..self.taken);
        self.taken = 0;
        self.read_head(HEAD_BYTES.max(self.head.len()))
    }

    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// The name of the source in messages.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The first bytes, without a byte-order mark, and whether they are all.
    pub(crate) fn head(&self) -> (&[u8], bool) {
        (&self.head[self.taken..], self.is_whole)
    }

    /// Bytes consumed so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes; empty at the end.
    pub(crate) fn fill(&mut self) -> Result<&[u8]> {
        if self.taken < self.head.len() {
            return Ok(&self.head[self.taken..]);
        }
        self.reader.fill_buf().map_err(|e| unreadable(&self.uri, e))
    }

    /// Marks bytes of [`fill`](Self::fill) as read.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        if self.taken < self.head.len() {
            self.taken += bytes;
            if self.taken == self.head.len() {
                self.taken = 0;
                self.head = Vec::new();
            }
        } else {
            self.reader.consume(bytes);
        }
    }

    /// What is unusual about the source, which was read to its end.
    pub(crate) fn note(&self) -> Option<String> {
        let bytes = self.ignored.get();
        (bytes > 0).then(|| format!("{bytes} bytes behind its gzip data are ignored, as gzip does"))
    }

    /// Completes the staged copy, and returns the BLAKE3 of the source.
    pub(crate) fn finish(self) -> Result<String> {
        let Self {
            uri,
            reader,
            hasher,
            staged,
            ..
        } = self;
        // A decompressor may stop before trailing bytes, which are part of the source's identity.
        let mut inner = reader.into_inner();
        io::copy(&mut inner, &mut io::sink()).map_err(|e| unreadable(&uri, e))?;
        drop(inner);
        if let Some(writer) = staged.take() {
            writer
                .finish()
                .map_err(|e| Error::storage("stage", &uri, e))?;
        }
        Ok(hasher.borrow().finalize().to_hex().to_string())
    }
}

/// Converts an error of the source, of staging, of the store, or of the decompressor.
fn unreadable(uri: &str, error: io::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(error) => return error,
        Err(error) => error,
    };
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::input(uri, damage(&error))
        }
        io::ErrorKind::Other
            if error.raw_os_error().is_none()
                && error
                    .get_ref()
                    .is_none_or(|e| !e.is::<object_store::Error>() && !e.is::<io::Error>()) =>
        {
            // zstd reports damage as `Other`.
            Error::input(uri, damage(&error))
        }
        _ => Error::storage("read", uri, error),
    }
}

/// A reader that passes on what it reads.
struct Tee<R, F> {
    reader: R,
    to: F,
}

impl<R: Read, F: FnMut(&[u8]) -> io::Result<()>> Read for Tee<R, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(out)?;
        (self.to)(&out[..n])?;
        Ok(n)
    }
}
