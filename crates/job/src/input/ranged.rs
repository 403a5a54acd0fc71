//! Random access to a file or an object.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::Error;
use crate::store::Location;

/// Objects are read in blocks of this size, because the reader requests headers of a few bytes each.
const BLOCK: u64 = 1 << 20;
/// Number of cached blocks, about as many as columns are read at once.
const BLOCKS: usize = 8;

/// A file or object. Clones share the cache.
#[derive(Debug, Clone)]
pub(crate) enum Ranged {
    File(Arc<File>),
    Object(Arc<Blocks>),
}

/// The cached blocks of an object, the most recent last.
#[derive(Debug)]
pub(crate) struct Blocks {
    location: Location,
    length: u64,
    kept: Mutex<Vec<(u64, Bytes)>>,
    /// The last error of the store, which the Parquet or Arrow reader would report as damage of the file.
    failure: Mutex<Option<Error>>,
}

impl Ranged {
    pub(super) fn open(location: &Location) -> crate::Result<Self> {
        Ok(match location {
            Location::Local(path) => Self::File(Arc::new(
                File::open(path).map_err(Error::file("read", path))?,
            )),
            Location::Remote(_) => Self::Object(Arc::new(Blocks {
                length: location.meta()?.bytes,
                location: location.clone(),
                kept: Mutex::default(),
                failure: Mutex::default(),
            })),
        })
    }

    /// Takes the last error of the store.
    pub(super) fn failure(&self) -> Option<Error> {
        match self {
            Self::File(_) => None,
            Self::Object(blocks) => blocks
                .failure
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .take(),
        }
    }
}

impl Blocks {
    /// The rest of the block from `position` on; empty at the end.
    fn at(&self, position: u64) -> io::Result<Bytes> {
        if position >= self.length {
            return Ok(Bytes::new());
        }
        let number = position / BLOCK;
        let within = (position % BLOCK) as usize;
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(found) = kept.iter().position(|(cached, _)| *cached == number) {
            let block = kept.remove(found);
            let rest = block.1.slice(within..);
            kept.push(block);
            return Ok(rest);
        }
        let start = number * BLOCK;
        let block = self.read(start, self.length.min(start + BLOCK))?;
        let rest = block.slice(within..);
        if kept.len() == BLOCKS {
            kept.remove(0);
        }
        kept.push((number, block));
        Ok(rest)
    }

    fn read(&self, start: u64, end: u64) -> io::Result<Bytes> {
        let mut content = Vec::with_capacity((end - start) as usize);
        let read = self.location.open(Some(start..end)).and_then(|mut object| {
            object
                .read_to_end(&mut content)
                .map_err(|e| Error::storage("read", self.location.uri(), e))
        });
        if let Err(error) = read {
            let text = error.to_string();
            *self.failure.lock().unwrap_or_else(|e| e.into_inner()) = Some(error);
            return Err(io::Error::other(text));
        }
        if content.len() as u64 != end - start {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(content.into())
    }
}

impl Length for Ranged {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => Length::len(file.as_ref()),
            Self::Object(blocks) => blocks.length,
        }
    }
}

impl ChunkReader for Ranged {
    type T = RangedReader;

    fn get_read(&self, start: u64) -> Result<RangedReader> {
        Ok(match self {
            Self::File(file) => {
                let mut file = file.try_clone()?;
                file.seek(SeekFrom::Start(start))?;
                RangedReader::File(BufReader::new(file))
            }
            Self::Object(blocks) => RangedReader::Object {
                blocks: blocks.clone(),
                position: start,
            },
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            Self::Object(blocks) => {
                let end = start
                    .checked_add(length as u64)
                    .filter(|end| *end <= blocks.length)
                    .ok_or_else(|| ParquetError::EOF("the file ends too early".into()))?;
                let first = blocks.at(start)?;
                if first.len() >= length {
                    return Ok(first.slice(..length));
                }
                Ok(blocks.read(start, end)?)
            }
        }
    }
}

/// A reader from a position on.
pub(crate) enum RangedReader {
    File(BufReader<File>),
    Object { blocks: Arc<Blocks>, position: u64 },
}

impl Read for RangedReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(out),
            Self::Object { blocks, position } => {
                let block = blocks.at(*position)?;
                let read = out.len().min(block.len());
                out[..read].copy_from_slice(&block[..read]);
                *position += read as u64;
                Ok(read)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;
    use crate::store::block_on;

    #[test]
    fn a_failing_store_is_not_reported_as_a_damaged_file() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = object_store::path::Path::from("data.parquet");
        let put = |content: &'static [u8]| {
            block_on(&"memory".into(), store.put(&path, content.into())).unwrap();
        };
        put(b"0123456789");
        let url = "memory:///data.parquet".to_owned();
        let location = Location::remote(url, store.clone(), path.clone());
        let file = Ranged::open(&location).unwrap();
        // This store refuses a range after the end.
        put(b"");
        assert!(file.get_bytes(4, 2).is_err());
        let failure = file.failure().unwrap();
        assert!(failure.is_retryable(), "{failure}");
        assert!(failure.to_string().contains("memory:///data.parquet"));
        put(b"0123456789");
        assert_eq!(file.get_bytes(4, 2).unwrap(), "45");
        assert!(file.failure().is_none());
    }
}
