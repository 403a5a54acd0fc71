//! A model that is ready to run: its configuration, tokenizer and packed weights, immutable and
//! shared by all workers.

use std::path::Path;

use shoal_kernels::{Isa, LayerNorm, Linear, PackedWeights, Pod, Precision, View};

use crate::checkpoint::{Checkpoint, ModelFiles};
use crate::config::Config;
use crate::embedding::{Elements, Table};
use crate::error::ModelError;
use crate::head::Objective;
use crate::pack::{Description, PACKING, Packed, linear_section, section};
use crate::packed::Container;
use crate::tokenizer::{TextEncoder, Tokens};

/// A text classifier, ready to run. Share it between workers by [`Arc`](std::sync::Arc); each
/// worker has its own [`Session`](crate::Session).
pub struct Model {
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    pub(crate) config: Config,
    pub(crate) embeddings: Embeddings,
    /// All layers but the last.
    pub(crate) layers: Vec<Layer>,
    pub(crate) last: LastLayer,
    pub(crate) head: Head,
    tokenizer: TextEncoder,
    fingerprint: String,
    max_tokens: usize,
    packed_bytes: u64,
}

pub(crate) struct Embeddings {
    /// `[vocabulary, hidden]`
    pub(crate) words: Table,
    /// `[positions, hidden]`, with the vector of token type 0 added where the family has one.
    pub(crate) positions: View<f32>,
    pub(crate) norm: LayerNorm,
}

/// A layer that every token goes through.
pub(crate) struct Layer {
    /// `[3 · hidden, hidden]`: queries, keys, values.
    pub(crate) query_key_value: Linear,
    pub(crate) rest: Rest,
}

/// The last layer, of which the head reads the first token only.
///
/// With one query `q` a head, its score against a token's state `x` is `q · (K x + b)`, which but
/// for a constant that the softmax takes away is `(Kᵀ q) · x`; and the mean of the values is
/// `V · mean(x) + b`. So neither keys nor values of the other tokens are ever computed: the states
/// themselves are attended to.
pub(crate) struct LastLayer {
    pub(crate) query: Linear,
    /// For each head, from its query back to the states: `[hidden, dim]`, the transpose of its keys'
    /// weights.
    pub(crate) keys: Vec<Linear>,
    /// For each head, `[dim, hidden]`.
    pub(crate) values: Vec<Linear>,
    pub(crate) rest: Rest,
}

/// What follows the attention.
pub(crate) struct Rest {
    pub(crate) output: Linear,
    pub(crate) attention_norm: LayerNorm,
    pub(crate) expand: Linear,
    pub(crate) contract: Linear,
    pub(crate) output_norm: LayerNorm,
}

pub(crate) struct Head {
    /// DistilBERT's pre-classifier or BERT's pooler.
    pub(crate) dense: Linear,
    pub(crate) classifier: Linear,
}

