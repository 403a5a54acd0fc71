//! A file as a slice of bytes.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// A file mapped into memory, read-only: its pages are loaded when they are read, and are shared
/// by all processes that map the same file.
///
/// The file must not be truncated or written to while it is mapped: reading a page that no longer
/// exists ends the process. Replacing a file by renaming another one over it is safe.
///
/// It is kept in this crate because the mapping needs `unsafe`.
#[derive(Debug)]
pub struct MappedFile(Option<memmap2::Mmap>);

impl MappedFile {
    /// Maps the file at `path`; an empty file gives an empty slice.
    ///
    /// # Errors
    /// What the operating system answers when the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<MappedFile> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.len() == 0 {
            // An empty range cannot be mapped.
            return Ok(MappedFile(None));
        }
        // SAFETY: The mapping is private and read-only, so this process cannot change the bytes
        // behind the slice. That no other process truncates or rewrites the file is a condition
        // of this type, stated in its documentation.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(MappedFile(Some(map)))
    }

    /// As [`MappedFile::open`], for a file that will be read from end to end: its pages are asked
    /// for at once, in the background, where the operating system can do that.
    ///
    /// # Errors
    /// As [`MappedFile::open`].
    pub fn open_whole(path: &Path) -> io::Result<MappedFile> {
        let file = MappedFile::open(path)?;
        // Waiting for the pages instead (`MAP_POPULATE`) makes a first pass over a cached file no
        // faster: a page costs the same, whoever asks for it.
        #[cfg(unix)]
        if let Some(map) = &file.0 {
            // Advice: whoever cannot take it reads the pages when they are touched.
            let _ = map.advise(memmap2::Advice::WillNeed);
        }
        Ok(file)
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_bytes_of_a_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mapped.rs");
        for mapped in [MappedFile::open(&path), MappedFile::open_whole(&path)] {
            assert_eq!(&*mapped.unwrap(), std::fs::read(&path).unwrap());
        }
    }

    #[test]
    fn refuses_a_folder_and_a_missing_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(MappedFile::open(folder).is_err());
        assert!(MappedFile::open(&folder.join("no such file")).is_err());
    }
}
