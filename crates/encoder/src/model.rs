//! A model: its configuration, tokenizer and packed weights, immutable and shared by all workers.

use std::path::Path;

use shoal_kernels::{Activation, Isa, LayerNorm, PackedLinear};

use crate::config::{self, Config, Family};
use crate::error::ModelError;
use crate::head::Objective;
use crate::tokenizer::{self, TextEncoder, Tokens};
use crate::weights::{self, Tensor, Weights, map, read};

/// The files of a model that lies in memory, such as one compiled into the program.
#[derive(Clone, Copy)]
pub struct ModelFiles<'a> {
    /// The bytes of `config.json`.
    pub config: &'a [u8],
    /// The bytes of `tokenizer.json`.
    pub tokenizer: &'a [u8],
    /// The bytes of one `model.safetensors`, at any alignment. The word embeddings are read from
    /// here for as long as the model lives.
    pub weights: &'static [u8],
}

impl ModelFiles<'_> {
    /// The fingerprint that [`Model::fingerprint`] gives for a folder of exactly these files.
    pub fn fingerprint(&self) -> String {
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(config::FILE, self.config);
        fingerprint.add(tokenizer::JSON, self.tokenizer);
        fingerprint.add(weights::SINGLE, self.weights);
        fingerprint.finish()
    }
}

/// A text classifier, ready to run. Share it between workers by [`Arc`](std::sync::Arc); each
/// worker has its own [`Session`](crate::Session).
pub struct Model {
    pub(crate) isa: Isa,
    pub(crate) config: Config,
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    pub(crate) head: Head,
    tokenizer: TextEncoder,
    max_tokens: usize,
}

pub(crate) struct Embeddings {
    /// `[vocabulary, hidden]`, left in its file: a text touches few of its rows.
    pub(crate) words: Tensor,
    /// `[positions, hidden]`, with the vector of token type 0 added where the family has one.
    pub(crate) positions: Vec<f32>,
    pub(crate) norm: LayerNorm,
}

pub(crate) struct Layer {
    /// Apart from keys and values, because the last layer asks for few queries.
    pub(crate) query: PackedLinear,
    /// `[2 · hidden, hidden]`: keys, then values.
    pub(crate) key_value: PackedLinear,
    pub(crate) output: PackedLinear,
    pub(crate) attention_norm: LayerNorm,
    pub(crate) expand: PackedLinear,
    pub(crate) contract: PackedLinear,
    pub(crate) output_norm: LayerNorm,
}

pub(crate) struct Head {
    /// DistilBERT's pre-classifier or BERT's pooler, with its activation.
    pub(crate) dense: PackedLinear,
    pub(crate) classifier: PackedLinear,
}

/// How a family names its tensors. All but the classifier's stand under `prefix` in a checkpoint
/// of the classifier, and without it in some converted ones.
struct Names {
    prefix: &'static str,
    layer: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    attention_norm: &'static str,
    expand: &'static str,
    contract: &'static str,
    output_norm: &'static str,
    head: &'static str,
    head_activation: Activation,
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
                head_activation: Activation::Relu,
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
                head_activation: Activation::Tanh,
            },
        }
    }
}

impl Model {
    /// Opens a model folder in the layout of the Hugging Face hub: `config.json`,
    /// `tokenizer.json` or `vocab.txt`, and `model.safetensors`, sharded or not. The weight files
    /// stay mapped and must not be changed in place while the model lives.
    ///
    /// # Errors
    /// See [`ModelError`]; the messages name the file and key.
    pub fn open(folder: &Path) -> Result<Model, ModelError> {
        check_folder(folder)?;
        let config = Config::parse(&read(&folder.join(config::FILE))?)?;
        let (tokenizer, limit) = TextEncoder::open(folder)?;
        let weights = Weights::open(folder)?;
        Model::build(config, tokenizer, limit, &weights)
    }