impl Model {
    /// Opens a model to run in `f32` on this CPU's best instruction set: a folder in the layout
    /// of the Hugging Face hub, see [`Checkpoint::open`], or a packed file, see
    /// [`Model::open_packed`].
    ///
    /// # Errors
    /// See [`ModelError`]; the messages name the file and key.
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        if path.is_file() {
            return Model::open_packed(path, &Isa::available());
        }
        let checkpoint = Checkpoint::open(path)?;
        let fingerprint = Checkpoint::fingerprint(path)?;
        Model::pack(&checkpoint, fingerprint, Precision::F32, Isa::best())
    }

    /// Builds a model from files in memory, to run in `f32` on this CPU's best instruction set.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn from_files(files: ModelFiles<'_>) -> Result<Model, ModelError> {
        let checkpoint = Checkpoint::from_files(files)?;
        Model::pack(
            &checkpoint,
            files.fingerprint(),
            Precision::F32,
            Isa::best(),
        )
    }

    /// Packs a checkpoint in memory and opens what came of it.
    ///
    /// # Errors
    /// As [`Packed::new`].
    pub fn pack(
        checkpoint: &Checkpoint,
        fingerprint: String,
        precision: Precision,
        isa: Isa,
    ) -> Result<Model, ModelError> {
        Packed::new(checkpoint, fingerprint, precision, &[isa.target()])?.into_model(isa)
    }

    /// Maps the packed model at `path`, to run on the first of `isas` that it was packed for. The
    /// file must not be changed in place while the model lives.
    ///
    /// # Errors
    /// As [`Container::open`] and [`Model::read`].
    pub fn open_packed(path: &Path, isas: &[Isa]) -> Result<Model, ModelError> {
        Model::read(&Container::open(path)?, isas)
    }

    /// Reads a packed model where it lies, to run on the first of `isas` that it was packed for.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it was packed for none of `isas`, or by another version of the
    /// packing; [`ModelError::Malformed`] for sections that are missing or of the wrong length.
    pub fn read(container: &Container, isas: &[Isa]) -> Result<Model, ModelError> {
        let description: Description = container.model()?;
        if description.packing != PACKING {
            return Err(ModelError::unsupported(format!(
                "{} was packed in the way {}, and this shoal reads the way {PACKING}; pack it again",
                container.path().display(),
                description.packing
            )));
        }
        let packed_for = |isa: &&Isa| description.isas.iter().any(|name| name == isa.name());
        let Some(&isa) = isas.iter().find(packed_for) else {
            let wanted: Vec<_> = isas.iter().map(|isa| isa.name()).collect();
            return Err(ModelError::unsupported(format!(
                "{} was packed for {}, and not for {}; pack it again with --isa {}",
                container.path().display(),
                description.isas.join(", "),
                wanted.join(" or "),
                wanted.first().unwrap_or(&"portable"),
            )));
        };
        let precision = Precision::from(description.precision);
        let reader = Reader {
            container,
            isa,
            precision,
            config: Config::parse(&container.section(section::CONFIG)?)?,
        };
        let tokenizer = if container.has(section::WORD_PIECES) {
            TextEncoder::from_packed(container.section(section::WORD_PIECES)?)?
        } else {
            TextEncoder::from_json(&container.section(section::TOKENIZER)?)?
        };
        let limit = description.limit.unwrap_or(usize::MAX);
        let max_tokens = reader.config.positions.min(limit);
        if max_tokens < tokenizer.frame() {
            return Err(ModelError::unsupported(format!(
                "its limit of {max_tokens} tokens has no room for the {} special tokens",
                tokenizer.frame()
            )));
        }
        let layers = reader.config.layers;
        Ok(Model {
            isa,
            precision,
            embeddings: reader.embeddings(description.words)?,
            layers: (0..layers - 1)
                .map(|index| reader.layer(index))
                .collect::<Result<_, _>>()?,
            last: reader.last_layer(layers - 1)?,
            head: reader.head()?,
            tokenizer,
            config: reader.config,
            fingerprint: description.fingerprint,
            max_tokens,
            packed_bytes: container.file_bytes(),
        })
    }

    /// Length in bytes of the packed model that this one was read from.
    pub fn packed_bytes(&self) -> u64 {
        self.packed_bytes
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

    /// How the products of the linear layers are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The instruction set that the model runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The fingerprint of the checkpoint that the model was packed from; see
    /// [`Checkpoint::fingerprint`].
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
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
}

/// Takes the parts of a model out of a container, and checks their lengths.
struct Reader<'a> {
    container: &'a Container,
    isa: Isa,
    precision: Precision,
    config: Config,
}

