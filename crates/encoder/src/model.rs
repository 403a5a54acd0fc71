//! A model that is ready to run: its plan, tokenizer and packed weights, immutable and shared by all
//! workers.

use std::path::Path;

use serde_json::Value;
use shoal_kernels::{Isa, Precision};

use crate::arch;
use crate::checkpoint::Checkpoint;
use crate::classifier::Classifier;
use crate::embedding::EmbeddingSpec;
use crate::error::ModelError;
use crate::files::CONFIG;
use crate::layout::{Description, PACKING, section};
use crate::network::Network;
use crate::pack::Packed;
use crate::packed::Container;
use crate::plan::{ModelPlan, Output};
use crate::purpose::Purpose;
use crate::tokenizer::{Side, TextEncoder, Tokens};

/// An encoder with the head for one [`Purpose`], ready to run. Share it between workers by
/// [`Arc`](std::sync::Arc); each worker has its own [`Session`](crate::Session).
pub struct Model {
    pub(crate) isa: Isa,
    pub(crate) precision: Precision,
    pub(crate) plan: ModelPlan,
    pub(crate) network: Network,
    tokenizer: TextEncoder,
    fingerprint: String,
    max_tokens: usize,
    truncation_side: Side,
    packed_bytes: u64,
}

impl Model {
    /// Opens a model to run in `f32` on this CPU's best instruction set: a folder in the layout
    /// of the Hugging Face hub, see [`Checkpoint::open`], for its
    /// [default purpose](Checkpoint::default_purpose), or a packed file, see [`Model::open_packed`].
    ///
    /// # Errors
    /// See [`ModelError`]; the messages name the file and key.
    pub fn open(path: &Path) -> Result<Model, ModelError> {
        if path.is_file() {
            return Model::open_packed(path, &Isa::available());
        }
        let checkpoint = Checkpoint::open(path)?;
        let fingerprint = Checkpoint::fingerprint(path)?;
        let purpose = checkpoint.default_purpose();
        Model::pack(
            &checkpoint,
            fingerprint,
            purpose,
            Precision::F32,
            Isa::best(),
        )
    }

    /// Packs a checkpoint in memory and opens the result.
    ///
    /// # Errors
    /// As [`Packed::new`].
    pub fn pack(
        checkpoint: &Checkpoint,
        fingerprint: String,
        purpose: Purpose,
        precision: Precision,
        isa: Isa,
    ) -> Result<Model, ModelError> {
        let targets = [isa.target()];
        let packed = Packed::new(checkpoint, fingerprint, purpose, precision, &targets)?;
        Model::read(&packed.into_container("the packed model")?, &[isa])
    }

    /// Maps the packed model at `path`, to run on the first of `isas` that it was packed for. The
    /// file must not be changed in place while the model lives.
    ///
    /// # Errors
    /// As [`Container::open`] and [`Model::read`].
    pub fn open_packed(path: &Path, isas: &[Isa]) -> Result<Model, ModelError> {
        Model::read(&Container::open(path)?, isas)
    }

    /// Reads a packed model without copying its weights, to run on the first of `isas` that it was
    /// packed for.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it was packed for none of `isas`, or with another version of the
    /// packing; [`ModelError::Malformed`] for sections that are missing or have the wrong length.
    pub fn read(container: &Container, isas: &[Isa]) -> Result<Model, ModelError> {
        let description: Description = container.model()?;
        let path = container.path();
        if description.packing != PACKING {
            return Err(ModelError::unsupported(format!(
                "{} was packed with version {} of the packing, and this shoal reads version {PACKING}; \
                 pack it again",
                path.display(),
                description.packing
            )));
        }
        let packed_for = |isa: &&Isa| description.isas.iter().any(|name| name == isa.name());
        let Some(&isa) = isas.iter().find(packed_for) else {
            let wanted: Vec<_> = isas.iter().map(|isa| isa.name()).collect();
            return Err(ModelError::unsupported(format!(
                "{} was packed for {}, and not for {}; pack it again for {}",
                path.display(),
                description.isas.join(", "),
                wanted.join(" or "),
                wanted.first().unwrap_or(&"portable"),
            )));
        };
        let precision = description.precision;
        let config: Value = serde_json::from_slice(&container.section(section::CONFIG)?)
            .map_err(|error| ModelError::corrupt(CONFIG, error.to_string()))?;
        let plan = arch::plan(&config, description.embedding)?;
        if let Output::Embedding(spec) = &plan.head.output {
            spec.check(plan.hidden())
                .map_err(|reason| container.malformed(format!("its embedding: {reason}")))?;
        }
        let network = Network::read(container, isa, precision, &plan, description.words)?;
        let tokenizer = container.section(section::TOKENIZER)?;
        let tokenizer = match description.tokenizer {
            Some(settings) => TextEncoder::packed(settings, tokenizer)?,
            None => TextEncoder::from_json(&tokenizer, description.split_special_tokens)?,
        };
        tokenizer.check(plan.vocabulary())?;
        let limit = description.truncation.limit.unwrap_or(usize::MAX);
        let max_tokens = plan.max_positions().min(limit);
        if max_tokens < tokenizer.special_tokens() {
            return Err(ModelError::unsupported(format!(
                "its limit of {max_tokens} tokens has no room for the {} special tokens",
                tokenizer.special_tokens()
            )));
        }
        Ok(Model {
            isa,
            precision,
            plan,
            network,
            tokenizer,
            fingerprint: description.fingerprint,
            max_tokens,
            truncation_side: description.truncation.side,
            packed_bytes: container.file_bytes(),
        })
    }

