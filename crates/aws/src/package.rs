//! The zip that Lambda unpacks to `/var/task`: the bootstrap and, optionally, the model. It is reproducible: unchanged
//! files yield the same bytes and name, so that deploying them again changes nothing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::error::{Error, Result};
use crate::limits::PACKAGE_BYTES;

/// The executable's name in the zip, as `provided.al2023` requires.
const BOOTSTRAP: &str = "bootstrap";
/// The model's name in the zip; the function looks for it next to its executable.
const MODEL: &str = "model.shoal";
/// The number of checksum digits in a zip's name.
pub(crate) const CHECKSUM_DIGITS: usize = 16;

/// A zip file with the function's code.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Package {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The size of the unzipped files in bytes.
    pub unzipped: u64,
    /// Its SHA-256 in hexadecimal.
    pub checksum: String,
}

impl Package {
    /// Writes a zip with the executable `bootstrap` and, if given, the packed model `model` to `path`.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written, or if the files together are larger than Lambda allows.
    pub fn write(path: &Path, bootstrap: &Path, model: Option<&Path>) -> Result<Self> {
        let mut files = vec![(BOOTSTRAP, bootstrap, 0o755)];
        files.extend(model.map(|model| (MODEL, model, 0o644)));
        let mut unzipped = 0;
        for (_, source, _) in &files {
            let meta = source.metadata().map_err(|e| storage("read", source, e))?;
            unzipped += meta.len();
        }
        if unzipped > PACKAGE_BYTES {
            return Err(Error::TooLarge { bytes: unzipped });
        }
        let write = |e: io::Error| storage("write", path, e);
        let mut zip = ZipWriter::new(File::create_new(path).map_err(write)?);
        for (name, source, mode) in files {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .last_modified_time(DateTime::default())
                .unix_permissions(mode);
            let mut content = File::open(source).map_err(|e| storage("read", source, e))?;
            zip.start_file(name, options)
                .map_err(|e| write(io::Error::other(e)))?;
            io::copy(&mut content, &mut zip).map_err(write)?;
        }
        let mut file = zip.finish().map_err(|e| write(io::Error::other(e)))?;
        file.flush().map_err(write)?;
        drop(file);
        let (bytes, checksum) = digest(path).map_err(|e| storage("read", path, e))?;
        Ok(Self {
            path: path.to_owned(),
            bytes,
            unzipped,
            checksum,
        })
    }

    /// Its name in the store's folder `deploy`.
    pub fn file_name(&self, deployment: &str) -> String {
        format!("{deployment}-{}.zip", &self.checksum[..CHECKSUM_DIGITS])
    }
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    while let read @ 1.. = file.read(&mut buffer)? {
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
    let checksum = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Ok((bytes, checksum))
}

fn storage(action: &'static str, path: &Path, error: io::Error) -> Error {
    shoal_job::Error::storage(action, path.display().to_string(), error).into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn sources() -> (TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (program, model) = (dir.path().join("program"), dir.path().join("m"));
        fs::write(&program, b"#!/bin/sh\n".repeat(1000)).unwrap();
        fs::write(&model, [7; 5000]).unwrap();
        (dir, program, model)
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let (dir, program, model) = sources();
        let one = Package::write(&dir.path().join("1.zip"), &program, Some(&model)).unwrap();
        // The copy has another modification time.
        let copy = dir.path().join("copy");
        fs::write(&copy, fs::read(&program).unwrap()).unwrap();
        let file = File::open(&copy).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        let two = Package::write(&dir.path().join("2.zip"), &copy, Some(&model)).unwrap();
        assert_eq!(fs::read(&one.path).unwrap(), fs::read(&two.path).unwrap());
        assert_eq!(one.file_name("shoal"), two.file_name("shoal"));
        assert_eq!(one.unzipped, 15_000);
        assert!(one.bytes < one.unzipped);
        // Other content yields another name.
        fs::write(&copy, "x").unwrap();
        let three = Package::write(&dir.path().join("3.zip"), &copy, Some(&model)).unwrap();
        assert_ne!(one.file_name("shoal"), three.file_name("shoal"));
    }

    #[test]
    fn the_bootstrap_is_executable_and_the_model_readable() {
        let (dir, program, model) = sources();
        let package = Package::write(&dir.path().join("x.zip"), &program, Some(&model)).unwrap();
        let mut zip = zip::ZipArchive::new(File::open(&package.path).unwrap()).unwrap();
        let found: Vec<_> = (0..zip.len())
            .map(|i| {
                let file = zip.by_index(i).unwrap();
                (
                    file.name().unwrap().into_owned(),
                    file.unix_mode().unwrap() & 0o7777,
                )
            })
            .collect();
        assert_eq!(
            found,
            [("bootstrap".into(), 0o755), ("model.shoal".into(), 0o644)]
        );
        let mut content = Vec::new();
        zip.by_name("bootstrap")
            .unwrap()
            .read_to_end(&mut content)
            .unwrap();
        assert_eq!(content, fs::read(&program).unwrap());
    }

    #[test]
    fn too_large_packages_are_refused() {
        let (dir, program, _) = sources();
        let huge = dir.path().join("huge");
        // A sparse file takes no disk space.
        File::create(&huge).unwrap().set_len(PACKAGE_BYTES).unwrap();
        let error = Package::write(&dir.path().join("x.zip"), &program, Some(&huge)).unwrap_err();
        assert!(matches!(error, Error::TooLarge { bytes } if bytes == PACKAGE_BYTES + 10_000));
        assert!(error.to_string().contains("outside"), "{error}");
        let missing = dir.path().join("missing");
        let error = Package::write(&dir.path().join("y.zip"), &missing, None).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
    }
}