impl Reader<'_> {
    fn view<T: Pod>(&self, name: &str, len: usize) -> Result<View<T>, ModelError> {
        let view = self.container.view::<T>(name)?;
        if view.len() == len {
            return Ok(view);
        }
        Err(self.malformed(format!(
            "the section {name:?} has {} elements instead of {len}",
            view.len()
        )))
    }

    fn malformed(&self, reason: String) -> ModelError {
        ModelError::Malformed {
            path: self.container.path().to_owned(),
            reason: format!("{reason}; pack it again"),
        }
    }

    fn embeddings(&self, elements: Elements) -> Result<Embeddings, ModelError> {
        let (hidden, rows) = (self.config.hidden(), self.config.vocabulary);
        let (name, len) = (section::WORDS, rows * hidden);
        let words = match elements {
            Elements::F32 => Table::F32(self.view(name, len)?),
            Elements::F16 => Table::F16(self.view(name, len)?),
            Elements::Bf16 => Table::Bf16(self.view(name, len)?),
            Elements::Int8 => Table::Int8 {
                units: self.view(name, len)?,
                scales: self.view(section::WORD_SCALES, rows)?,
            },
        };
        Ok(Embeddings {
            words,
            positions: self.view(section::POSITIONS, self.config.positions * hidden)?,
            norm: self.norm(section::EMBEDDING_NORM)?,
        })
    }

    fn norm(&self, name: &str) -> Result<LayerNorm, ModelError> {
        let values = |part: &str| self.view(&format!("{name}.{part}"), self.config.hidden());
        let (weight, bias) = (values("weight")?, values("bias")?);
        Ok(LayerNorm::new(weight, bias, self.config.layer_norm_eps))
    }

    fn linear(
        &self,
        name: &str,
        precision: Precision,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, ModelError> {
        let section = |part| linear_section(self.isa.target(), precision, name, part);
        let weights = match precision {
            Precision::F32 => PackedWeights::F32 {
                panels: self.container.view(&section("panels"))?,
            },
            Precision::Int8 => PackedWeights::Int8 {
                panels: self.container.view(&section("panels"))?,
                scales: self.container.view(&section("scales"))?,
                sums: self.container.view(&section("sums"))?,
            },
        };
        let bias = self.container.view(&section("bias"))?;
        Linear::new(self.isa, outputs, inputs, weights, bias)
            .map_err(|error| self.malformed(format!("the layer {name:?}: {error}")))
    }

    fn layer(&self, index: usize) -> Result<Layer, ModelError> {
        let hidden = self.config.hidden();
        let name = section::layer(index, "query_key_value");
        Ok(Layer {
            query_key_value: self.linear(&name, self.precision, 3 * hidden, hidden)?,
            rest: self.rest(index)?,
        })
    }

    fn last_layer(&self, index: usize) -> Result<LastLayer, ModelError> {
        let (hidden, heads) = (self.config.hidden(), self.config.heads);
        let of_heads = |part, outputs, inputs| {
            (0..heads.count)
                .map(|head| {
                    let name = section::head(index, part, head);
                    self.linear(&name, self.precision, outputs, inputs)
                })
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(LastLayer {
            query: self.linear(
                &section::layer(index, "query"),
                self.precision,
                hidden,
                hidden,
            )?,
            keys: of_heads("key", hidden, heads.dim)?,
            values: of_heads("value", heads.dim, hidden)?,
            rest: self.rest(index)?,
        })
    }

    fn rest(&self, index: usize) -> Result<Rest, ModelError> {
        let (hidden, intermediate) = (self.config.hidden(), self.config.intermediate);
        let linear = |part, outputs, inputs| {
            self.linear(
                &section::layer(index, part),
                self.precision,
                outputs,
                inputs,
            )
        };
        Ok(Rest {
            output: linear("output", hidden, hidden)?,
            attention_norm: self.norm(&section::layer(index, "attention_norm"))?,
            expand: linear("expand", intermediate, hidden)?,
            contract: linear("contract", hidden, intermediate)?,
            output_norm: self.norm(&section::layer(index, "output_norm"))?,
        })
    }

    fn head(&self) -> Result<Head, ModelError> {
        let hidden = self.config.hidden();
        let labels = self.config.labels.len();
        Ok(Head {
            dense: self.linear(section::DENSE, Precision::F32, hidden, hidden)?,
            classifier: self.linear(section::CLASSIFIER, Precision::F32, labels, hidden)?,
        })
    }
}
