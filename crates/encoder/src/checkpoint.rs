//! A model as it was published: its files and their tensors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use shoal_kernels::{Bytes, copy_aligned};

use crate::arch;
use crate::error::ModelError;
use crate::files::{CONFIG, map, read};
use crate::folder_hint;
use crate::modules::{self, Sentence};
use crate::plan::{LinearPlan, ModelPlan, NormPlan, TensorPlan};
use crate::purpose::Purpose;
use crate::tokenizer::{self, TextEncoder, Truncation};
use crate::weights::{self, Tensor, Weights};

/// The files of a model in memory, for example compiled into the program.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    /// The bytes of `config.json`.
    pub config: &'a [u8],
    /// The bytes of `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// The bytes of one `model.safetensors`, at any alignment.
    pub weights: &'static [u8],
}

impl ModelFiles<'_> {
    /// The fingerprint that [`Checkpoint::fingerprint`] gives for a folder of exactly these files.
    pub fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(CONFIG, self.config);
        fingerprint.add(tokenizer::JSON, self.tokenizer);
        fingerprint.add(weights::SINGLE, self.weights);
        fingerprint.finish()
    }
}

/// An encoder in the layout of the Hugging Face hub, opened but not yet packed for the engine.
///
/// It becomes a [`Model`](crate::Model) for one [`Purpose`].
pub struct Checkpoint {
    config: Value,
    config_json: Bytes,
    tokenizer: Arc<TextEncoder>,
    truncation: Truncation,
    weights: Weights,
    /// Without one, the checkpoint has only the files of [`ModelFiles`].
    folder: Option<PathBuf>,
}

/// What packing reads of a checkpoint for one purpose.
pub(crate) struct Source<'a> {
    pub(crate) plan: ModelPlan,
    pub(crate) config_json: &'a Bytes,
    pub(crate) tokenizer: Arc<TextEncoder>,
    pub(crate) truncation: Truncation,
    weights: Weights,
}

impl Checkpoint {
    /// Opens a model folder in the layout of the Hugging Face hub: `config.json`,
    /// `tokenizer.json` or `vocab.txt`, and `model.safetensors`, sharded or not. The weight files
    /// stay mapped and must not be changed in place while the checkpoint lives.
    ///
    /// For [`Purpose::Embed`], packing also reads the files of sentence-transformers:
    /// `modules.json`, `config_sentence_transformers.json`, `sentence_bert_config.json`, and the
    /// configurations and weights of the modules.
    ///
    /// # Errors
    /// See [`ModelError`]; the messages name the file and key.
    pub fn open(folder: &Path) -> Result<Checkpoint, ModelError> {
        check_folder(folder)?;
        let tokenizer = |config: &Value, rows| TextEncoder::open(folder, config, rows, false);
        Checkpoint::new(
            &read(&folder.join(CONFIG))?,
            tokenizer,
            || Weights::open(folder),
            Some(folder.to_owned()),
        )
    }

