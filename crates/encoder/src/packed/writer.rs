//! Writing a packed model.

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Seek, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use shoal_kernels::{AlignedBytes, Bytes};

use super::header::{CHECKSUM_AT, Checksum, Header, VERSION};
use super::table::{self, Section};
use crate::error::ModelError;

/// Writes a packed model section by section, so that a section need not be in memory as a whole.
///
/// Names and lengths of the sections are given in advance, because the table precedes them. Then each is
/// written, in the same order.
pub struct Writer<W: Write + Seek> {
    out: Sum<W>,
    /// Offset of the file in the stream.
    base: u64,
    /// Offset of the sections in the file, and the length of the file.
    start: u64,
    end: u64,
    sections: std::vec::IntoIter<Section>,
}

impl<W: Write + Seek> Writer<W> {
    /// Writes header and metadata at the current position of `out`. The file is not valid until
    /// [`Writer::finish`].
    ///
    /// # Errors
    /// Those of `out`; [`io::ErrorKind::InvalidInput`] for names, lengths or metadata that the
    /// format does not allow.
    pub fn new<M: Serialize>(
        mut out: W,
        model: &M,
        sections: &[(&str, u64)],
    ) -> io::Result<Writer<W>> {
        let (metadata, sections, end) = table::plan(model, sections).map_err(invalid)?;
        let (front, covered) = Header {
            version: VERSION,
            // At most `MAX_METADATA`.
            metadata: metadata.len() as u32,
            file: end,
        }
        .encode();
        let base = out.stream_position()?;
        out.write_all(&front)?;
        let mut out = Sum {
            out,
            sum: Checksum::new(),
            position: front.len() as u64,
        };
        out.write_all(&covered)?;
        out.write_all(&metadata)?;
        Ok(Writer {
            out,
            base,
            start: table::start(metadata.len()),
            end,
            sections: sections.into_iter(),
        })
    }

    /// Writes the next section, `name`, by calling `write`.
    ///
    /// # Errors
    /// Those of `write` and of the stream; [`io::ErrorKind::InvalidInput`] if it is not the next section, or
    /// if its length is not the announced one.
    pub fn section(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(section) = self.sections.next().filter(|next| next.name == name) else {
            return Err(invalid(format!("the section {name:?} is not due")));
        };
        let from = self.start + section.offset;
        self.out.pad(from)?;
        write(&mut self.out)?;
        let written = self.out.position - from;
        if written != section.length {
            return Err(invalid(format!(
                "the section {name:?} was announced with {} bytes and written with {written}",
                section.length
            )));
        }
        Ok(())
    }

    /// Writes the checksum and returns the stream, positioned after the file.
    ///
    /// # Errors
    /// Those of the stream; [`io::ErrorKind::InvalidInput`] if a section is missing.
    pub fn finish(mut self) -> io::Result<W> {
        if let Some(section) = self.sections.next() {
            return Err(invalid(format!("the section {:?} is due", section.name)));
        }
        self.out.pad(self.end)?;
        let Sum { mut out, sum, .. } = self.out;
        out.seek(SeekFrom::Start(self.base + CHECKSUM_AT))?;
        out.write_all(&sum.finish().to_le_bytes())?;
        out.seek(SeekFrom::Start(self.base + self.end))?;
        out.flush()?;
        Ok(out)
    }
}

/// Writes a packed model to `path`, where it appears whole or not at all: it is written to a temporary
/// file in the same folder, synced and renamed. An existing file is replaced; processes that have it
/// mapped keep the old one.
///
/// `fill` writes the sections, in the order of `sections`.
///
/// # Errors
/// [`ModelError::Write`], also for errors of `fill`.
pub fn save<M: Serialize>(
    path: &Path,
    model: &M,
    sections: &[(&str, u64)],
    fill: impl FnOnce(&mut Writer<BufWriter<&File>>) -> io::Result<()>,
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
            return Err(invalid("it is a folder or a device".to_owned()));
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
        let temporary = options.tempfile_in(folder)?;
        let out = BufWriter::with_capacity(1 << 20, temporary.as_file());
        let mut writer = Writer::new(out, model, sections)?;
        fill(&mut writer)?;
        writer.finish()?;
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
/// As [`Writer::new`].
pub fn to_bytes<M: Serialize>(model: &M, sections: &[(&str, &[u8])]) -> io::Result<Bytes> {
    let lengths: Vec<_> = sections
        .iter()
        .map(|(name, bytes)| (*name, bytes.len() as u64))
        .collect();
    let (_, _, len) = table::plan(model, &lengths).map_err(invalid)?;
    let len = usize::try_from(len).map_err(|_| invalid("it is longer than memory".to_owned()))?;
    let mut bytes = AlignedBytes::zeroed(len);
    let mut writer = Writer::new(Cursor::new(&mut bytes[..]), model, &lengths)?;
    for (name, bytes) in sections {
        writer.section(name, |out| out.write_all(bytes))?;
    }
    writer.finish()?;
    Ok(bytes.into())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

/// A stream that keeps track of checksum and position.
struct Sum<W> {
    out: W,
    sum: Checksum,
    /// Relative to the start of the file.
    position: u64,
}

impl<W: Write> Sum<W> {
    /// Writes zeros up to `position`, which is less than an alignment away.
    fn pad(&mut self, position: u64) -> io::Result<()> {
        const ZEROS: [u8; shoal_kernels::ALIGNMENT] = [0; _];
        self.write_all(&ZEROS[..(position - self.position) as usize])
    }
}

impl<W: Write> Write for Sum<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sum.update(&bytes[..written]);
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
