//! The header of a packed model, and its checksum.

use std::hash::Hasher;
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use crate::error::ModelError;

/// The version of the format that is written, and the only one that can be read.
pub const VERSION: u32 = 1;

/// Most bytes of metadata.
pub const MAX_METADATA: usize = 64 << 20;

/// Alignment of sections in the file, in bytes; the same as that of [`View`](shoal_kernels::View) in
/// memory.
pub(super) const ALIGNMENT: u64 = shoal_kernels::ALIGNMENT as u64;

/// Bytes of the header.
pub(super) const LEN: usize = 32;

/// Offset of the checksum.
pub(super) const CHECKSUM_AT: u64 = 8;

/// Offset of the bytes that the checksum covers.
const COVERED: usize = 16;

const MAGIC: [u8; 8] = *b"\x89SHL\r\n\x1a\n";

/// What text-mode transfers make of the start of the magic: unchanged (only line endings differ),
/// without the eighth bit, converted from Latin-1 to UTF-8, or replaced as invalid UTF-8.
const STARTS: [&[u8]; 4] = [
    b"\x89SHL",
    b"\x09SHL",
    "\u{89}SHL".as_bytes(),
    "\u{fffd}SHL".as_bytes(),
];

/// The checksum of a stream.
pub(super) struct Checksum(XxHash3_64);

impl Checksum {
    pub(super) fn new() -> Checksum {
        Checksum(XxHash3_64::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    pub(super) fn finish(&self) -> u64 {
        self.0.finish()
    }
}

/// The fields after the checksum.
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) metadata: u32,
    pub(super) file: u64,
}

impl Header {
    /// The header in two parts: up to the end of the checksum, which is left zero, and the part that the
    /// checksum covers.
    pub(super) fn encode(&self) -> ([u8; COVERED], [u8; LEN - COVERED]) {
        let mut front = [0; COVERED];
        front[..8].copy_from_slice(&MAGIC);
        let mut covered = [0; LEN - COVERED];
        covered[..4].copy_from_slice(&self.version.to_le_bytes());
        covered[4..8].copy_from_slice(&self.metadata.to_le_bytes());
        covered[8..].copy_from_slice(&self.file.to_le_bytes());
        (front, covered)
    }

    /// Reads the header of the file in `bytes`, and verifies that the file is complete and undamaged and
    /// has the supported version. Reads every byte once.
    pub(super) fn verify(path: &Path, bytes: &[u8]) -> Result<Header, ModelError> {
        check_magic(path, bytes)?;
        let truncated = |expected: u64| ModelError::Truncated {
            path: path.to_owned(),
            found: bytes.len() as u64,
            expected,
        };
        let Some((header, _)) = bytes.split_first_chunk::<LEN>() else {
            return Err(truncated(LEN as u64));
        };
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header = Header {
            version: u32_at(16),
            metadata: u32_at(20),
            file: u64_at(24),
        };
        let len = bytes.len() as u64;
        if len < header.file {
            return Err(truncated(header.file));
        }
        if len > header.file {
            let reason = format!(
                "it has {len} bytes where it should have {}; copy it again or pack it again",
                header.file
            );
            return Err(malformed(path, reason));
        }
        if XxHash3_64::oneshot(&bytes[COVERED..]) != u64_at(CHECKSUM_AT as usize) {
            return Err(ModelError::Checksum {
                path: path.to_owned(),
            });
        }
        // After the checksum, so that a damaged version is not mistaken for another one.
        if header.version != VERSION {
            return Err(ModelError::FormatVersion {
                path: path.to_owned(),
                found: header.version,
                supported: VERSION,
            });
        }
        Ok(header)
    }
}

fn check_magic(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    if bytes.starts_with(&MAGIC) {
        return Ok(());
    }
    let path = path.to_owned();
    if !bytes.is_empty() && MAGIC.starts_with(bytes) {
        return Err(ModelError::Truncated {
            path,
            found: bytes.len() as u64,
            expected: LEN as u64,
        });
    }
    if STARTS.iter().any(|start| bytes.starts_with(start)) {
        return Err(ModelError::DamagedInTransfer { path });
    }
    let hint = if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(b"version https://git-lfs") {
        "it is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
    } else {
        "it does not begin as one"
    };
    Err(ModelError::NotPacked { path, hint })
}

pub(super) fn malformed(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Malformed {
        path: PathBuf::from(path),
        reason: reason.into(),
    }
}

/// Gives any `bytes` the magic, length and checksum of a packed model, so that tests reach the code
/// behind the checksum. Bytes shorter than a header stay unchanged.
#[doc(hidden)]
pub fn reseal(bytes: &mut [u8]) {
    if bytes.len() < LEN {
        return;
    }
    let len = bytes.len() as u64;
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[24..32].copy_from_slice(&len.to_le_bytes());
    let checksum = XxHash3_64::oneshot(&bytes[COVERED..]);
    bytes[8..16].copy_from_slice(&checksum.to_le_bytes());
}
