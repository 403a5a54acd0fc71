//! Reading and mapping files of a model folder.

use std::path::{Component, Path};
use std::{fs, io};

use shoal_kernels::MappedFile;

use crate::error::ModelError;

/// The configuration of a model of transformers.
pub(crate) const CONFIG: &str = "config.json";

/// The file with the weights, unless there are several.
pub(crate) const SINGLE: &str = "model.safetensors";

/// Several times the largest published tokenizers.
const MAX_TEXT_BYTES: u64 = 256 << 20;

/// What a Git LFS pointer begins with.
pub(crate) const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// The error for a Git LFS pointer in place of `file`.
pub(crate) fn lfs_pointer(file: &str) -> ModelError {
    let reason = "it is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`";
    ModelError::corrupt(file, reason)
}

/// Reads a small file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    read_at_most(path, MAX_TEXT_BYTES)
}

/// Reads a file of at most `limit` bytes whole.
pub(crate) fn read_at_most(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let bytes = fs::metadata(path)
        .map_err(|source| io_error(path, source))?
        .len();
    if bytes > limit {
        let reason = format!("it has {bytes} bytes; at most {limit} are supported");
        return Err(ModelError::corrupt(&path.display().to_string(), reason));
    }
    let bytes = fs::read(path).map_err(|source| io_error(path, source))?;
    if bytes.starts_with(LFS_POINTER) {
        let name = path.file_name().unwrap_or(path.as_os_str());
        return Err(lfs_pointer(&name.to_string_lossy()));
    }
    Ok(bytes)
}

/// Maps a file.
pub(crate) fn map(path: &Path) -> Result<MappedFile, ModelError> {
    MappedFile::open(path).map_err(|source| io_error(path, source))
}

/// Whether `path`, which uses `/` on every system, stays in the folder that it is relative to.
pub(crate) fn is_within(path: &str) -> bool {
    !path.contains('\\')
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

fn io_error(path: &Path, source: io::Error) -> ModelError {
    ModelError::Io {
        path: path.to_owned(),
        source,
    }
}
