//! The run directory: all that is kept of one run.
//!
//! ```text
//! RUN/  job.json  batches.jsonl  input/0000.jsonl  parts/00000017.csv  receipts/00000017.json
//!       failed/00000017.jsonl  failed.jsonl  events.jsonl  lock
//! ```
//!
//! It is a folder, or a prefix of an object store. Objects appear whole or not at all, and parts, dead letters and
//! receipts are put by create-only writes. A crash of the machine (not of a process) may still lose or tear what the
//! disk of a folder had not yet taken: receipts carry checksums, and a part that does not match its receipt is made
//! again.
//!
//! A store differs from a folder in two ways: what happened lies in segments under `events/`, since objects cannot be
//! appended to, and there is no lock, since nothing in a store ends with the process that made it. Two commands that
//! work on the same run at once do not harm it, as every object is written once, but they pay for some batches twice.

mod events;

use std::fs::{File, TryLockError};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::format::OutputFormat;
use crate::receipts::Receipts;
use crate::spec::{Batch, Job, LAYOUT_VERSION};
use crate::store::{Location, ObjectWriter, is_url, runtime};
use crate::wire::{Piece, Receipt};
use crate::{Error, Result};
pub use events::EventLog;

const JOB: &str = "job.json";
const BATCHES: &str = "batches.jsonl";
const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
const FOLDERS: [&str; 7] = [
    "input", "parts", "receipts", "failed", "events", "manifest", "map",
];
/// All dead letters of a finished run.
pub const FAILED: &str = "failed.jsonl";
/// Where and how the run was dispatched last.
pub const BACKEND: &str = "backend.json";
/// The execution of a platform that fans out by itself.
pub const EXECUTION: &str = "execution.json";
/// What the run took and cost, as a page.
pub const REPORT: &str = "report.html";
const FILES: [&str; 7] = [JOB, BATCHES, EVENTS, FAILED, BACKEND, EXECUTION, REPORT];

/// Requests to a store that are under way at a time where many objects are read.
const READS_AT_ONCE: usize = 64;

/// A folder, or prefix of an object store, that holds all of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    place: Place,
    store: Arc<dyn ObjectStore>,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    /// Without a slash at its end.
    Url(String),
}

/// The right to change a run directory; given back when dropped, or when the process ends in whatever way. Nobody can
/// have it of a store alone.
#[derive(Debug)]
pub struct RunLock {
    _file: Option<File>,
}

/// Whether a create-only write created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Created,
    /// It was there before, and stays as it was.
    Existed,
}

impl RunDir {
    /// The run directory at `root`, a folder, which is created where it is missing, or the URL of a prefix.
    ///
    /// # Errors
    /// The folder cannot be created or used, or the URL is not one of a store that takes objects.
    pub fn create(root: &Path) -> Result<Self> {
        if let Some(url) = root.to_str().filter(|root| is_url(root)) {
            return Self::remote(url);
        }
        std::fs::create_dir_all(root).map_err(|e| {
            Error::storage("create the run directory", root.display().to_string(), e)
        })?;
        Self::open(root)
    }

    /// The run directory at `root`, a folder that exists or the URL of a prefix.
    ///
    /// # Errors
    /// There is no such folder, or the URL is not one of a store that takes objects.
    pub fn open(root: &Path) -> Result<Self> {
        if let Some(url) = root.to_str().filter(|root| is_url(root)) {
            return Self::remote(url);
        }
        let store = LocalFileSystem::new_with_prefix(root)
            .map_err(|e| Error::storage("open the run directory", root.display().to_string(), e))?;
        let root = root
            .canonicalize()
            .map_err(|e| Error::storage("open the run directory", root.display().to_string(), e))?;
        Ok(Self {
            place: Place::Folder(root),
            store: Arc::new(store),
        })
    }

    fn remote(url: &str) -> Result<Self> {
        let url = url.trim_end_matches('/');
        let refuse =
            |reason: &str| Error::Parameter(format!("failed to use run directory {url}: {reason}"));
        let location = Location::parse(url).map_err(|e| refuse(&e.to_string()))?;
        match location {
            Location::Local(path) => Self::create(&path),
            Location::Remote(_) if url.starts_with("http") => Err(refuse(
                "web servers do not take objects; name a folder, or an s3, gs or az URL",
            )),
            Location::Remote(object) if object.path().as_ref().is_empty() => Err(refuse(
                "name a prefix in the bucket, such as s3://bucket/shoal/runs/reviews",
            )),
            Location::Remote(object) => {
                Ok(Self::on(object.store().clone(), object.path().clone(), url))
            }
        }
    }

