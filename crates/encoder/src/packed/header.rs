//! The header of a packed model, and its checksum.

use std::path::Path;

use twox_hash::XxHash3_64;

use crate::error::ModelError;
use crate::files::LFS_POINTER;

/// The version of the format that is written, and the only one that can be read.
pub const VERSION: u32 = 1;

/// Most bytes of metadata.
pub const MAX_METADATA: usize = 64 << 20;

/// Bytes of the header.
pub(super) const LEN: usize = 32;

/// Offset of the bytes that the checksum covers.
pub(super) const COVERED: usize = 16;

const MAGIC: [u8; 8] = *b"\x89SHL\r\n\x1a\n";

/// What text-mode transfers make of the start of the magic: unchanged (only line endings differ),
/// without the eighth bit, converted from Latin-1 to UTF-8, or replaced as invalid UTF-8.
const STARTS: [&[u8]; 4] = [
    b"\x89SHL",
    b"\x09SHL",
    "\u{89}SHL".as_bytes(),
    "\u{fffd}SHL".as_bytes(),
];

/// The header, with a checksum of zero, of a file of `file` bytes with `metadata` bytes of metadata.
pub(super) fn encode(metadata: usize, file: usize) -> [u8; LEN] {
    let mut header = [0; LEN];
    header[..8].copy_from_slice(&MAGIC);
    header[16..20].copy_from_slice(&VERSION.to_le_bytes());
    // At most `MAX_METADATA`.
    header[20..24].copy_from_slice(&(metadata as u32).to_le_bytes());
    header[24..].copy_from_slice(&(file as u64).to_le_bytes());
    header
}

pub(super) fn set_checksum(file: &mut [u8], checksum: u64) {
    file[8..COVERED].copy_from_slice(&checksum.to_le_bytes());
}

/// Verifies that the file in `bytes` is complete and undamaged and has the supported version; returns the length of its
/// metadata. Reads every byte once.
pub(super) fn verify(path: &Path, bytes: &[u8]) -> Result<usize, ModelError> {
    check_magic(path, bytes)?;
    let len = bytes.len() as u64;
    let Some((header, _)) = bytes.split_first_chunk::<LEN>() else {
        return Err(truncated(path, len, LEN as u64));
    };
    let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| header[at + i]));
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let file = u64_at(24);
    if len < file {
        return Err(truncated(path, len, file));
    }
    if len > file {
        let reason = format!(
            "it has {len} bytes where it should have {file}; copy it again or pack it again"
        );
        return Err(malformed(path, reason));
    }
    if XxHash3_64::oneshot(&bytes[COVERED..]) != u64_at(8) {
        let reason = "it was damaged: its checksum differs; copy it again or pack it again";
        return Err(damaged(path, reason));
    }
    // After the checksum, so that a damaged version is not mistaken for another one.
    let version = u32_at(16);
    if version != VERSION {
        let advice = if version > VERSION {
            "update shoal, or pack it again with this one"
        } else {
            "pack it again"
        };
        let reason = format!(
            "it has version {version} of the packed format, and this shoal reads {VERSION}; {advice}"
        );
        return Err(malformed(path, reason));
    }
    Ok(u32_at(20) as usize)
}

fn check_magic(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    if bytes.starts_with(&MAGIC) {
        return Ok(());
    }
    if !bytes.is_empty() && MAGIC.starts_with(bytes) {
        return Err(truncated(path, bytes.len() as u64, LEN as u64));
    }
    if STARTS.iter().any(|start| bytes.starts_with(start)) {
        let reason = "a transfer in text mode changed its line endings or characters; copy it again in \
                      binary mode";
        return Err(damaged(path, reason));
    }
    let hint = if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(LFS_POINTER) {
        "it is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
    } else if bytes.starts_with(b"GGUF") {
        "it is a GGUF model, which shoal does not read; name the folder of the model that it was made from"
    } else if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02") {
        "it seems to be pickled, which shoal does not read, because reading it runs code from the file; name a model folder \
         with model.safetensors"
    } else if bytes.get(8) == Some(&b'{') {
        "it seems to be a safetensors file; name the folder that has it, with config.json and tokenizer.json"
    } else if path
        .extension()
        .is_some_and(|extension| extension == "onnx")
    {
        "it is an ONNX model, which shoal does not read; name the folder of the model that it was made from"
    } else if bytes.starts_with(b"{") {
        "it seems to be JSON; name the folder of the model"
    } else {
        "it does not begin as one"
    };
    Err(ModelError::NotPacked {
        path: path.to_owned(),
        hint,
    })
}

fn truncated(path: &Path, found: u64, expected: u64) -> ModelError {
    let reason = format!(
        "it was cut short: {found} of {expected} bytes are there; copy it again or pack it again"
    );
    damaged(path, reason)
}

fn damaged(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Damaged {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

pub(super) fn malformed(path: &Path, reason: impl Into<String>) -> ModelError {
    ModelError::Malformed {
        path: path.to_owned(),
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
    bytes[24..LEN].copy_from_slice(&len.to_le_bytes());
    let checksum = XxHash3_64::oneshot(&bytes[COVERED..]);
    set_checksum(bytes, checksum);
}
