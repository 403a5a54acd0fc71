//! Reading and writing objects.

use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{BACKEND, BATCHES, COMMAND, EXECUTION, JOB, Root, RunDir};
use crate::store::{ObjectWriter, runtime};
use crate::{Error, Result};

/// Far larger than a `job.json` with a hundred thousand inputs.
const MOST_JOB_BYTES: u64 = 64 << 20;
/// Larger than a table of [`MAX_BATCHES`](crate::spec::MAX_BATCHES).
const MOST_TABLE_BYTES: u64 = 2 << 30;
/// A receipt has a few hundred bytes, or more if the input has many gold labels.
pub(super) const MOST_RECEIPT_BYTES: u64 = 16 << 20;
/// Settings are a few lines.
const MOST_SETTINGS_BYTES: u64 = 1 << 20;

/// Concurrent requests to a store.
pub(super) const READS_AT_ONCE: usize = 64;

/// The result of a create-only write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object was created.
    Created,
    /// The object existed and was not changed.
    Existed,
}

impl RunDir {
    /// Creates an object unless it exists.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn put_new(&self, name: &str, content: impl Into<Bytes>) -> Result<Put> {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(content.into());
        match runtime().block_on(self.store.put_opts(&name.into(), payload, options)) {
            Ok(_) => Ok(Put::Created),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Existed),
            Err(e) => Err(self.error("write", name, e)),
        }
    }

    /// Writes or overwrites an object.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn replace(&self, name: &str, content: impl Into<Bytes>) -> Result<()> {
        let payload = PutPayload::from_bytes(content.into());
        runtime()
            .block_on(self.store.put(&name.into(), payload))
            .map(drop)
            .map_err(|e| self.error("write", name, e))
    }

    /// A writer of a large object.
    pub fn writer(&self, name: &str) -> ObjectWriter {
        ObjectWriter::new(self.store.clone(), name.into())
    }

    /// The content of an object, or `None` if it does not exist.
    ///
    /// # Errors
    /// The store refuses it, it is a symbolic link, or it is larger than plausible for its name.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>> {
        self.refuse_link(name)?;
        let found = match runtime().block_on(self.store.get(&name.into())) {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.error("read", name, e)),
        };
        self.check_size(name, found.meta.size)?;
        runtime()
            .block_on(found.bytes())
            .map(Some)
            .map_err(|e| self.error("read", name, e))
    }

    pub(super) fn check_size(&self, name: &str, bytes: u64) -> Result<()> {
        let most = most_bytes(name);
        if bytes <= most {
            return Ok(());
        }
        Err(self.corrupt(format!(
            "{name} has {bytes} bytes, more than the limit of {most}"
        )))
    }

    /// The first lines of an object, at most `most` and a few MiB. A missing object has none.
    ///
    /// # Errors
    /// The store refuses it, or it is a symbolic link.
    pub fn first_lines(&self, name: &str, most: usize) -> Result<Vec<Vec<u8>>> {
        const MOST_BYTES: usize = 4 << 20;
        self.refuse_link(name)?;
        let head = runtime().block_on(async {
            let mut chunks = match self.store.get(&name.into()).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
                found => found?.into_stream(),
            };
            let (mut head, mut lines) = (Vec::new(), 0);
            while lines < most
                && head.len() < MOST_BYTES
                && let Some(chunk) = chunks.try_next().await?
            {
                lines += memchr::memchr_iter(b'\n', &chunk).count();
                head.extend_from_slice(&chunk);
            }
            Ok(head)
        });
        let head = head.map_err(|e| self.error("read", name, e))?;
        let lines = head
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        Ok(lines.take(most).map(<[u8]>::to_vec).collect())
    }

    /// Calls `take` for each item in order, with the content of the object `name`, or `None` if it does not exist. Stores
    /// read ahead.
    ///
    /// # Errors
    /// The store refuses one, or `take` fails.
    pub fn get_each<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        mut take: impl FnMut(T, Option<Bytes>) -> Result<()>,
    ) -> Result<()> {
        if let Root::Folder(root) = &self.root {
            // Reading ahead would cost memory, and the runtime more time than the read itself.
            for item in items {
                let name = name(&item);
                self.refuse_link(&name)?;
                let content = read_file(&root.join(&name))
                    .map_err(|e| Error::storage("read", self.object_uri(&name), e))?;
                take(item, content.map(Bytes::from))?;
            }
            return Ok(());
        }
        let read = |item: T| {
            let name = name(&item);
            async move {
                self.refuse_link(&name)?;
                let path = name.as_str().into();
                let content = match self.store.get(&path).await {
                    Ok(found) => found.bytes().await.map(Some),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => Err(e),
                };
                content
                    .map(|content| (item, content))
                    .map_err(|e| self.error("read", &name, e))
            }
        };
        let mut contents = futures_util::stream::iter(items)
            .map(read)
            .buffered(READS_AT_ONCE);
        while let Some(next) = runtime().block_on(contents.next()) {
            let (item, content) = next?;
            take(item, content)?;
        }
        Ok(())
    }

    /// Deletes an object, if it exists.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn delete(&self, name: &str) -> Result<()> {
        match runtime().block_on(self.store.delete(&name.into())) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.error("delete", name, e)),
        }
    }
}

/// The content of a file, or `None` if it does not exist.
pub(super) fn read_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some),
    }
}

/// The size limit of an object by its name. Parts and dead letters have none: receipts state their sizes.
fn most_bytes(name: &str) -> u64 {
    match name {
        JOB => MOST_JOB_BYTES,
        BATCHES => MOST_TABLE_BYTES,
        BACKEND | COMMAND | EXECUTION => MOST_SETTINGS_BYTES,
        name if name.starts_with("receipts/") => MOST_RECEIPT_BYTES,
        _ => u64::MAX,
    }
}