    /// The run directory under `prefix` of `store`, which functions know as `url`.
    pub fn on(store: Arc<dyn ObjectStore>, prefix: object_store::path::Path, url: &str) -> Self {
        Self {
            place: Place::Url(url.to_owned()),
            store: Arc::new(PrefixStore::new(store, prefix)),
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Place::Folder(path) => Some(path),
            Place::Url(_) => None,
        }
    }

    /// The absolute path or the URL, by which [`open`](Self::open) finds it again.
    pub fn uri(&self) -> String {
        match &self.place {
            Place::Folder(path) => path.display().to_string(),
            Place::Url(url) => url.clone(),
        }
    }

    /// The run's name: the last piece of its path.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Folder(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            Place::Url(url) => url.rsplit('/').next().unwrap_or(url).to_owned(),
        }
    }

    /// How a user names the run so that it is found: its name where it lies in a folder, the URL where in a store.
    pub fn reference(&self) -> String {
        match &self.place {
            Place::Folder(_) => self.name(),
            Place::Url(url) => url.clone(),
        }
    }

    /// Takes the right to change the directory.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<RunLock> {
        let Place::Folder(root) = &self.place else {
            return Ok(RunLock { _file: None });
        };
        let path = root.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::storage("lock", path.display().to_string(), e))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { run: self.name() }),
            Err(TryLockError::Error(e)) => {
                Err(Error::storage("lock", path.display().to_string(), e))
            }
        }
    }

    /// The part of a piece.
    pub fn part_name(piece: Piece, format: OutputFormat) -> String {
        format!("parts/{}.{}", Self::stem(piece), format.extension())
    }

    /// The dead letters of a piece.
    pub fn dead_letters_name(piece: Piece) -> String {
        format!("failed/{}.jsonl", Self::stem(piece))
    }

    /// What a piece's objects are called: by what they hold, so that a name always stands for the same content.
    fn stem(piece: Piece) -> String {
        let Piece {
            batch,
            offset,
            records,
            is_last,
        } = piece;
        if offset == 0 && is_last {
            format!("{batch:08}")
        } else {
            format!("{batch:08}.{offset:08}-{:08}", offset + records)
        }
    }

    /// The receipt of the piece of a batch that starts after `offset` records. Whoever puts it first decides where that
    /// piece ends.
    pub fn receipt_name(batch: u64, offset: u64) -> String {
        match offset {
            0 => format!("receipts/{batch:08}.json"),
            offset => format!("receipts/{batch:08}.{offset:08}.json"),
        }
    }

    /// Where an object lies.
    pub fn location(&self, name: &str) -> Location {
        match &self.place {
            Place::Folder(root) => Location::Local(root.join(name)),
            Place::Url(url) => {
                Location::remote(format!("{url}/{name}"), self.store.clone(), name.into())
            }
        }
    }

    /// The path or URL of an object.
    pub fn object_uri(&self, name: &str) -> String {
        match &self.place {
            Place::Folder(root) => root.join(name).display().to_string(),
            Place::Url(url) => format!("{url}/{name}"),
        }
    }

    fn error(&self, action: &'static str, name: &str, source: object_store::Error) -> Error {
        Error::storage(action, self.object_uri(name), source)
    }

    fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt {
            run: self.name(),
            reason,
        }
    }

    /// Writes an object that must not exist yet.
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

    /// Writes an object in the place of whatever is there.
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

    /// A writer of an object that is too large to be held in memory.
    pub fn writer(&self, name: &str) -> ObjectWriter {
        ObjectWriter::new(self.store.clone(), name.into())
    }

    /// An object's content, `None` where there is none.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let got = runtime().block_on(async { self.store.get(&name.into()).await?.bytes().await });
        match got {
            Ok(content) => Ok(Some(content)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.error("read", name, e)),
        }
    }

    /// Hands each item with the content of the object that `name` gives it to `take`, in order, `None` where there is no
    /// such object. Some are read ahead.
    ///
    /// # Errors
    /// The store refuses one, or `take` does.
    pub fn get_each<T>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        mut take: impl FnMut(T, Option<Bytes>) -> Result<()>,
    ) -> Result<()> {
        if let Place::Folder(root) = &self.place {
            // A read ahead would only cost memory, and a detour by the runtime more than the read.
            for item in items {
                let name = name(&item);
                let content = read_file(&root.join(&name))
                    .map_err(|e| Error::storage("read", self.object_uri(&name), e))?;
                take(item, content.map(Bytes::from))?;
            }
            return Ok(());
        }
        let read = |item: T| {
            let name = name(&item);
            async move {
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

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn delete(&self, name: &str) -> Result<()> {
        match runtime().block_on(self.store.delete(&name.into())) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.error("delete", name, e)),
        }
    }

    /// The plan, `None` where planning has not come to its end.
    ///
    /// # Errors
    /// `job.json` cannot be read, or is not of this version of shoal.
    pub fn job(&self) -> Result<Option<Job>> {
        let Some(content) = self.get(JOB)? else {
            return Ok(None);
        };
        #[derive(serde::Deserialize)]
        struct Version {
            layout: u32,
        }
        let layout = serde_json::from_slice::<Version>(&content)
            .map_err(|e| self.corrupt(format!("{JOB} is damaged: {e}")))?
            .layout;
        if layout != LAYOUT_VERSION {
            return Err(self.corrupt(format!(
                "its layout has version {layout}, this shoal reads version {LAYOUT_VERSION}"
            )));
        }
        serde_json::from_slice(&content)
            .map(Some)
            .map_err(|e| self.corrupt(format!("{JOB} is damaged: {e}")))
    }

    /// The batch table.
    ///
    /// # Errors
    /// It cannot be read, or does not agree with the job.
    pub fn batches(&self, job: &Job) -> Result<Vec<Batch>> {
        let content = self
            .get(BATCHES)?
            .ok_or_else(|| self.corrupt(format!("{BATCHES} is missing")))?;
        let mut batches = Vec::with_capacity(job.batches.min(1 << 20) as usize);
        for (line, text) in content.lines().enumerate() {
            let damaged =
                |reason: String| self.corrupt(format!("{BATCHES} line {}: {reason}", line + 1));
            let text = text.map_err(|e| damaged(e.to_string()))?;
            let batch: Batch = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
            if batch.index != line as u64 {
                return Err(damaged(format!("holds batch {}", batch.index)));
            }
            batches.push(batch);
        }
        let records: u64 = batches.iter().map(|batch| batch.records).sum();
        if batches.len() as u64 != job.batches || records != job.records {
            return Err(self.corrupt(format!(
                "{BATCHES} has {} batches of {records} records, {JOB} says {} of {}",
                batches.len(),
                job.batches,
                job.records
            )));
        }
        Ok(batches)
    }

    /// Writes the plan: the batch table first, `job.json` last, so that a plan is whole or absent.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn save_plan(&self, job: &Job, batches: &[Batch]) -> Result<()> {
        let place = || self.object_uri(BATCHES);
        let mut writer = std::io::BufWriter::new(self.writer(BATCHES));
        for batch in batches {
            serde_json::to_writer(&mut writer, batch)
                .map_err(|e| Error::storage("write", place(), e))?;
            writer
                .write_all(b"\n")
                .map_err(|e| Error::storage("write", place(), e))?;
        }
        let writer = writer
            .into_inner()
            .map_err(|e| Error::storage("write", place(), e.into_error()))?;
        writer
            .finish()
            .map_err(|e| Error::storage("write", place(), e))?;
        let mut content = serde_json::to_vec_pretty(job).expect("a job is always JSON");
        content.push(b'\n');
        self.replace(JOB, content)
    }

    /// The receipt of the piece of a batch that starts after `offset` records, `None` where there is none.
    ///
    /// # Errors
    /// The store refuses it. A receipt that is not JSON counts as none: its batch is done again.
    pub fn receipt(&self, batch: u64, offset: u64) -> Result<Option<Receipt>> {
        let content = self.get(&Self::receipt_name(batch, offset))?;
        Ok(content.and_then(|content| parse_receipt(&content, (batch, offset))))
    }

    /// All receipts.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipts(&self) -> Result<Receipts> {
        self.receipts_beyond(&Receipts::default())
    }

    /// The receipts that are not among `known` yet.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipts_beyond(&self, known: &Receipts) -> Result<Receipts> {
        if let Place::Folder(root) = &self.place {
            let folder = root.join("receipts");
            return receipts_in(&folder, known)
                .map_err(|e| Error::storage("read", folder.display().to_string(), e));
        }
        let folder = object_store::path::Path::from("receipts");
        let store = &self.store;
        let fetch = async {
            let found = store.list(Some(&folder));
            let new = found.try_filter_map(|meta| async move {
                let piece = meta.location.filename().and_then(parse_receipt_name);
                Ok(piece
                    .filter(|(batch, offset)| known.get(*batch, *offset).is_none())
                    .map(|piece| (piece, meta.location)))
            });
            let read = |(piece, path)| async move {
                match store.get(&path).await {
                    Ok(found) => Ok(parse_receipt(&found.bytes().await?, piece)),
                    // It was forgotten between the two requests.
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => Err(e),
                }
            };
            new.map_ok(read)
                .try_buffer_unordered(READS_AT_ONCE)
                .try_filter_map(|receipt| async move { Ok(receipt) })
                .try_collect::<Receipts>()
                .await
        };
        runtime()
            .block_on(fetch)
            .map_err(|e| self.error("read", "receipts", e))
    }

    /// Forgets that a piece was ever done.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn forget(&self, piece: Piece, format: OutputFormat) -> Result<()> {
        // The receipt goes first: what has none is always done again.
        self.delete(&Self::receipt_name(piece.batch, piece.offset))?;
        self.delete(&Self::dead_letters_name(piece))?;
        self.delete(&Self::part_name(piece, format))
    }

    /// Removes everything that a run puts into its directory, and nothing else. `job.json` goes first, so that a
    /// removal that is cut short leaves no run.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self) -> Result<()> {
        for name in FILES {
            self.delete(name)?;
        }
        for name in FOLDERS {
            match &self.place {
                Place::Folder(root) => {
                    let path = root.join(name);
                    match std::fs::remove_dir_all(&path) {
                        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                            return Err(Error::storage("delete", path.display().to_string(), e));
                        }
                        _ => {}
                    }
                }
                Place::Url(_) => {
                    let folder = object_store::path::Path::from(name);
                    let found = self.store.list(Some(&folder)).map_ok(|meta| meta.location);
                    runtime()
                        .block_on(
                            self.store
                                .delete_stream(found.boxed())
                                .try_collect::<Vec<_>>(),
                        )
                        .map_err(|e| self.error("delete", name, e))?;
                }
            }
        }
        Ok(())
    }

    /// Whether all that lies in the directory may be a run's: a folder with other files is not made one by mistake.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn is_ours(&self) -> Result<bool> {
        let listed = runtime()
            .block_on(self.store.list_with_delimiter(None))
            .map_err(|e| self.error("list", "", e))?;
        let files = listed.objects.iter().map(|meta| &meta.location);
        let folders = listed.common_prefixes.iter();
        Ok(files
            .chain(folders)
            .filter_map(|path| path.filename())
            .all(|name| FILES.contains(&name) || name == LOCK || FOLDERS.contains(&name)))
    }
}

