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

mod clear;
mod events;
mod lock;
mod objects;
mod plan;
mod probe;
mod receipts;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use crate::format::OutputFormat;
use crate::store::{Location, is_url};
use crate::wire::BatchRange;
use crate::{Error, Result};
pub use events::EventLog;
pub use lock::RunLock;
pub use objects::Put;
pub use probe::{Need, Probe};
pub use receipts::Listed;
pub use table::{Table, TableWriter};

/// The plan.
pub const JOB: &str = "job.json";
const BATCHES: &str = "batches.jsonl";
const INPUT: &str = "input";
const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
/// In the order in which they are cleared: a part without a receipt is taken as it is, and one that is missing behind its
/// receipt counts as damaged.
const FOLDERS: [&str; 7] = [
    INPUT, "receipts", "parts", "failed", "events", "manifest", "map",
];
/// All dead letters of a finished run.
pub const FAILED: &str = "failed.jsonl";
/// Where and how the run was dispatched last.
pub const BACKEND: &str = "backend.json";
/// The command that repeats the run.
pub const COMMAND: &str = "command.json";
/// The execution of a platform that fans out by itself.
pub const EXECUTION: &str = "execution.json";
/// What the run took and cost, as a page.
pub const REPORT: &str = "report.html";
const FILES: [&str; 8] = [
    JOB, BATCHES, EVENTS, FAILED, BACKEND, COMMAND, EXECUTION, REPORT,
];

/// A folder, or prefix of an object store, that holds all of one run.
#[derive(Debug, Clone)]
pub struct RunDir {
    place: Root,
    store: Arc<dyn ObjectStore>,
}

#[derive(Debug, Clone)]
enum Root {
    Folder(PathBuf),
    /// Without a slash at its end.
    Url(String),
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
    /// There is no such folder, something that a run keeps in it is a link, or the URL is not one of a store that takes
    /// objects.
    pub fn open(root: &Path) -> Result<Self> {
        if let Some(url) = root.to_str().filter(|root| is_url(root)) {
            return Self::remote(url);
        }
        let store = LocalFileSystem::new_with_prefix(root)
            .map_err(|e| Error::storage("open the run directory", root.display().to_string(), e))?;
        let root = root
            .canonicalize()
            .map_err(|e| Error::storage("open the run directory", root.display().to_string(), e))?;
        let run = Self {
            place: Root::Folder(root),
            store: Arc::new(store),
        };
        // Through a link of whoever made the folder, what is written to it would end elsewhere.
        for name in FOLDERS.iter().chain(&FILES).chain([&LOCK]) {
            run.refuse_link(name)?;
        }
        Ok(run)
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
            place: Root::Url(url.to_owned()),
            store: Arc::new(PrefixStore::new(store, prefix)),
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.place {
            Root::Folder(path) => Some(path),
            Root::Url(_) => None,
        }
    }

    /// The absolute path or the URL, by which [`open`](Self::open) finds it again.
    pub fn uri(&self) -> String {
        match &self.place {
            Root::Folder(path) => path.display().to_string(),
            Root::Url(url) => url.clone(),
        }
    }

    /// The run's name: the last piece of its path.
    pub fn name(&self) -> String {
        match &self.place {
            Root::Folder(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            Root::Url(url) => url.rsplit('/').next().unwrap_or(url).to_owned(),
        }
    }

    /// How a user names the run so that it is found: its name where it lies in a folder, the URL where in a store.
    pub fn reference(&self) -> String {
        match &self.place {
            Root::Folder(_) => self.name(),
            Root::Url(url) => url.clone(),
        }
    }

    /// The part of a piece.
    pub fn part_name(range: BatchRange, format: OutputFormat) -> String {
        format!("parts/{}.{}", Self::stem(range), format.extension())
    }

    /// The dead letters of a piece.
    pub fn dead_letters_name(range: BatchRange) -> String {
        format!("failed/{}.jsonl", Self::stem(range))
    }

    /// What a piece's objects are called: by what they hold, so that a name always stands for the same content.
    fn stem(range: BatchRange) -> String {
        let BatchRange {
            batch,
            offset,
            records,
            is_last,
            is_quarantined,
        } = range;
        let end = offset + records;
        match (offset == 0 && is_last, is_quarantined) {
            (true, false) => format!("{batch:08}"),
            (false, false) => format!("{batch:08}.{offset:08}-{end:08}"),
            (_, true) => format!("{batch:08}.{offset:08}-{end:08}.quarantined"),
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
            Root::Folder(root) => Location::Local(root.join(name)),
            Root::Url(url) => {
                Location::remote(format!("{url}/{name}"), self.store.clone(), name.into())
            }
        }
    }

    /// Where the copy of an input lies.
    ///
    /// # Errors
    /// There is a link instead.
    pub(crate) fn staged(&self, name: &str) -> Result<Location> {
        self.refuse_link(name)?;
        Ok(self.location(name))
    }

    /// The path or URL of an object.
    pub fn object_uri(&self, name: &str) -> String {
        match &self.place {
            Root::Folder(root) => root.join(name).display().to_string(),
            Root::Url(url) => format!("{url}/{name}"),
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

    /// Refuses what lies elsewhere, or is a pipe or device: a run has files and folders of its own.
    fn refuse_link(&self, name: &str) -> Result<()> {
        let Root::Folder(root) = &self.place else {
            return Ok(());
        };
        match root.join(name).symlink_metadata() {
            Ok(there) if !there.is_file() && !there.is_dir() => Err(Error::Conflict {
                run: self.name(),
                reason: format!(
                    "{name} in it is a link, a pipe or a device, and a run has files of its own; remove it, or name another folder"
                ),
            }),
            _ => Ok(()),
        }
    }
}
