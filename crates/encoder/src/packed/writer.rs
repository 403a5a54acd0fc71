//! Writing a packed model.

use std::hash::Hasher;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use shoal_kernels::{ALIGNMENT, AlignedBytes, Bytes};
use twox_hash::XxHash3_64;

use super::{header, table};
use crate::error::ModelError;

/// Writes a packed model with these sections, in this order, to `path`, where it appears whole or not at all: it is
/// written to a temporary file in the same folder, synced and renamed. An existing file is replaced; processes that have
/// it mapped keep the old one.
///
/// # Errors
/// [`ModelError::Write`]
pub fn save<M: Serialize>(
    path: &Path,
    model: &M,
    sections: &[(&str, &[u8])],
) -> Result<(), ModelError> {
    let write = || -> io::Result<()> {
        // A symbolic link is kept; its target is replaced.
        let target = if path.is_symlink() {
            path.canonicalize()?
        } else {
            path.to_owned()
        };
        // Renaming would replace a device with a file.
        if target.exists() && !target.is_file() {
            return Err(invalid("it is a folder or a device"));
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut options = tempfile::Builder::new();
        options.prefix(".").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As for any new file, restricted by the umask; a temporary file would be readable only by its
            // owner.
            options.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = File::new(model, sections)?;
        let temporary = options.tempfile_in(folder)?;
        let mut out = BufWriter::with_capacity(1 << 20, temporary.as_file());
        file.write(&mut out)?;
        out.flush()?;
        drop(out);
        temporary.as_file().sync_all()?;
        temporary.persist(&target)?;
        Ok(())
    };
    write().map_err(|source| ModelError::Write {
        path: path.to_owned(),
        source,
    })
}

/// A packed model in memory, with these sections in this order.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for names or metadata that the format does not allow.
pub fn to_bytes<M: Serialize>(model: &M, sections: &[(&str, &[u8])]) -> io::Result<Bytes> {
    let file = File::new(model, sections)?;
    let mut bytes = AlignedBytes::zeroed(file.len);
    file.write(&mut &mut bytes[..])?;
    Ok(bytes.into())
}

/// The content of a packed model.
struct File<'a> {
    /// Everything before the sections.
    front: Vec<u8>,
    sections: &'a [(&'a str, &'a [u8])],
    /// Length of the whole.
    len: usize,
}

impl<'a> File<'a> {
    fn new<M: Serialize>(model: &M, sections: &'a [(&'a str, &'a [u8])]) -> io::Result<File<'a>> {
        let (metadata, len) = table::plan(model, sections).map_err(invalid)?;
        let mut front = header::encode(metadata.len(), len).to_vec();
        front.extend(metadata);
        front.resize(front.len().next_multiple_of(ALIGNMENT), 0);
        let mut file = File {
            front,
            sections,
            len,
        };
        let mut checksum = XxHash3_64::new();
        checksum.write(&file.front[header::COVERED..]);
        file.padded_sections().for_each(|part| checksum.write(part));
        header::set_checksum(&mut file.front, checksum.finish());
        Ok(file)
    }

    /// Each section, and zeros up to the start of the next one.
    fn padded_sections(&self) -> impl Iterator<Item = &[u8]> {
        const ZEROS: [u8; ALIGNMENT] = [0; _];
        self.sections.iter().flat_map(|(_, bytes)| {
            let padding = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
            [*bytes, &ZEROS[..padding]]
        })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.front)?;
        self.padded_sections()
            .try_for_each(|part| out.write_all(part))
    }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.into())
}
