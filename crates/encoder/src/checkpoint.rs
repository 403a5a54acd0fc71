//! A model as it was published: its files, and what their tensors are called.

use std::path::Path;

use shoal_kernels::{Activation, Bytes};

use crate::config::{self, Config, Family};
use crate::error::ModelError;
use crate::tokenizer::{self, TextEncoder};
use crate::weights::{self, Tensor, Weights, map, read};

/// The files of a model that lies in memory, such as one compiled into the program.
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
        fingerprint.add(config::FILE, self.config);
        fingerprint.add(tokenizer::JSON, self.tokenizer);
        fingerprint.add(weights::SINGLE, self.weights);
        fingerprint.finish()
    }
}

/// A text classifier in the layout of the Hugging Face hub, opened but not yet packed for the
/// engine.
pub struct Checkpoint {
    pub(crate) config: Config,
    pub(crate) config_json: Bytes,
    pub(crate) tokenizer: TextEncoder,
    /// Tokens that the tokenizer's settings allow.
    pub(crate) limit: Option<usize>,
    weights: Weights,
    names: Names,
}

/// How a family names its tensors. All but the classifier's stand under `prefix` in a checkpoint
/// of the classifier, and without it in some converted ones.
pub(crate) struct Names {
    prefix: &'static str,
    pub(crate) layer: &'static str,
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) expand: &'static str,
    pub(crate) contract: &'static str,
    pub(crate) output_norm: &'static str,
    pub(crate) head: &'static str,
}

impl Family {
    fn names(self) -> Names {
        match self {
            Family::DistilBert => Names {
                prefix: "distilbert.",
                layer: "transformer.layer",
                query: "attention.q_lin",
                key: "attention.k_lin",
                value: "attention.v_lin",
                output: "attention.out_lin",
                attention_norm: "sa_layer_norm",
                expand: "ffn.lin1",
                contract: "ffn.lin2",
                output_norm: "output_layer_norm",
                head: "pre_classifier",
            },
            Family::Bert => Names {
                prefix: "bert.",
                layer: "encoder.layer",
                query: "attention.self.query",
                key: "attention.self.key",
                value: "attention.self.value",
                output: "attention.output.dense",
                attention_norm: "attention.output.LayerNorm",
                expand: "intermediate.dense",
                contract: "output.dense",
                output_norm: "output.LayerNorm",
                head: "pooler.dense",
            },
        }
    }

    /// The activation between the two layers of the head: DistilBERT's pre-classifier, BERT's
    /// pooler.
    pub(crate) fn head_activation(self) -> Activation {
        match self {
            Family::DistilBert => Activation::Relu,
            Family::Bert => Activation::Tanh,
        }
    }
}

impl Checkpoint {
    /// Opens a model folder in the layout of the Hugging Face hub: `config.json`,
    /// `tokenizer.json` or `vocab.txt`, and `model.safetensors`, sharded or not. The weight files
    /// stay mapped and must not be changed in place while the checkpoint lives.
    ///
    /// # Errors
    /// See [`ModelError`]; the messages name the file and key.
    pub fn open(folder: &Path) -> Result<Checkpoint, ModelError> {
        check_folder(folder)?;
        let config = read(&folder.join(config::FILE))?;
        let (tokenizer, limit) = TextEncoder::open(folder)?;
        Checkpoint::new(&config, tokenizer, limit, Weights::open(folder)?)
    }

    /// Opens files in memory.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_files(files: ModelFiles<'_>) -> Result<Checkpoint, ModelError> {
        let tokenizer = TextEncoder::from_json(files.tokenizer)?;
        let weights = Weights::from_static(files.weights)?;
        Checkpoint::new(files.config, tokenizer, None, weights)
    }

    fn new(
        config_json: &[u8],
        tokenizer: TextEncoder,
        limit: Option<usize>,
        weights: Weights,
    ) -> Result<Checkpoint, ModelError> {
        let config = Config::parse(config_json)?;
        Ok(Checkpoint {
            names: config.family.names(),
            config,
            config_json: Bytes::copy_from(config_json),
            tokenizer,
            limit,
            weights,
        })
    }

    /// A BLAKE3 hash, in hexadecimal, of everything in `folder` that the results depend on: the
    /// names, lengths and bytes of configuration, tokenizer and weights. Reads the files once,
    /// without opening the model.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], for files that are missing or cannot be read.
    pub fn fingerprint(folder: &Path) -> Result<String, ModelError> {
        check_folder(folder)?;
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(config::FILE, &read(&folder.join(config::FILE))?);
        let json = folder.join(tokenizer::JSON);
        let names: &[&str] = if json.is_file() {
            &[tokenizer::JSON, tokenizer::SETTINGS]
        } else {
            &[tokenizer::VOCABULARY, tokenizer::SETTINGS]
        };
        for name in names {
            let path = folder.join(name);
            if path.is_file() {
                fingerprint.add(name, &read(&path)?);
            }
        }
        for (name, path) in weights::files(folder)? {
            fingerprint.add(&name, &map(&path)?);
        }
        Ok(fingerprint.finish())
    }

    /// The validated configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// A tensor of the encoder, with or without the family's prefix.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, ModelError> {
        let names = [format!("{}{name}", self.names.prefix), name.to_owned()];
        self.weights.tensor(&names, shape)
    }

    /// Weight and bias of a layer norm.
    pub(crate) fn norm(&self, name: &str) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let prefix = self.names.prefix;
        let values = |new: &str, old: &str| {
            // `gamma` and `beta` are what checkpoints converted from TensorFlow say.
            let names = [
                format!("{prefix}{name}.{new}"),
                format!("{prefix}{name}.{old}"),
                format!("{name}.{new}"),
                format!("{name}.{old}"),
            ];
            let tensor = self.weights.tensor(&names, &[self.config.hidden()])?;
            Ok::<_, ModelError>(tensor.to_f32())
        };
        Ok((values("weight", "gamma")?, values("bias", "beta")?))
    }

    /// Weight (`[outputs, inputs]`) and bias (`[outputs]`) of a linear layer.
    pub(crate) fn linear(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), ModelError> {
        let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.tensor(&format!("{name}.bias"), &[outputs])?;
        Ok((weight.to_f32(), bias.to_f32()))
    }
}

fn check_folder(folder: &Path) -> Result<(), ModelError> {
    let not_a_model = |reason: &str| ModelError::NotAModel {
        path: folder.to_owned(),
        reason: reason.to_owned(),
    };
    if !folder.exists() {
        return Err(ModelError::NotFound {
            path: folder.to_owned(),
        });
    }
    if !folder.is_dir() {
        return Err(not_a_model("it is not a folder"));
    }
    if !folder.join(config::FILE).is_file() {
        return Err(not_a_model("it has no config.json"));
    }
    Ok(())
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