    /// Builds a model from files in memory.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_files(files: ModelFiles<'_>) -> Result<Model, ModelError> {
        let config = Config::parse(files.config)?;
        let tokenizer = TextEncoder::from_json(files.tokenizer)?;
        let weights = Weights::from_static(files.weights)?;
        Model::build(config, tokenizer, None, &weights)
    }

    /// A BLAKE3 hash, in hexadecimal, of everything in `folder` that the results depend on: the
    /// names, lengths and bytes of configuration, tokenizer and weights. Reads the files once,
    /// without building the model.
    ///
    /// # Errors
    /// As [`Model::open`], for files that are missing or cannot be read.
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

    /// Names of the labels, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        &self.config.labels
    }

    /// What the logits mean.
    pub fn objective(&self) -> Objective {
        self.config.objective
    }

    /// Tokens that the model can read at once, special tokens included: its position limit, or
    /// what `tokenizer_config.json` says where that is less.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The validated configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Tokenizes `text` into at most `max_tokens` ids, special tokens included, and at most
    /// [`Model::max_tokens`]; the end is cut off as Hugging Face's `tokenizers` does. Whatever
    /// truncation or padding the tokenizer's file carries is ignored. An empty text gives the
    /// special tokens alone.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if `max_tokens` has no room for the special tokens;
    /// [`ModelError::Corrupt`] if the tokenizer gives an id that the model has no embedding for.
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<Tokens, ModelError> {
        let frame = self.tokenizer.frame();
        if max_tokens < frame {
            return Err(ModelError::unsupported(format!(
                "a limit of {max_tokens} tokens has no room for its {frame} special tokens"
            )));
        }
        let tokens = self
            .tokenizer
            .encode(text, max_tokens.min(self.max_tokens))?;
        match tokens
            .ids
            .iter()
            .find(|&&id| id as usize >= self.config.vocabulary)
        {
            None => Ok(tokens),
            Some(id) => Err(ModelError::corrupt(
                "the tokenizer",
                format!(
                    "it gives the id {id}, but the model has embeddings for {} ids only",
                    self.config.vocabulary
                ),
            )),
        }
    }

    fn build(
        config: Config,
        tokenizer: TextEncoder,
        limit: Option<usize>,
        weights: &Weights,
    ) -> Result<Model, ModelError> {
        let max_tokens = config.positions.min(limit.unwrap_or(usize::MAX));
        if max_tokens < tokenizer.frame() {
            return Err(ModelError::unsupported(format!(
                "its limit of {max_tokens} tokens has no room for the {} special tokens",
                tokenizer.frame()
            )));
        }
        let builder = Builder {
            isa: Isa::best(),
            names: config.family.names(),
            config: &config,
            weights,
        };
        let embeddings = builder.embeddings()?;
        let layers = (0..config.layers)
            .map(|index| builder.layer(index))
            .collect::<Result<_, _>>()?;
        let head = builder.head()?;
        Ok(Model {
            isa: builder.isa,
            embeddings,
            layers,
            head,
            config,
            tokenizer,
            max_tokens,
        })
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

/// Reads, checks and packs the tensors.
struct Builder<'a> {
    isa: Isa,
    names: Names,
    config: &'a Config,
    weights: &'a Weights,
}

impl Builder<'_> {
    /// A tensor of the encoder, with or without the family's prefix.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, ModelError> {
        let names = [format!("{}{name}", self.names.prefix), name.to_owned()];
        self.weights.tensor(&names, shape)
    }

    fn norm(&self, name: &str) -> Result<LayerNorm, ModelError> {
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
        let (weight, bias) = (values("weight", "gamma")?, values("bias", "beta")?);
        Ok(LayerNorm::new(weight, bias, self.config.layer_norm_eps))
    }

    /// One layer from the rows of several, all of the same shape.
    fn linear(
        &self,
        names: &[String],
        outputs: usize,
        inputs: usize,
        activation: Activation,
    ) -> Result<PackedLinear, ModelError> {
        let mut weight = Vec::new();
        let mut bias = Vec::new();
        for name in names {
            let rows = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            if names.len() == 1 {
                weight = rows.to_f32();
            } else {
                weight.extend(rows.to_f32());
            }
            bias.extend(self.tensor(&format!("{name}.bias"), &[outputs])?.to_f32());
        }
        Ok(PackedLinear::new(
            self.isa, &weight, &bias, inputs, activation,
        ))
    }

    fn embeddings(&self) -> Result<Embeddings, ModelError> {
        let config = self.config;
        let hidden = config.hidden();
        let words = self.tensor(
            "embeddings.word_embeddings.weight",
            &[config.vocabulary, hidden],
        )?;
        let mut positions = self
            .tensor(
                "embeddings.position_embeddings.weight",
                &[config.positions, hidden],
            )?
            .to_f32();
        if config.token_types > 0 {
            let mut first = vec![0.0; hidden];
            self.tensor(
                "embeddings.token_type_embeddings.weight",
                &[config.token_types, hidden],
            )?
            .row(0, &mut first);
            for row in positions.chunks_exact_mut(hidden) {
                for (value, first) in row.iter_mut().zip(&first) {
                    *value += first;
                }
            }
        }
        Ok(Embeddings {
            words: words.clone(),
            positions,
            norm: self.norm("embeddings.LayerNorm")?,
        })
    }

    fn layer(&self, index: usize) -> Result<Layer, ModelError> {
        let names = &self.names;
        let name = |part: &str| format!("{}.{index}.{part}", names.layer);
        let (hidden, intermediate) = (self.config.hidden(), self.config.intermediate);
        let plain = Activation::Identity;
        Ok(Layer {
            query: self.linear(&[name(names.query)], hidden, hidden, plain)?,
            key_value: self.linear(&[name(names.key), name(names.value)], hidden, hidden, plain)?,
            output: self.linear(&[name(names.output)], hidden, hidden, plain)?,
            attention_norm: self.norm(&name(names.attention_norm))?,
            expand: self.linear(
                &[name(names.expand)],
                intermediate,
                hidden,
                self.config.activation,
            )?,
            contract: self.linear(&[name(names.contract)], hidden, intermediate, plain)?,
            output_norm: self.norm(&name(names.output_norm))?,
        })
    }

    fn head(&self) -> Result<Head, ModelError> {
        let hidden = self.config.hidden();
        Ok(Head {
            dense: self.linear(
                &[self.names.head.to_owned()],
                hidden,
                hidden,
                self.names.head_activation,
            )?,
            classifier: self.linear(
                &["classifier".to_owned()],
                self.config.labels.len(),
                hidden,
                Activation::Identity,
            )?,
        })
    }
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
