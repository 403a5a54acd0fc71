//! A memory-mapped file.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use bytes::Bytes;

/// A read-only memory-mapped file. Pages are loaded on first access and are shared by all processes
/// that map the same file.
///
/// The file must not be truncated or modified while it is mapped: reading a page that no longer
/// exists kills the process. Replacing the file by renaming another one over it is safe.
#[derive(Debug)]
pub struct MappedFile(Option<memmap2::Mmap>);

impl MappedFile {
    /// Maps the file at `path` and, on Unix, asks the operating system to load its pages in the
    /// background. An empty file becomes an empty slice.
    ///
    /// # Errors
    /// The operating system's error if the file cannot be opened or mapped, or is a folder.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() == 0 {
            // An empty file cannot be mapped.
            return Ok(MappedFile(None));
        }
        // SAFETY: The mapping is private and read-only, so this process cannot change the bytes of
        // the slice. That no other process truncates or modifies the file is a documented
        // requirement of this type.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        // Waiting for the pages (`MAP_POPULATE`) would not speed up the first pass over a cached
        // file, because the page faults cost the same. If the advice fails, pages are loaded on
        // first access.
        #[cfg(unix)]
        let _ = map.advise(memmap2::Advice::WillNeed);
        Ok(MappedFile(Some(map)))
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<MappedFile> for Bytes {
    fn from(file: MappedFile) -> Bytes {
        Bytes::from_owner(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_returns_its_bytes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mapped.rs");
        let mapped = MappedFile::open(&path).unwrap();
        assert_eq!(&*mapped, std::fs::read(&path).unwrap());
    }

    #[test]
    fn a_folder_or_a_missing_file_is_refused() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(MappedFile::open(folder).is_err());
        assert!(MappedFile::open(&folder.join("no such file")).is_err());
    }
}
