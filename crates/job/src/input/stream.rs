//! Reads a text source sequentially: hashes, decompresses and, if needed, converts it to UTF-8 and stages it.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use super::decode::{self, Decoding};
use super::delimited::parser::MARK;
use super::found::Found;
use crate::dialect::Encoding;
use crate::store::ObjectWriter;
use crate::{Error, Result};

/// Size of the head of a source, from which its columns are resolved.
const HEAD_BYTES: usize = 1 << 20;

/// A decompressed source in UTF-8.
pub(crate) struct Stream {
    uri: String,
    reader: BufReader<Box<dyn Read>>,
    head: Vec<u8>,
    taken: usize,
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
        let mut plain = found.compression.decompress(raw).map_err(failed)?;
        let mut start = Vec::new();
        let read = (&mut plain).take(4).read_to_end(&mut start);
        read.map_err(failed)?;
        let encoding =
            decode::detect(&start, encoding).map_err(|reason| Error::input(&found.uri, reason))?;
        let plain = io::Cursor::new(start).chain(plain);
        let mut plain: Box<dyn Read> = match encoding {
            Some(encoding) => Box::new(Decoding::new(plain, encoding)),
            None => Box::new(plain),
        };
        let mut head = Vec::new();
        let read = (&mut plain).take(HEAD_BYTES as u64).read_to_end(&mut head);
        read.map_err(failed)?;
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
            head,
            taken: 0,
            hasher,
            staged,
            position: 0,
            encoding,
            is_cut: false,
        };
        if stream.head.starts_with(MARK) {
            stream.consume(MARK.len());
        }
        Ok(stream)
    }

    /// Copies the decompressed bytes in UTF-8 to `writer`. Must be called before any are read.
    pub(crate) fn stage(&mut self, mut writer: ObjectWriter) -> Result<()> {
        writer
            .write_all(&self.head)
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

    /// The name of the source in messages.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The first bytes, without a byte-order mark, and whether they are all.
    pub(crate) fn head(&self) -> (&[u8], bool) {
        (&self.head[self.taken..], self.head.len() < HEAD_BYTES)
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
        } else {
            self.reader.consume(bytes);
        }
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
        io::ErrorKind::UnexpectedEof => {
            Error::input(uri, "the compressed file ends too early; it is truncated")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::input(uri, format!("the compressed file is damaged: {error}"))
        }
        io::ErrorKind::Other
            if error.raw_os_error().is_none()
                && error
                    .get_ref()
                    .is_none_or(|e| !e.is::<object_store::Error>() && !e.is::<io::Error>()) =>
        {
            // zstd reports damage as `Other`.
            Error::input(uri, format!("the compressed file is damaged: {error}"))
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
