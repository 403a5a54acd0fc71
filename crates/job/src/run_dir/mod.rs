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
mod probe;
mod receipts;
mod table;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::format::OutputFormat;
use crate::spec::{Job, LAYOUT_VERSION};
use crate::store::{Location, ObjectWriter, is_url, runtime};
use crate::wire::BatchRange;
use crate::{Error, Result};
pub use events::EventLog;
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

/// No `job.json` is nearly as large, with the names of a hundred thousand inputs.
const MOST_JOB_BYTES: u64 = 64 << 20;
/// More than [`MAX_BATCHES`](crate::spec::MAX_BATCHES) take.
const MOST_TABLE_BYTES: u64 = 2 << 30;
/// A receipt has some hundred bytes, and more where the input has many gold labels.
const MOST_RECEIPT_BYTES: u64 = 16 << 20;
/// What is kept of a platform is some lines.
const MOST_SETTINGS_BYTES: u64 = 1 << 20;

/// How often the lock is looked at again, and after how long.
const LOCK_PAUSES: u32 = 25;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Requests to a store that are under way at a time where many objects are read.
const READS_AT_ONCE: usize = 64;

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

    /// Takes the right to change the directory. It is waited for, but for a moment: a process that was killed while it started
    /// another one leaves its open files to that one, until that is itself.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<RunLock> {
        self.lock_within(LOCK_PAUSES, || std::thread::sleep(LOCK_PAUSE))
    }

    fn lock_within(&self, mut pauses: u32, mut pause: impl FnMut()) -> Result<RunLock> {
        let Root::Folder(root) = &self.place else {
            return Ok(RunLock { _file: None });
        };
        let path = root.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| Error::storage("lock", path.display().to_string(), e))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(RunLock { _file: Some(file) }),
                Err(TryLockError::WouldBlock) if pauses == 0 => {
                    return Err(Error::Busy { run: self.name() });
                }
                Err(TryLockError::WouldBlock) => {
                    pauses -= 1;
                    pause();
                }
                Err(TryLockError::Error(e)) => {
                    return Err(Error::storage("lock", path.display().to_string(), e));
                }
            }
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
    /// The store refuses it, it is a link, or larger than what is kept under such a name can be.
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

    fn check_size(&self, name: &str, bytes: u64) -> Result<()> {
        let most = most_bytes(name);
        if bytes <= most {
            return Ok(());
        }
        Err(self.corrupt(format!(
            "{name} has {bytes} bytes, and {most} are the most that it can have"
        )))
    }

    /// The first lines of an object, none where there is no such object: at most `most`, and no more than a few MiB.
    ///
    /// # Errors
    /// The store refuses it, or it is a link.
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
        if let Root::Folder(root) = &self.place {
            // A read ahead would only cost memory, and a detour by the runtime more than the read.
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
    /// `job.json` cannot be read, is not of this version of shoal, or has copies of its inputs elsewhere than a plan puts
    /// them.
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
        let job: Job = serde_json::from_slice(&content)
            .map_err(|e| self.corrupt(format!("{JOB} is damaged: {e}")))?;
        for source in &job.sources {
            if let Some(staged) = &source.staged
                && !self.may_stage(staged)
            {
                return Err(self.corrupt(format!(
                    "{JOB} says that the copy of {} is {staged:?}, where no plan puts one",
                    source.uri
                )));
            }
        }
        crate::writers::check_job(&job)
            .map_err(|e| self.corrupt(format!("{JOB} has columns that no plan has: {e}")))?;
        Ok(Some(job))
    }

    /// Whether a plan may have put the copy of an input there: under `input/`, or under the `inputs/` of the store whose
    /// `runs/` the run lies in.
    fn may_stage(&self, staged: &str) -> bool {
        let is_plain = |name: &str| {
            !name.starts_with('.')
                && !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if !is_url(staged) {
            return staged.strip_prefix("input/").is_some_and(is_plain);
        }
        let Some((folder, name)) = staged.rsplit_once('/') else {
            return false;
        };
        let is_shared = match &self.place {
            Root::Url(url) => url
                .rsplit_once("/runs/")
                .is_some_and(|(store, _)| folder.strip_suffix("/inputs") == Some(store)),
            Root::Folder(root) => {
                let shared = root.ancestors().nth(2).map(|store| store.join("inputs"));
                let folder = match Location::parse(folder) {
                    Ok(Location::Local(folder)) => folder.canonicalize().ok(),
                    _ => None,
                };
                folder.is_some() && folder == shared
            }
        };
        is_shared && is_plain(name)
    }

    /// Forgets that a piece was ever done.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn forget(&self, range: BatchRange, format: OutputFormat) -> Result<()> {
        // The receipt goes first: what has none is always done again.
        self.delete(&Self::receipt_name(range.batch, range.offset))?;
        self.delete(&Self::dead_letters_name(range))?;
        self.delete(&Self::part_name(range, format))
    }

    /// Removes everything that a run puts into its directory, and nothing else. What is done goes first, then the plan, so
    /// that a removal that is cut short leaves a run that has more to do, or none, and never what was done by another plan.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self) -> Result<()> {
        let of_plan = |name: &&str| [JOB, BATCHES, INPUT].contains(name);
        for name in FOLDERS.iter().filter(|name| !of_plan(name)) {
            self.clear_folder(name)?;
        }
        for name in FILES.iter().filter(|name| !of_plan(name)) {
            self.delete(name)?;
        }
        self.delete(JOB)?;
        self.delete(BATCHES)?;
        self.clear_half_written(BATCHES)?;
        self.clear_folder(INPUT)
    }

    /// Removes what a process that was killed had written of an object: to a folder it is written under the object's name with
    /// a number behind it, and nobody sees it there.
    fn clear_half_written(&self, name: &str) -> Result<()> {
        let Root::Folder(root) = &self.place else {
            return Ok(());
        };
        let failed = |e| Error::storage("clear", root.display().to_string(), e);
        for entry in std::fs::read_dir(root).map_err(failed)? {
            let entry = entry.map_err(failed)?.file_name();
            let number = entry
                .to_str()
                .and_then(|entry| entry.strip_prefix(name)?.strip_prefix('#'));
            if number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
                std::fs::remove_file(root.join(&entry)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Removes what a planning that was cut short has left. In a store nothing is removed, since somebody else may be planning
    /// the same there at this moment, whom nobody can keep from it; what is left is written anew.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear_leftovers(&self) -> Result<()> {
        match &self.place {
            Root::Folder(_) => self.clear(),
            Root::Url(_) => Ok(()),
        }
    }

    fn clear_folder(&self, name: &str) -> Result<()> {
        match &self.place {
            Root::Folder(root) => {
                let path = root.join(name);
                match std::fs::remove_dir_all(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(Error::storage("delete", path.display().to_string(), e))
                    }
                    _ => Ok(()),
                }
            }
            Root::Url(_) => {
                let folder = object_store::path::Path::from(name);
                let found = self.store.list(Some(&folder)).map_ok(|meta| meta.location);
                let deleted = self.store.delete_stream(found.boxed());
                runtime()
                    .block_on(deleted.try_collect::<Vec<_>>())
                    .map(drop)
                    .map_err(|e| self.error("delete", name, e))
            }
        }
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

/// How large the object of a name can be. Parts and dead letters are as large as their batches are; receipts tell how
/// large.
fn most_bytes(name: &str) -> u64 {
    match name {
        JOB => MOST_JOB_BYTES,
        BATCHES => MOST_TABLE_BYTES,
        BACKEND | COMMAND | EXECUTION => MOST_SETTINGS_BYTES,
        name if name.starts_with("receipts/") => MOST_RECEIPT_BYTES,
        _ => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_of_one_who_is_about_to_end_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        let mut first = Some(run.lock().unwrap());
        let mut pauses = 0;
        let busy = run.lock_within(3, || pauses += 1);
        assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
        assert_eq!(pauses, 3);
        run.lock_within(3, || drop(first.take())).unwrap();
        assert!(first.is_none());
    }

    #[test]
    fn a_removal_that_is_cut_short_leaves_the_plan() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path()).unwrap();
        for name in [JOB, BATCHES, "input/0000.jsonl", "receipts/00000000.json"] {
            run.replace(name, "{}").unwrap();
        }
        let half_written = dir.path().join("batches.jsonl#1");
        std::fs::write(&half_written, "{").unwrap();
        // A file where a folder belongs cannot be removed as one. Receipts go before what they vouch for.
        run.replace("parts", "").unwrap();
        assert!(run.clear().is_err());
        let is_there = |name| run.get(name).unwrap().is_some();
        assert!(is_there(JOB) && is_there(BATCHES) && is_there("input/0000.jsonl"));
        assert!(!is_there("receipts/00000000.json"));
        run.delete("parts").unwrap();
        run.clear().unwrap();
        assert!(!is_there(JOB) && !is_there("input/0000.jsonl"));
        assert!(!half_written.exists());
    }

    #[test]
    fn what_another_command_may_be_planning_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunDir::open(dir.path()).unwrap();
        let memory = Arc::new(object_store::memory::InMemory::new());
        let store = RunDir::on(memory, "run".into(), "memory:///run");
        for (run, is_left) in [(&folder, false), (&store, true)] {
            run.replace("input/0000.jsonl", "{}").unwrap();
            run.clear_leftovers().unwrap();
            let there = run.get("input/0000.jsonl").unwrap();
            assert_eq!(there.is_some(), is_left);
        }
    }

    #[test]
    fn receipts_of_a_folder_are_those_of_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunDir::open(dir.path()).unwrap();
        let memory = Arc::new(object_store::memory::InMemory::new());
        let store = RunDir::on(memory, "run".into(), "memory:///run");
        let content = |batch: u64| {
            serde_json::json!({
                "batch": batch, "attempt": 1, "records": 1, "failed": 0, "truncated": 0, "tokens": 2,
                "part": { "bytes": 1, "checksum": "" }, "cold": false, "engine": "none",
                "timings": { "init": 0.0, "read": 0.0, "tokenize": 0.0, "model": 0.0, "write": 0.0, "total": 0.0 },
            })
            .to_string()
        };
        for run in [&folder, &store] {
            assert!(run.receipts().unwrap().is_empty());
            for batch in 0..5 {
                run.put_new(&RunDir::receipt_name(batch, 0), content(batch))
                    .unwrap();
            }
            run.put_new(&RunDir::receipt_name(5, 0), content(6))
                .unwrap();
            run.put_new(&RunDir::receipt_name(7, 0), "{").unwrap();
            run.put_new("receipts/notes.txt", content(8)).unwrap();
        }
        let found = folder.receipts().unwrap();
        assert_eq!(found, store.receipts().unwrap());
        assert_eq!(found.len(), 5);
        let mut known = found.clone();
        known.remove(2, 0);
        for run in [&folder, &store] {
            let beyond = run.receipts_beyond(&known).unwrap();
            let batches: Vec<_> = beyond.values().map(|receipt| receipt.batch).collect();
            assert_eq!(batches, [2]);
        }
    }
}
