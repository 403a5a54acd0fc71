//! The model that is compiled into the program, so that it works without other files.

use shoal_encoder::{Checkpoint, ModelError, ModelFiles};

/// Its reference in jobs.
pub(crate) const NAME: &str = "bundled";

/// The fingerprint of the files below, since hashing 45 MB would take most of a start.
pub(crate) const FINGERPRINT: &str =
    "4adee659f734f1f18ca024214c39d314e3298363f8f64e19be52472441822216";

const FILES: ModelFiles<'static> = ModelFiles {
    config: include_bytes!("../../../models/sentiment/config.json"),
    tokenizer: include_bytes!("../../../models/sentiment/tokenizer.json"),
    weights: include_bytes!("../../../models/sentiment/model.safetensors"),
};

pub(crate) fn checkpoint() -> Result<Checkpoint, ModelError> {
    Checkpoint::from_files(FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_files() {
        assert_eq!(FINGERPRINT, FILES.fingerprint());
    }
}