    /// What the model computes, with its sizes.
    pub fn plan(&self) -> &ModelPlan {
        &self.plan
    }

    /// What the model was packed for.
    pub fn purpose(&self) -> Purpose {
        self.plan.purpose()
    }

    /// Values of one record's output: the labels of a classifier, the dimensions of an embedding.
    pub fn output_width(&self) -> usize {
        self.plan.output_width()
    }

    /// Labels and objective, for [`Purpose::Classify`].
    pub fn classifier(&self) -> Option<&Classifier> {
        match &self.plan.head.output {
            Output::Logits(classifier) => Some(classifier),
            Output::Embedding(_) => None,
        }
    }

    /// Pooling, modules and prompts, for [`Purpose::Embed`].
    pub fn embedding(&self) -> Option<&EmbeddingSpec> {
        match &self.plan.head.output {
            Output::Logits(_) => None,
            Output::Embedding(spec) => Some(spec),
        }
    }

    /// Tokens that the model can read at once, special tokens included: its position limit, or
    /// what `tokenizer_config.json` says if that is less. For [`Purpose::Embed`],
    /// `max_seq_length` in `sentence_bert_config.json` takes the place of the latter.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
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

    /// Length in bytes of the packed model that this one was read from.
    pub fn packed_bytes(&self) -> u64 {
        self.packed_bytes
    }

    /// Tokenizes `text` into at most `max_tokens` ids, special tokens included, and at most
    /// [`Model::max_tokens`]; the end, or the beginning if `truncation_side` is `left`, is cut off as Hugging Face's
    /// `tokenizers` does. The length and padding in the tokenizer's file are ignored. An empty text gives the special
    /// tokens alone.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if `max_tokens` has no room for the special tokens.
    pub fn encode(&self, text: &str, max_tokens: usize) -> Result<Tokens, ModelError> {
        let frame = self.tokenizer.special_tokens();
        if max_tokens < frame {
            return Err(ModelError::unsupported(format!(
                "a limit of {max_tokens} tokens has no room for its {frame} special tokens"
            )));
        }
        let max_tokens = max_tokens.min(self.max_tokens);
        self.tokenizer
            .encode(text, max_tokens, self.truncation_side)
    }

    /// As [`Model::encode`], for `prompt` followed by `text`. If the model's pooling excludes prompts,
    /// [`Tokens::prompt`] is what `base/modules/transformer.py` of sentence-transformers counts: the
    /// tokens of the prompt alone, without the special token at its end. An empty prompt has none.
    ///
    /// # Errors
    /// As [`Model::encode`].
    pub fn encode_with_prompt(
        &self,
        prompt: &str,
        text: &str,
        max_tokens: usize,
    ) -> Result<Tokens, ModelError> {
        if prompt.is_empty() {
            return self.encode(text, max_tokens);
        }
        let mut tokens = self.encode(&[prompt, text].concat(), max_tokens)?;
        if self.embedding().is_some_and(|spec| !spec.include_prompt) {
            let prompt = self.encode(prompt, max_tokens)?.ids.len();
            tokens.prompt = prompt - usize::from(self.tokenizer.ends_with_special_token());
        }
        Ok(tokens)
    }
}
