//! Reading small text files.

use std::io::Read;
use std::path::Path;

/// Reads a text file of at most `max_bytes` bytes.
///
/// # Errors
/// The reason, without the path.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    let mut start = file.take(max_bytes + 1);
    start.read_to_string(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > max_bytes {
        return Err(format!("it has more than {max_bytes} bytes"));
    }
    Ok(text)
}
