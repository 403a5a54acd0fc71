//! Packed models at a URL: downloaded once, then mapped from the disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use shoal_encoder::{Model, ModelError};
use shoal_job::spec::Identity;
use shoal_job::store::Location;
use tempfile::NamedTempFile;

use super::cache;
use crate::{Error, Result, inputs};

/// Longer objects are not packed models.
const MAX_BYTES: u64 = 16 << 30;

/// Opens the model at `location`: downloads it, and calls `open` with the path of the copy. A copy is kept as long as the
/// object does not change, and replaced if it is damaged.
///
/// # Errors
/// The object is missing or too long, no folder can be written, or `open` fails.
pub(super) fn open(
    location: &Location,
    cache_dir: Option<&Path>,
    open: impl Fn(&Path) -> Result<Model>,
) -> Result<Model> {
    let meta = location.meta().map_err(of_model)?;
    if meta.bytes > MAX_BYTES {
        let reason = format!(
            "it has {} bytes, and packed models have at most {MAX_BYTES}",
            meta.bytes
        );
        return Err(not_a_model(location.uri(), reason));
    }
    // The name of a copy identifies the object and its content.
    let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
    let object = format!("remote-{}-", digest(&location.uri()));
    let name = format!("{object}{}.shoal", digest(&format!("{meta:?}")));
    let can_change = meta.etag.is_none() && meta.modified.is_none();
    // Opens a copy, and removes a damaged one.
    let open = |path: &Path| {
        open(path).inspect_err(|error| {
            if is_damaged(error) {
                remove(path);
            }
        })
    };
    // An outer error means that the folder cannot be written.
    let open_in = |folder: &Path| -> Result<Result<Model>> {
        let path = folder.join(&name);
        if path.is_file() && !can_change {
            match open(&path) {
                Err(error) if is_damaged(&error) => {}
                end => return Ok(end),
            }
        }
        let file = inputs::locked_file(&folder.join("fetching"));
        let file = file.map_err(|e| write_error(folder, e))?;
        Ok(fetch(location, &meta, file, &path).and_then(|()| {
            remove_former(folder, &object, &name);
            open(&path)
        }))
    };
    let cached = match cache::folder(cache_dir).map(|folder| open_in(&folder)) {
        Some(Ok(end)) => return end,
        Some(Err(error)) => Some(error),
        None => None,
    };
    temporary()
        .and_then(|folder| open_in(&folder))
        .unwrap_or_else(|error| Err(cached.unwrap_or(error)))
}

/// Removes copies of an object except `name`: those of its earlier content.
fn remove_former(folder: &Path, object: &str, name: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        if other.to_string_lossy().starts_with(object) && other != *name {
            remove(&entry.path());
        }
    }
}

/// This user's own folder in the folder for temporary files. Other users must not be able to store a model in it.
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
    // The folder for temporary files belongs to this user.
    #[cfg(not(unix))]
    let find = || Ok(std::env::temp_dir().join("shoal"));
    find().map_err(|e| write_error(&std::env::temp_dir(), e))
}

/// Downloads the object to `file`, and renames that to `path`.
fn fetch(location: &Location, meta: &Identity, mut file: NamedTempFile, path: &Path) -> Result<()> {
    download(location, meta.bytes, file.as_file_mut(), path)?;
    // The name of the copy includes `meta`.
    if location.meta().map_err(of_model)? != *meta {
        return Err(unreadable(
            location,
            "it changed during the download; try again",
        ));
    }
    file.persist(path).map_err(|e| write_error(path, e.error))?;
    Ok(())
}

/// Writes the `bytes` bytes of the object to `file`, which will be `path`. A broken connection is resumed if it made
/// progress, since stores limit the time of a request.
fn download(location: &Location, bytes: u64, file: &mut File, path: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut object = location.open(None).map_err(of_model)?;
    let (mut done, mut resumed_at) = (0, 0);
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
    let reason = format!("the answer has {done} bytes instead of {bytes}; try again");
    Err(unreadable(location, reason))
}

/// Failures are ignored: names and checksums distinguish the file from a valid one.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// Whether a new copy may help.
fn is_damaged(error: &Error) -> bool {
    matches!(
        error,
        Error::Model(
            ModelError::Io { .. } | ModelError::NotPacked { .. } | ModelError::Damaged { .. }
        )
    )
}

fn write_error(path: &Path, error: io::Error) -> Error {
    let path = path.display().to_string();
    shoal_job::Error::storage("write a downloaded model to", path, error).into()
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

/// Turns the store's error about an input into one about a model.
pub(super) fn of_model(error: shoal_job::Error) -> Error {
    match error {
        shoal_job::Error::Input { place, reason } => not_a_model(place, reason),
        other => other.into(),
    }
}