    /// Opens files in memory.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_files(files: ModelFiles<'_>) -> Result<Checkpoint, ModelError> {
        let tokenizer = |config: &Value, rows| TextEncoder::of_json(files.tokenizer, config, rows);
        let weights = || {
            let mut weights = Weights::default();
            weights.add(weights::SINGLE, &files.weights.into(), "")?;
            Ok(weights)
        };
        Checkpoint::new(files.config, tokenizer, weights, None)
    }

    /// `tokenizer` gets the configuration and the number of tokens that it has embeddings for.
    fn new(
        config_json: &[u8],
        tokenizer: impl FnOnce(&Value, usize) -> Result<(TextEncoder, Truncation), ModelError>,
        weights: impl FnOnce() -> Result<Weights, ModelError>,
        folder: Option<PathBuf>,
    ) -> Result<Checkpoint, ModelError> {
        let config: Value = serde_json::from_slice(config_json)
            .map_err(|error| ModelError::corrupt(CONFIG, error.to_string()))?;
        // Whether the encoder is supported does not depend on the purpose.
        let encoder = arch::find(&config)?.plan(&config)?;
        let (tokenizer, truncation) = tokenizer(&config, encoder.vocabulary())?;
        Ok(Checkpoint {
            config,
            config_json: copy_aligned(config_json),
            tokenizer: Arc::new(tokenizer),
            truncation,
            weights: weights()?,
            folder,
        })
    }

    /// A BLAKE3 hash, in hexadecimal, of everything in `folder` that the results depend on, whatever
    /// the purpose: the names, lengths and bytes of configuration, tokenizer and weights, and of the
    /// files of sentence-transformers if there are any. Reads the files once, without opening the
    /// model.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], for files that are missing or cannot be read.
    pub fn fingerprint(folder: &Path) -> Result<String, ModelError> {
        check_folder(folder)?;
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(CONFIG, &read(&folder.join(CONFIG))?);
        for name in tokenizer::names(folder) {
            fingerprint.add(name, &read(&folder.join(name))?);
        }
        let weights = weights::files(folder)?;
        for (name, path) in weights.into_iter().chain(modules::files(folder)?) {
            fingerprint.add(&name, &map(&path)?);
        }
        Ok(fingerprint.finish())
    }

    /// What the checkpoint was published for: [`Purpose::Embed`] for a folder of sentence-transformers
    /// (`modules.json`) and for a base model such as `BertModel` (`architectures` in `config.json`),
    /// [`Purpose::Classify`] for all others. If `config.json` does not say, it depends on whether there is a
    /// classifier among the tensors.
    pub fn default_purpose(&self) -> Purpose {
        let classes = arch::classes(&self.config);
        let folder = self.folder.as_deref();
        let embeds = if folder.is_some_and(modules::is_sentence_transformer) {
            true
        } else if classes.is_empty() {
            !self.weights.has("classifier.weight")
        } else {
            classes.iter().all(|class| class.ends_with("Model"))
        };
        if embeds {
            Purpose::Embed
        } else {
            Purpose::Classify
        }
    }

    /// The checkpoint for one purpose.
    ///
    /// # Errors
    /// [`ModelError`] if it cannot serve the purpose, or for damaged files that only this purpose
    /// needs.
    pub(crate) fn source(&self, purpose: Purpose) -> Result<Source<'_>, ModelError> {
        let sentence = match purpose {
            Purpose::Classify => None,
            Purpose::Embed => {
                let hidden = arch::find(&self.config)?.plan(&self.config)?.hidden();
                Some(Sentence::open(self.folder.as_deref(), hidden)?)
            }
        };
        let mut weights = self.weights.clone();
        let mut tokenizer = self.tokenizer.clone();
        let mut truncation = self.truncation;
        let mut spec = None;
        if let Some(sentence) = sentence {
            weights.extend(sentence.weights);
            truncation.limit = sentence.max_tokens.or(truncation.limit);
            if let Some(folder) = self.folder.as_ref().filter(|_| sentence.lowercase) {
                let rows = arch::find(&self.config)?.plan(&self.config)?.vocabulary();
                tokenizer = Arc::new(TextEncoder::open(folder, &self.config, rows, true)?.0);
            }
            spec = Some(sentence.spec);
        }
        Ok(Source {
            plan: arch::plan(&self.config, spec)?,
            config_json: &self.config_json,
            tokenizer,
            truncation,
            weights,
        })
    }
}

impl Source<'_> {
    /// A matrix.
    pub(crate) fn tensor(&self, plan: &TensorPlan) -> Result<&Tensor, ModelError> {
        self.find(&[&plan.name], &plan.shape)
    }

    /// Weight and bias of a layer norm.
    pub(crate) fn norm(&self, plan: &NormPlan) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let values = |new: &str, old: &str| {
            // `gamma` and `beta` are the names in checkpoints that were converted from TensorFlow.
            let names = [new, old].map(|part| format!("{}.{part}", plan.name));
            let tensor = self.find(&[&names[0], &names[1]], &[plan.width])?;
            Ok::<_, ModelError>(tensor.to_f32())
        };
        Ok((values("weight", "gamma")?, values("bias", "beta")?))
    }

    /// Weight (`[outputs, inputs]`) and bias (`[outputs]`) of a linear layer.
    pub(crate) fn linear(&self, plan: &LinearPlan) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let part = |part: &str, shape: &[usize]| {
            let tensor = self.find(&[&format!("{}.{part}", plan.name)], shape)?;
            Ok::<_, ModelError>(tensor.to_f32())
        };
        let weight = part("weight", &[plan.outputs, plan.inputs])?;
        Ok((weight, part("bias", &[plan.outputs])?))
    }

    /// The tensor under the first of `names` that exists, with or without the encoder's prefix.
    fn find(&self, names: &[&str], shape: &[usize]) -> Result<&Tensor, ModelError> {
        let prefixed = names
            .iter()
            .map(|name| format!("{}{name}", self.plan.encoder.prefix));
        let names: Vec<_> = prefixed
            .chain(names.iter().map(|&name| name.to_owned()))
            .collect();
        self.weights.tensor(&names, shape)
    }
}

fn check_folder(folder: &Path) -> Result<(), ModelError> {
    let path = folder.to_owned();
    let reason = if !folder.exists() {
        return Err(ModelError::NotFound { path });
    } else if !folder.is_dir() {
        "it is not a folder".to_owned()
    } else if !folder.join(CONFIG).is_file() {
        folder_hint::explain(folder, "no config.json")
    } else {
        return Ok(());
    };
    Err(ModelError::NotAModel { path, reason })
}

#[derive(Default)]
struct Fingerprint(blake3::Hasher);

impl Fingerprint {
    /// Lengths go in before the bytes, so that no two lists of files read the same.
    fn add(&mut self, name: &str, bytes: &[u8]) {
        self.0.update(&(name.len() as u64).to_le_bytes());
        self.0.update(name.as_bytes());
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}
