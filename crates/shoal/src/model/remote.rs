//! Packed models behind a URL: fetched once, then mapped from this machine's disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use shoal_encoder::{Model, ModelError};
use shoal_job::store::{Location, Meta};
use tempfile::NamedTempFile;

use super::cache;
use crate::{Error, Result, spool};

/// No packed model of a text classifier comes near; whatever is longer was not meant.
const MOST_BYTES: u64 = 16 << 30;

/// Opens the model at `location` by `open`, which is given the copy on this machine. A copy is kept for as long as the
/// store tells the same marks of change, and made again if it is damaged.
///
/// # Errors
/// The object is missing, too long or not to be had, no folder can be written, or `open` fails.
pub(super) fn open(
    location: &Location,
    cache_dir: Option<&Path>,
    open: impl Fn(&Path) -> Result<Model>,
) -> Result<Model> {
    let meta = location.meta().map_err(of_model)?;
    if meta.bytes > MOST_BYTES {
        let reason = format!(
            "it has {} bytes, and no packed model has more than {MOST_BYTES}",
            meta.bytes
        );
        return Err(not_a_model(location.uri(), reason));
    }
    let name = Name::of(&location.uri(), &meta);
    let is_marked = meta.etag.is_some() || meta.modified.is_some();
    let mut failure = None;
    // The second one is not looked for where the first one will do.
    let cache = cache::folder(cache_dir).map(Ok);
    for folder in cache.into_iter().chain(std::iter::once_with(temporary)) {
        let started = match folder {
            Ok(folder) => {
                let path = folder.join(name.file());
                if is_marked && path.is_file() {
                    match open(&path) {
                        Err(error) if is_damage(&error) => remove(&path),
                        end => return end,
                    }
                }
                start(&folder).map(|file| (file, folder, path))
            }
            Err(error) => Err(error),
        };
        match started {
            Ok((file, folder, path)) => {
                fetch(location, &meta, file, &path)?;
                name.remove_former(&folder);
                return open(&path).inspect_err(|error| {
                    if is_damage(error) {
                        remove(&path);
                    }
                });
            }
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.expect("there were folders, and none could be written"))
}

/// The file name of a copy: which object it is of, and which content of it.
struct Name {
    object: String,
    content: String,
}

impl Name {
    fn of(url: &str, meta: &Meta) -> Self {
        let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
        Self {
            object: format!("remote-{}-", digest(url)),
            content: digest(&format!("{meta:?}")),
        }
    }

    fn file(&self) -> String {
        format!("{}{}.shoal", self.object, self.content)
    }

    /// Removes copies of what the object held before.
    fn remove_former(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let other = entry.file_name();
            if other.to_string_lossy().starts_with(&self.object) && *other != *self.file() {
                remove(&entry.path());
            }
        }
    }
}

/// A folder of this user's in the one for temporary files, which everybody may write: others must not be able to put a
/// model there.
fn temporary() -> Result<PathBuf> {
    #[cfg(unix)]
    let find = || {
        use std::os::unix::fs::{DirBuilderExt, MetadataExt};
        let user = tempfile::tempfile()?.metadata()?.uid();
        let folder = std::env::temp_dir().join(format!("shoal-{user}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        let meta = folder.symlink_metadata()?;
        if meta.is_dir() && meta.uid() == user && meta.mode() & 0o022 == 0 {
            Ok(folder)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    };
    // It is this user's own.
    #[cfg(not(unix))]
    let find = || Ok(std::env::temp_dir().join("shoal"));
    find().map_err(|e| write_error(&std::env::temp_dir(), e))
}

/// A new file below `folder`, locked for as long as it grows; what killed processes left there is removed.
fn start(folder: &Path) -> Result<NamedTempFile> {
    let place = folder.join("fetching");
    let start = || {
        std::fs::create_dir_all(&place)?;
        spool::remove_stale(&place);
        let file = NamedTempFile::new_in(&place)?;
        file.as_file().lock()?;
        Ok(file)
    };
    start().map_err(|e| write_error(folder, e))
}

/// Fetches the object by way of `file` to `path`, where it appears whole or not at all, even if another process fetches it at the
/// same time.
fn fetch(location: &Location, meta: &Meta, mut file: NamedTempFile, path: &Path) -> Result<()> {
    download(location, meta.bytes, file.as_file_mut(), path)?;
    // Otherwise the copy would bear the marks of another content.
    if location.meta().map_err(of_model)? != *meta {
        return Err(unreadable(
            location,
            "it was changed while it was fetched; try again",
        ));
    }
    file.persist(path).map_err(|e| write_error(path, e.error))?;
    Ok(())
}

/// Writes the `bytes` bytes of the object to `file`, which will be `path`. A connection that breaks is taken up again
/// where it broke, as long as that brings something: stores limit the time of a request, however much it brought.
fn download(location: &Location, bytes: u64, file: &mut File, path: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut object = location.open(None).map_err(of_model)?;
    let (mut done, mut resumed_at) = (0, 0);
    // One byte more than was announced is enough to know.
    while done <= bytes {
        match object.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                file.write_all(&buffer[..read])
                    .map_err(|e| write_error(path, e))?;
                done += read as u64;
            }
            Err(_) if resumed_at < done && done < bytes => {
                object = location.open(Some(done..bytes)).map_err(of_model)?;
                resumed_at = done;
            }
            Err(e) => return Err(unreadable(location, e)),
        }
    }
    if done == bytes {
        return Ok(());
    }
    Err(unreadable(
        location,
        format!(
            "the answer ended after {done} of {bytes} bytes, or went on beyond them; try again"
        ),
    ))
}

/// Best effort: what cannot be removed is told from what is wanted by its name or its checksum.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Whether another copy may be better.
fn is_damage(error: &Error) -> bool {
    matches!(
        error,
        Error::Model(
            ModelError::Io { .. }
                | ModelError::NotPacked { .. }
                | ModelError::DamagedInTransfer { .. }
                | ModelError::Truncated { .. }
                | ModelError::Checksum { .. }
        )
    )
}

fn write_error(place: &Path, error: io::Error) -> Error {
    let place = place.display().to_string();
    shoal_job::Error::storage("write a fetched model to", place, error).into()
}

fn unreadable(
    location: &Location,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    shoal_job::Error::storage("read", location.uri(), error).into()
}

fn not_a_model(url: String, reason: String) -> Error {
    ModelError::NotAModel {
        path: url.into(),
        reason,
    }
    .into()
}

/// What the store says of an input, said of a model.
pub(super) fn of_model(error: shoal_job::Error) -> Error {
    match error {
        shoal_job::Error::Input { place, reason } => not_a_model(place, reason),
        other => other.into(),
    }
}
