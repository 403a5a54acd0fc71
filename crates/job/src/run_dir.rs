//! The run directory: all that is kept of one run.
//!
//! ```text
//! RUN/  job.json  batches.jsonl  input/0000.jsonl  parts/00000017.csv  receipts/00000017.json
//!       failed/00000017.jsonl  failed.jsonl  events.jsonl  lock
//! ```
//!
//! Objects appear whole or not at all, and parts, dead letters and receipts are put by create-only writes. A crash of
//! the machine (not of a process) may still lose or tear what the disk had not yet taken: receipts carry checksums,
//! and a part that does not match its receipt is made again.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::format::OutputFormat;
use crate::spec::{Batch, Job, LAYOUT_VERSION};
use crate::store::{ObjectWriter, runtime};
use crate::wire::Receipt;
use crate::{Error, Event, Result};

const JOB: &str = "job.json";
const BATCHES: &str = "batches.jsonl";
const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
const FOLDERS: [&str; 4] = ["input", "parts", "receipts", "failed"];
/// All dead letters of a finished run.
pub const FAILED: &str = "failed.jsonl";

/// A folder that holds all of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: PathBuf,
    store: Arc<dyn ObjectStore>,
}

/// The right to change a run directory; given back when dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
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
    /// The run directory at `root`, which is created where it is missing.
    ///
    /// # Errors
    /// The folder cannot be created or used.
    pub fn create(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|e| {
            Error::storage("create the run directory", root.display().to_string(), e)
        })?;
        Self::open(root)
    }

    /// The run directory at `root`, which exists.
    ///
    /// # Errors
    /// There is no such folder.
    pub fn open(root: &Path) -> Result<Self> {
        let store = LocalFileSystem::new_with_prefix(root)
            .map_err(|e| Error::storage("open the run directory", root.display().to_string(), e))?;
        let root = root
            .canonicalize()
            .map_err(|e| Error::storage("open the run directory", root.display().to_string(), e))?;
        Ok(Self {
            root,
            store: Arc::new(store),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The run's name: the folder's.
    pub fn name(&self) -> String {
        self.root.file_name().map_or_else(
            || self.root.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        )
    }

    /// Takes the right to change the directory.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<RunLock> {
        let path = self.root.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::storage("lock", path.display().to_string(), e))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { run: self.name() }),
            Err(TryLockError::Error(e)) => {
                Err(Error::storage("lock", path.display().to_string(), e))
            }
        }
    }

    /// The part of a batch.
    pub fn part_name(batch: u64, format: OutputFormat) -> String {
        format!("parts/{batch:08}.{}", format.extension())
    }

    /// The dead letters of a batch.
    pub fn dead_letters_name(batch: u64) -> String {
        format!("failed/{batch:08}.jsonl")
    }

    /// The receipt of a batch.
    pub fn receipt_name(batch: u64) -> String {
        format!("receipts/{batch:08}.json")
    }

    /// The file behind an object's name.
    pub fn local_path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn error(&self, action: &'static str, name: &str, source: object_store::Error) -> Error {
        Error::storage(action, self.local_path(name).display().to_string(), source)
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
        let path = self.local_path(BATCHES);
        let file =
            File::open(&path).map_err(|e| Error::storage("read", path.display().to_string(), e))?;
        let mut batches = Vec::with_capacity(job.batches.min(1 << 20) as usize);
        for (line, text) in BufReader::new(file).lines().enumerate() {
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
        let place = || self.local_path(BATCHES).display().to_string();
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

    /// A batch's receipt, `None` where the batch has not been finished.
    ///
    /// # Errors
    /// The store refuses it. A receipt that is not JSON counts as none: its batch is done again.
    pub fn receipt(&self, batch: u64) -> Result<Option<Receipt>> {
        let content = self.get(&Self::receipt_name(batch))?;
        Ok(content.and_then(|content| parse_receipt(&content, batch)))
    }

    /// All receipts, by batch.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn receipts(&self) -> Result<BTreeMap<u64, Receipt>> {
        let folder = object_store::path::Path::from("receipts");
        let found = runtime()
            .block_on(self.store.list(Some(&folder)).try_collect::<Vec<_>>())
            .map_err(|e| self.error("list", "receipts", e))?;
        let mut receipts = BTreeMap::new();
        for meta in found {
            let batch = meta
                .location
                .filename()
                .and_then(|name| name.strip_suffix(".json"));
            let Some(batch) = batch.and_then(|number| number.parse().ok()) else {
                continue;
            };
            if let Some(receipt) = self.receipt(batch)? {
                receipts.insert(batch, receipt);
            }
        }
        Ok(receipts)
    }

    /// Forgets that a batch was ever done.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn forget(&self, batch: u64, format: OutputFormat) -> Result<()> {
        // The receipt goes first: a batch without one is always done again.
        self.delete(&Self::receipt_name(batch))?;
        self.delete(&Self::dead_letters_name(batch))?;
        self.delete(&Self::part_name(batch, format))
    }

    /// The log of the run, for appending.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn event_log(&self) -> Result<EventLog> {
        let path = self.local_path(EVENTS);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map(|file| EventLog { file })
            .map_err(|e| Error::storage("open", path.display().to_string(), e))
    }

    /// The events recorded so far with their times in milliseconds since 1970. A torn last line is passed over.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn events(&self) -> Result<Vec<(u64, Event)>> {
        let path = self.local_path(EVENTS);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::storage("read", path.display().to_string(), e)),
        };
        Ok(BufReader::new(file)
            .split(b'\n')
            .map_while(std::io::Result::ok)
            .filter_map(|line| serde_json::from_slice::<Timed>(&line).ok())
            .map(|timed| (timed.unix_ms, timed.event))
            .collect())
    }

    /// Removes everything that a run puts into its directory, and nothing else. `job.json` goes first, so that a
    /// removal that is cut short leaves no run.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self) -> Result<()> {
        for name in [JOB, BATCHES, EVENTS, FAILED] {
            self.delete(name)?;
        }
        for name in FOLDERS {
            let path = self.local_path(name);
            match std::fs::remove_dir_all(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::storage("delete", path.display().to_string(), e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether all that lies in the directory may be a run's: a folder with other files is not made one by mistake.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn is_ours(&self) -> Result<bool> {
        let failed = |e| Error::storage("list", self.root.display().to_string(), e);
        for entry in std::fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // A store that was killed while it wrote leaves `name#number`.
            let name = name.to_string_lossy();
            let name = name.split('#').next().unwrap_or_default();
            if ![JOB, BATCHES, EVENTS, FAILED, LOCK].contains(&name) && !FOLDERS.contains(&name) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn parse_receipt(content: &[u8], batch: u64) -> Option<Receipt> {
    serde_json::from_slice::<Receipt>(content)
        .ok()
        .filter(|receipt| receipt.batch == batch)
}

/// `events.jsonl`, open for appending.
#[derive(Debug)]
pub struct EventLog {
    file: File,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Timed<E = Event> {
    unix_ms: u64,
    #[serde(flatten)]
    event: E,
}

impl EventLog {
    /// Appends an event with the present time.
    ///
    /// # Errors
    /// The disk refuses it.
    pub fn append(&mut self, event: &Event) -> std::io::Result<()> {
        let unix_ms = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        let mut line =
            serde_json::to_vec(&Timed { unix_ms, event }).expect("an event is always JSON");
        line.push(b'\n');
        // One write per line: lines of a process that is killed are whole, or the last one is torn.
        self.file.write_all(&line)
    }
}
