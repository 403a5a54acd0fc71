//! The model that is compiled into the program, so that a copied binary is a working tool.

use std::sync::OnceLock;

use shoal_encoder::{Model, ModelError, ModelFiles};

/// How jobs refer to it.
pub(crate) const NAME: &str = "bundled";

const FILES: ModelFiles<'static> = ModelFiles {
    config: include_bytes!("../models/sentiment/config.json"),
    tokenizer: include_bytes!("../models/sentiment/tokenizer.json"),
    weights: include_bytes!("../models/sentiment/model.safetensors"),
};

pub(crate) fn open() -> Result<Model, ModelError> {
    Model::from_files(FILES)
}

pub(crate) fn fingerprint() -> String {
    static FINGERPRINT: OnceLock<String> = OnceLock::new();
    FINGERPRINT.get_or_init(|| FILES.fingerprint()).clone()
}
