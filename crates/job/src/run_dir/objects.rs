//! Reading and writing objects.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::{BACKEND, BATCHES, COMMAND, EXECUTION, JOB, Root, RunDir};
use crate::store::{ObjectWriter, block_on};
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
const READS_AT_ONCE: usize = 64;

/// The result of a create-only write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object was created.
    Created,
    /// The object existed and was not changed.
    Existed,
}

impl RunDir {
    /// The result of an operation on an object.
    pub(super) fn block_on<F: Future>(&self, name: &str, operation: F) -> F::Output {
        block_on(&self.object_uri(name).into(), operation)
    }

    /// Creates an object unless it exists.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn put_new(&self, name: &str, content: impl Into<Bytes>) -> Result<Put> {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(content.into());
        let path = name.into();
        let put = self.store.put_opts(&path, payload, options);
        match self.block_on(name, put) {
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
        self.block_on(name, self.store.put(&name.into(), payload))
            .map(drop)
            .map_err(|e| self.error("write", name, e))
    }

    /// A writer of a large object.
    pub fn writer(&self, name: &str) -> ObjectWriter {
        ObjectWriter::new(
            self.store.clone(),
            name.into(),
            self.object_uri(name).into(),
        )
    }

    /// The content of an object, or `None` if it does not exist.
    ///
    /// # Errors
    /// The store refuses it, it is a symbolic link, or it is larger than plausible for its name.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>> {
        match &self.root {
            Root::Folder(root) => self.read_file(root, name),
            Root::Url(_) => self.block_on(name, self.fetch(name)),
        }
    }

    async fn fetch(&self, name: &str) -> Result<Option<Bytes>> {
        let failed = |e| self.error("read", name, e);
        let found = match self.store.get(&name.into()).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        self.check_size(name, found.meta.size)?;
        found.bytes().await.map(Some).map_err(failed)
    }

    fn read_file(&self, root: &Path, name: &str) -> Result<Option<Bytes>> {
        let Some(mut file) = self.open_file(root, name)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content)
            .map_err(|e| Error::storage("read", self.object_uri(name), e))?;
        Ok(Some(content.into()))
    }

    /// A file of the folder `root`, or `None` if it does not exist.
    pub(super) fn open_file(&self, root: &Path, name: &str) -> Result<Option<File>> {
        self.refuse_link(name)?;
        let failed = |e| Error::storage("read", self.object_uri(name), e);
        let file = match File::open(root.join(name)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let meta = file.metadata().map_err(failed)?;
        self.check_size(name, meta.len())?;
        Ok(meta.is_file().then_some(file))
    }

    fn check_size(&self, name: &str, bytes: u64) -> Result<()> {
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
        let head = self.block_on(name, async {
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

    /// Calls `take` for each item in order, with the content of the object `name` or the error of reading it. Stores read
    /// ahead.
    ///
    /// # Errors
    /// `take` fails.
    pub fn get_each<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        mut take: impl FnMut(T, Result<Option<Bytes>>) -> Result<()>,
    ) -> Result<()> {
        if let Root::Folder(root) = &self.root {
            // Reading ahead would cost memory, and the runtime more time than the read itself.
            for item in items {
                let content = self.read_file(root, &name(&item));
                take(item, content)?;
            }
            return Ok(());
        }
        let read = |item: T| {
            let name = name(&item);
            async move { (item, self.fetch(&name).await) }
        };
        let mut contents = futures_util::stream::iter(items)
            .map(read)
            .buffered(READS_AT_ONCE);
        let what = self.uri().into();
        while let Some((item, content)) = block_on(&what, contents.next()) {
            take(item, content)?;
        }
        Ok(())
    }

    /// Calls `visit` with the name of each object in a folder, without subfolders.
    pub(super) fn each_name(&self, folder: &str, visit: &mut dyn FnMut(&str)) -> Result<()> {
        if let Root::Folder(root) = &self.root {
            // The store would read the metadata of each file too.
            let path = root.join(folder);
            let failed = Error::file("list", &path);
            let entries = match std::fs::read_dir(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                if let Some(name) = entry.map_err(failed)?.file_name().to_str() {
                    visit(name);
                }
            }
            return Ok(());
        }
        let prefix = folder.into();
        let mut found = self.store.list(Some(&prefix));
        let list = async {
            while let Some(meta) = found.try_next().await? {
                if let Some(name) = meta.location.filename() {
                    visit(name);
                }
            }
            Ok(())
        };
        let listed = self.block_on(folder, list);
        listed.map_err(|e| self.error("list", folder, e))
    }

    /// Deletes an object, if it exists.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn delete(&self, name: &str) -> Result<()> {
        match self.block_on(name, self.store.delete(&name.into())) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.error("delete", name, e)),
        }
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
