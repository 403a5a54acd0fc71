//! Reads a text source sequentially: hashes, decompresses and, if needed, stages it.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use super::found::Found;
use crate::store::ObjectWriter;
use crate::{Error, Result};

/// Size of the head of a source, from which its columns are resolved.
const HEAD_BYTES: usize = 1 << 20;

/// A decompressed source.
pub(crate) struct Stream {
    uri: String,
    reader: BufReader<Box<dyn Read>>,
    head: Vec<u8>,
    taken: usize,
    hasher: Rc<RefCell<blake3::Hasher>>,
    staged: Option<Rc<RefCell<ObjectWriter>>>,
    position: u64,
}

impl Stream {
    /// Reads `raw`, the bytes of `found`, and copies the decompressed bytes to `staged`.
    pub(crate) fn open(
        found: &Found,
        raw: Box<dyn Read>,
        staged: Option<ObjectWriter>,
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
        let plain = found.compression.decompress(raw);
        let mut plain = plain.map_err(|e| unreadable(&found.uri, e))?;
        let staged = staged.map(|writer| Rc::new(RefCell::new(writer)));
        if let Some(writer) = staged.clone() {
            plain = Box::new(Tee {
                reader: plain,
                to: move |bytes: &[u8]| writer.borrow_mut().write_all(bytes),
            });
        }
        let mut stream = Self {
            uri: found.uri.clone(),
            reader: BufReader::with_capacity(256 << 10, plain),
            head: Vec::new(),
            taken: 0,
            hasher,
            staged,
            position: 0,
        };
        let mut head = Vec::new();
        (&mut stream.reader)
            .take(HEAD_BYTES as u64)
            .read_to_end(&mut head)
            .map_err(|e| unreadable(&stream.uri, e))?;
        stream.head = head;
        if stream.head.starts_with(&[0xff, 0xfe]) || stream.head.starts_with(&[0xfe, 0xff]) {
            return Err(Error::input(
                &stream.uri,
                "it is encoded in UTF-16; convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8",
            ));
        }
        if stream.head.starts_with(b"\xef\xbb\xbf") {
            stream.consume(3);
        }
        Ok(stream)
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
        if let Some(writer) = staged.and_then(Rc::into_inner) {
            writer
                .into_inner()
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
