//! The run directory, which holds all state of one run.
//!
//! It is a folder, or a prefix of an object store. Writes are atomic, and parts, dead letters and receipts are created
//! only once. A crash of the machine (not of a process) may still lose or truncate files of a folder: receipts have
//! checksums, and a part that does not match its receipt is recomputed.
//!
//! A store differs from a folder in two ways. Events are in segments under `events/`, because objects cannot be
//! appended to. There is no lock, because a store cannot release it when a process dies: two commands that process the
//! same run at once do no harm, but process some batches twice.

mod clear;
mod events;
mod lock;
mod objects;
mod plan;
mod probe;
mod receipts;
mod table;

use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;

use crate::format::OutputFormat;
use crate::store::{Location, is_url};
use crate::wire::BatchRange;
use crate::{Error, Result, file_name};
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
/// The folder for the copy of standard input while it is planned.
pub const SPOOL: &str = "spool";
/// In the order in which they are cleared: receipts before parts, because a receipt without its part counts as damage.
const FOLDERS: [&str; 7] = [
    INPUT, "receipts", "parts", "failed", "events", "manifest", "map",
];
/// All dead letters of a finished run.
pub const FAILED: &str = "failed.jsonl";
/// The backend of the last start of the run.
pub const BACKEND: &str = "backend.json";
/// The command that repeats the run.
pub const COMMAND: &str = "command.json";
/// The execution on a platform that fans out by itself.
pub const EXECUTION: &str = "execution.json";
/// The report.
pub const REPORT: &str = "report.html";
const FILES: [&str; 8] = [
    JOB, BATCHES, EVENTS, FAILED, BACKEND, COMMAND, EXECUTION, REPORT,
];

/// A run directory: a folder, or a prefix of an object store.
#[derive(Debug, Clone)]
pub struct RunDir {
    root: Root,
    store: Arc<dyn ObjectStore>,
}

#[derive(Debug, Clone)]
enum Root {
    Folder(PathBuf),
    /// Without a trailing slash.
    Url(String),
}

/// Creates a folder that only its owner can enter, because it contains texts. Existing folders stay as they are, and folders
/// above it are created as usual.
fn create_private(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        end => end,
    }
}

impl RunDir {
    /// Opens the run directory at `root`, a folder or the URL of a prefix. A missing folder is created, for its owner only.
    ///
    /// # Errors
    /// The folder cannot be created or used, or the URL is not that of a writable store.
    pub fn create(root: &Path) -> Result<Self> {
        if let Some(url) = root.to_str().filter(|root| is_url(root)) {
            return Self::remote(url);
        }
        let path = std::path::absolute(root).map_err(Error::file("find", root))?;
        file_name::text(&path)?;
        create_private(root).map_err(Error::file("create the run directory", root))?;
        Self::open(root)
    }

    /// Opens the run directory at `root`, an existing folder or the URL of a prefix.
    ///
    /// # Errors
    /// There is no such folder, a file of the run is a symbolic link, or the URL is not that of a writable store.
    pub fn open(root: &Path) -> Result<Self> {
        if let Some(url) = root.to_str().filter(|root| is_url(root)) {
            return Self::remote(url);
        }
        let store = LocalFileSystem::new_with_prefix(root)
            .map_err(Error::file("open the run directory", root))?;
        let root = root
            .canonicalize()
            .map_err(Error::file("open the run directory", root))?;
        file_name::text(&root)?;
        let run = Self {
            root: Root::Folder(root),
            store: Arc::new(store),
        };
        // The folder is untrusted: writing through a link would change files elsewhere.
        for name in FOLDERS.iter().chain(&FILES).chain([&LOCK, &SPOOL]) {
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
                "web servers are read-only; name a folder, or an s3, gs or az URL",
            )),
            Location::Remote(object) if object.path.as_ref().is_empty() => Err(refuse(
                "name a prefix in the bucket, such as s3://bucket/shoal/runs/reviews",
            )),
            Location::Remote(object) => Ok(Self::on(object.store, object.path, url)),
        }
    }

    /// The run directory under `prefix` of `store`, which functions open by `url`.
    pub fn on(store: Arc<dyn ObjectStore>, prefix: object_store::path::Path, url: &str) -> Self {
        Self {
            root: Root::Url(url.to_owned()),
            store: Arc::new(PrefixStore::new(store, prefix)),
        }
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match &self.root {
            Root::Folder(path) => Some(path),
            Root::Url(_) => None,
        }
    }

    /// The absolute path or the URL.
    pub fn uri(&self) -> String {
        match &self.root {
            Root::Folder(path) => path.display().to_string(),
            Root::Url(url) => url.clone(),
        }
    }

    /// The name of the run: the last component of its path.
    pub fn name(&self) -> String {
        match &self.root {
            Root::Folder(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            Root::Url(url) => url.rsplit('/').next().unwrap_or(url).to_owned(),
        }
    }

    /// How a user refers to the run: by its name if it is a folder, by its URL if it is in a store.
    pub fn reference(&self) -> String {
        match &self.root {
            Root::Folder(_) => self.name(),
            Root::Url(url) => url.clone(),
        }
    }

    /// The name of the part of a range.
    pub fn part_name(range: BatchRange, format: OutputFormat) -> String {
        format!("parts/{}.{}", Self::stem(range), format.extension())
    }

    /// The name of the dead letters of a range.
    pub fn dead_letters_name(range: BatchRange) -> String {
        format!("failed/{}.jsonl", Self::stem(range))
    }

    /// The file stem of a range. The same name always has the same content.
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

    /// The name of the receipt of the range of a batch that begins at `offset`. The first attempt to create it decides where
    /// the range ends.
    pub fn receipt_name(batch: u64, offset: u64) -> String {
        match offset {
            0 => format!("receipts/{batch:08}.json"),
            offset => format!("receipts/{batch:08}.{offset:08}.json"),
        }
    }

    /// The location of an object.
    pub fn location(&self, name: &str) -> Location {
        match &self.root {
            Root::Folder(root) => Location::Local(root.join(name)),
            Root::Url(url) => {
                Location::remote(format!("{url}/{name}"), self.store.clone(), name.into())
            }
        }
    }

    /// The location of the copy of an input.
    pub(crate) fn staged(&self, name: &str) -> Result<Location> {
        self.refuse_link(name)?;
        Ok(self.location(name))
    }

    /// The path or URL of an object.
    pub fn object_uri(&self, name: &str) -> String {
        self.location(name).uri()
    }

    fn error(&self, action: &'static str, name: &str, source: object_store::Error) -> Error {
        Error::storage(action, self.object_uri(name), source)
    }

    pub(crate) fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt {
            run: self.name(),
            reason,
        }
    }

    /// Refuses a symbolic link, a pipe or a device.
    fn refuse_link(&self, name: &str) -> Result<()> {
        let Root::Folder(root) = &self.root else {
            return Ok(());
        };
        match root.join(name).symlink_metadata() {
            Ok(meta) if !meta.is_file() && !meta.is_dir() => Err(Error::Conflict {
                run: self.name(),
                reason: format!(
                    "{name} is a link, a pipe or a device, not a regular file; remove it, or use another folder"
                ),
                parameters: Vec::new(),
            }),
            _ => Ok(()),
        }
    }
}