/// A file's content, `None` where there is none.
fn read_file(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some),
    }
}

/// The receipts in a folder that are not among `known` yet.
fn receipts_in(folder: &Path, known: &Receipts) -> std::io::Result<Receipts> {
    let mut receipts = Receipts::default();
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(receipts),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        let piece = name.to_str().and_then(parse_receipt_name);
        let Some(piece) = piece.filter(|(batch, offset)| known.get(*batch, *offset).is_none())
        else {
            continue;
        };
        // It may have been forgotten between the two.
        if let Some(content) = read_file(&folder.join(&name))? {
            receipts.extend(parse_receipt(&content, piece));
        }
    }
    Ok(receipts)
}

/// The batch and the offset in the name of a receipt.
fn parse_receipt_name(name: &str) -> Option<(u64, u64)> {
    let stem = name.strip_suffix(".json")?;
    match stem.split_once('.') {
        None => Some((stem.parse().ok()?, 0)),
        Some((batch, offset)) => Some((batch.parse().ok()?, offset.parse().ok()?)),
    }
}

fn parse_receipt(content: &[u8], (batch, offset): (u64, u64)) -> Option<Receipt> {
    serde_json::from_slice::<Receipt>(content)
        .ok()
        .filter(|receipt| (receipt.batch, receipt.offset) == (batch, offset))
}
