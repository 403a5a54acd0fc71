//! The files that sentence-transformers adds to a model folder: which modules follow the encoder,
//! their settings and weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shoal_kernels::Activation;

use crate::embedding::{EmbeddingSpec, MAX_WIDTH, Module, Pooling};
use crate::error::ModelError;
use crate::files::{CONFIG, is_within, map, read_at_most};
use crate::plan::dense_module;
use crate::weights::{self, Weights};

const MODULES: &str = "modules.json";
/// Prompts and other settings of the whole model.
const SETTINGS: &str = "config_sentence_transformers.json";
/// Settings of the encoder: the first of these that is there (`base/modules/transformer.py`).
const TRANSFORMER: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Most bytes of each of these files.
const MAX_BYTES: u64 = 1 << 20;
const MAX_MODULES: usize = 32;
/// The value that modules after pooling read and write.
const EMBEDDING: &str = "sentence_embedding";

/// What the files of a folder say about its embeddings.
pub(crate) struct Sentence {
    pub(crate) spec: EmbeddingSpec,
    /// The weights of the `Dense` modules in `spec`, by the names of [`dense_module`].
    pub(crate) weights: Weights,
    /// Most tokens of a text. Takes the place of the tokenizer's own limit.
    pub(crate) max_tokens: Option<usize>,
    /// Whether texts are turned into lower case before they are tokenized.
    pub(crate) lowercase: bool,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    path: String,
    r#type: String,
}

#[derive(Default, Deserialize)]
struct Settings {
    model_type: Option<String>,
    prompts: Option<BTreeMap<String, Option<String>>>,
    default_prompt_name: Option<String>,
    truncate_dim: Option<usize>,
}

#[derive(Default, Deserialize)]
struct Transformer {
    max_seq_length: Option<usize>,
    do_lower_case: Option<bool>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Arguments of the tokenizer, in new and old files.
const TOKENIZER_ARGUMENTS: [&str; 2] = ["processor_kwargs", "tokenizer_args"];
/// Arguments of the encoder and its configuration.
const OTHER_ARGUMENTS: [&str; 4] = ["model_kwargs", "model_args", "config_kwargs", "config_args"];
/// The argument of the tokenizer that has precedence over `max_seq_length`.
const LIMIT: &str = "model_max_length";
/// Arguments of all of these that have no effect on embeddings, or only on their precision.
const WITHOUT_EFFECT: [&str; 15] = [
    "add_pooling_layer",
    "attn_implementation",
    "cache_dir",
    "clean_up_tokenization_spaces",
    "device_map",
    "dtype",
    "local_files_only",
    "low_cpu_mem_usage",
    "revision",
    "token",
    "torch_dtype",
    "trust_remote_code",
    "use_cache",
    "use_fast",
    "use_safetensors",
];

impl Transformer {
    /// Reads the settings in the file `name`.
    ///
    /// # Errors
    /// A setting that may change token ids or embeddings has another value than the supported one.
    fn read(folder: &Path, name: &str) -> Result<Self, ModelError> {
        let mut settings: Transformer = json(folder, name)?;
        let refused = |key: &str, value: &Value| {
            Err(ModelError::unsupported(format!(
                "{name} sets {key} to {value}, which may change token ids or embeddings; supported are {LIMIT}, \
                 max_seq_length and do_lower_case, and the settings of the tokenizer in tokenizer_config.json"
            )))
        };
        for (key, value) in settings.others.iter().filter(|(_, value)| !value.is_null()) {
            let key = key.as_str();
            let is_of_tokenizer = TOKENIZER_ARGUMENTS.contains(&key);
            if is_of_tokenizer || OTHER_ARGUMENTS.contains(&key) {
                let Some(arguments) = value.as_object() else {
                    return Err(ModelError::corrupt(name, format!("{key} is not an object")));
                };
                for (argument, value) in arguments.iter().filter(|(_, value)| !value.is_null()) {
                    if is_of_tokenizer && argument == LIMIT {
                        settings.max_seq_length = value.as_u64().map(|limit| limit as usize);
                    } else if !WITHOUT_EFFECT.contains(&argument.as_str()) {
                        return refused(&format!("{key}.{argument}"), value);
                    }
                }
                continue;
            }
            let text = &value["text"];
            let is_default = match key {
                "transformer_task" => value == "feature-extraction",
                "module_output_name" => value == "token_embeddings",
                "modality_config" => {
                    text["method"] == "forward" && text["method_output_name"] == "last_hidden_state"
                }
                // The other kinds of input are no text.
                "processing_kwargs" => [text, &value["common"]]
                    .into_iter()
                    .all(|value| value.as_object().is_none_or(serde_json::Map::is_empty)),
                // Whether texts are padded.
                "unpad_inputs" => true,
                _ => false,
            };
            if !is_default {
                return refused(key, value);
            }
        }
        Ok(settings)
    }
}

#[derive(Default, Deserialize)]
struct PoolingConfig {
    #[serde(alias = "word_embedding_dimension")]
    embedding_dimension: Option<usize>,
    pooling_mode: Option<Value>,
    include_prompt: Option<bool>,
    /// Older folders have a boolean for each mode.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// The booleans, in the order of [`Pooling::ALL`].
const FLAGS: [&str; 6] = [
    "pooling_mode_cls_token",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
];

/// The configuration of a module after pooling.
#[derive(Default, Deserialize)]
struct ModuleConfig {
    module_input_name: Option<String>,
    module_output_name: Option<String>,
    // Of `Dense`.
    in_features: Option<usize>,
    out_features: Option<usize>,
    bias: Option<bool>,
    activation_function: Option<String>,
    use_residual: Option<bool>,
}

/// Whether sentence-transformers takes `folder` for a model of embeddings.
pub(crate) fn is_sentence_transformer(folder: &Path) -> bool {
    // A cross-encoder is saved with the same files. A file that cannot be read gives an error later.
    folder.join(MODULES).is_file()
        && json::<Settings>(folder, SETTINGS).map_or(true, |settings| {
            settings.model_type.as_deref() != Some("CrossEncoder")
        })
}

/// The files that are there, as (name, path) in a fixed order: everything that [`Sentence::open`]
/// reads.
pub(crate) fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
    let entries = entries(folder)?;
    let modules = entries.iter().filter(|entry| !entry.path.is_empty());
    let of_module =
        |entry: &Entry| [CONFIG, weights::SINGLE].map(|file| format!("{}/{file}", entry.path));
    let names = [MODULES, SETTINGS].into_iter().chain(TRANSFORMER);
    let names = names.map(str::to_owned).chain(modules.flat_map(of_module));
    let files = names.map(|name| (folder.join(&name), name));
    let found = files.filter(|(path, _)| path.is_file());
    Ok(found.map(|(path, name)| (name, path)).collect())
}

impl Sentence {
    /// Reads the files of `folder`, whose encoder has states of width `hidden`. Without a folder or `modules.json`,
    /// the embedding is the mean of all tokens, and sentence-transformers reads none of its other files.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for modules and settings that are not implemented,
    /// [`ModelError::Corrupt`] for files that contradict themselves or each other.
    pub(crate) fn open(folder: Option<&Path>, hidden: usize) -> Result<Sentence, ModelError> {
        let mut spec = EmbeddingSpec::mean(hidden);
        let mut weights = Weights::default();
        let entries = folder.map_or(Ok(Vec::new()), entries)?;
        let Some(folder) = folder.filter(|_| !entries.is_empty()) else {
            return Ok(Sentence {
                spec,
                weights,
                max_tokens: None,
                lowercase: false,
            });
        };
        let kinds = kinds(&entries)?;
        let ["Transformer", "Pooling", rest @ ..] = &kinds[..] else {
            return Err(unsupported_modules(&kinds));
        };
        if !entries[0].path.is_empty() {
            return Err(ModelError::unsupported(format!(
                "its Transformer module is in {:?}; supported is one in the model folder itself",
                entries[0].path
            )));
        }
        pooling(folder, &entries[1].path, hidden, &mut spec)?;
        for (index, (kind, entry)) in rest.iter().zip(&entries[2..]).enumerate() {
            let config = module_config(folder, &entry.path)?;
            spec.modules.push(match *kind {
                "Dense" => {
                    let linear = dense_module(index);
                    dense(folder, &entry.path, config, &linear, &mut weights)?
                }
                "Normalize" => Module::Normalize,
                _ => return Err(unsupported_modules(&kinds)),
            });
        }
        spec.dimensions = spec
            .width(hidden)
            .map_err(|reason| ModelError::corrupt(MODULES, reason))?;
        settings(folder, &mut spec)?;
        let transformer = TRANSFORMER.iter().find(|name| folder.join(name).is_file());
        let transformer: Transformer = match transformer {
            Some(name) => Transformer::read(folder, name)?,
            None => Transformer::default(),
        };
        Ok(Sentence {
            spec,
            weights,
            max_tokens: transformer.max_seq_length,
            lowercase: transformer.do_lower_case == Some(true),
        })
    }
}

/// The JSON of a file, or the default if the file is not there.
fn json<T: DeserializeOwned + Default>(folder: &Path, name: &str) -> Result<T, ModelError> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(T::default());
    }
    serde_json::from_slice(&read_at_most(&path, MAX_BYTES)?)
        .map_err(|error| ModelError::corrupt(name, error.to_string()))
}

/// The modules, in order; none without the file.
fn entries(folder: &Path) -> Result<Vec<Entry>, ModelError> {
    let entries: Vec<Entry> = json(folder, MODULES)?;
    if entries.len() > MAX_MODULES || entries.is_empty() && folder.join(MODULES).is_file() {
        let reason = format!("it lists {} modules, not 1 to {MAX_MODULES}", entries.len());
        return Err(ModelError::corrupt(MODULES, reason));
    }
    for entry in &entries {
        if !is_within(&entry.path) {
            let reason = format!("the path {:?} leads out of the model folder", entry.path);
            return Err(ModelError::corrupt(MODULES, reason));
        }
    }
    Ok(entries)
}

/// The class of each module. Its package differs between versions of sentence-transformers.
fn kinds(entries: &[Entry]) -> Result<Vec<&str>, ModelError> {
    entries
        .iter()
        .map(|entry| {
            let class = entry.r#type.strip_prefix("sentence_transformers.");
            class
                .map(|class| class.rsplit('.').next().unwrap_or(class))
                .ok_or_else(|| {
                    ModelError::unsupported(format!(
                        "{MODULES} has a module of type {:?}; {SUPPORTED} of sentence_transformers",
                        entry.r#type
                    ))
                })
        })
        .collect()
}

const SUPPORTED: &str =
    "supported are Transformer, then Pooling, then any number of Dense and Normalize,";

fn unsupported_modules(kinds: &[&str]) -> ModelError {
    ModelError::unsupported(format!(
        "{MODULES} has the modules {}; {SUPPORTED} in this order",
        kinds.join(", ")
    ))
}

/// Name of the configuration of a module, relative to the model folder.
fn config_of(path: &str) -> String {
    format!("{path}/{CONFIG}")
}

fn pooling(
    folder: &Path,
    path: &str,
    hidden: usize,
    spec: &mut EmbeddingSpec,
) -> Result<(), ModelError> {
    let name = config_of(path);
    if !folder.join(&name).is_file() {
        return Err(ModelError::corrupt(&name, "it is missing"));
    }
    let config: PoolingConfig = json(folder, &name)?;
    if let Some(width) = config.embedding_dimension.filter(|width| *width != hidden) {
        let reason = format!("embedding_dimension is {width}, but the encoder's is {hidden}");
        return Err(ModelError::corrupt(&name, reason));
    }
    spec.pooling = match config.pooling_mode {
        Some(modes) => {
            let modes = match modes {
                Value::Array(modes) => modes,
                mode => vec![mode],
            };
            let parsed: Result<Vec<_>, _> = modes.iter().map(Pooling::deserialize).collect();
            parsed.map_err(|error| {
                let modes = Value::from(modes);
                ModelError::unsupported(format!("{name} has the pooling_mode {modes}: {error}"))
            })?
        }
        None => {
            let is_set = |flag: &str| config.others.get(flag) == Some(&Value::Bool(true));
            let flags = Pooling::ALL.into_iter().zip(FLAGS);
            let set: Vec<_> = flags.filter(|(_, flag)| is_set(flag)).collect();
            match set.as_slice() {
                [] => vec![Pooling::Mean],
                set => set.iter().map(|(mode, _)| *mode).collect(),
            }
        }
    };
    spec.include_prompt = config.include_prompt.unwrap_or(true);
    Ok(())
}

/// The configuration of a module after pooling, which must read and write the embedding.
fn module_config(folder: &Path, path: &str) -> Result<ModuleConfig, ModelError> {
    let name = config_of(path);
    let config: ModuleConfig = json(folder, &name)?;
    for found in [&config.module_input_name, &config.module_output_name] {
        if let Some(other) = found.as_ref().filter(|found| *found != EMBEDDING) {
            return Err(ModelError::unsupported(format!(
                "{name} has a module that reads or writes {other:?}; supported is {EMBEDDING:?}"
            )));
        }
    }
    Ok(config)
}

/// A `Dense` module. Its tensors are added to `weights` as those of the linear layer `linear`.
fn dense(
    folder: &Path,
    path: &str,
    config: ModuleConfig,
    linear: &str,
    weights: &mut Weights,
) -> Result<Module, ModelError> {
    let name = config_of(path);
    if config.use_residual == Some(true) {
        return Err(ModelError::unsupported(format!(
            "{name} sets use_residual; supported is a Dense module without a residual"
        )));
    }
    let (Some(inputs), Some(outputs)) = (config.in_features, config.out_features) else {
        let reason = "in_features or out_features is missing";
        return Err(ModelError::corrupt(&name, reason));
    };
    let file = format!("{path}/{}", weights::SINGLE);
    if !folder.join(&file).is_file() {
        return Err(ModelError::NotAModel {
            path: folder.to_owned(),
            reason: format!(
                "it has no {file}; shoal does not read pickled weights. Convert them with \
                 sentence-transformers: SentenceTransformer(FOLDER).save(FOLDER)"
            ),
        });
    }
    let bytes = map(&folder.join(&file))?.into();
    let prefix = linear.strip_suffix("linear").unwrap_or_default();
    weights.add(&file, &bytes, prefix)?;
    // A larger width is refused by `EmbeddingSpec::width`.
    if config.bias == Some(false) && outputs <= MAX_WIDTH {
        weights.add_zeros(&format!("{linear}.bias"), outputs);
    }
    Ok(Module::Dense {
        inputs,
        outputs,
        activation: activation(&name, config.activation_function.as_deref())?,
    })
}

/// The activation of a `Dense` module, named by its Python class; `Tanh` if there is no name.
fn activation(file: &str, name: Option<&str>) -> Result<Activation, ModelError> {
    let Some(name) = name else {
        return Ok(Activation::Tanh);
    };
    let class = name
        .strip_prefix("torch.nn.")
        .map(|path| path.rsplit('.').next());
    match class {
        Some(Some("Tanh")) => Ok(Activation::Tanh),
        Some(Some("Identity")) => Ok(Activation::Identity),
        Some(Some("GELU")) => Ok(Activation::Gelu),
        Some(Some("ReLU")) => Ok(Activation::Relu),
        _ => Err(ModelError::unsupported(format!(
            "{file} has the activation_function {name:?}; supported are Tanh, Identity, GELU and ReLU \
             of torch.nn"
        ))),
    }
}

fn settings(folder: &Path, spec: &mut EmbeddingSpec) -> Result<(), ModelError> {
    let settings: Settings = json(folder, SETTINGS)?;
    if let Some(other) = settings
        .model_type
        .filter(|kind| kind != "SentenceTransformer")
    {
        return Err(ModelError::unsupported(format!(
            "{SETTINGS} has the model_type {other:?}; supported for embeddings is \
             \"SentenceTransformer\""
        )));
    }
    if settings.truncate_dim == Some(0) {
        return Err(ModelError::corrupt(SETTINGS, "truncate_dim is 0"));
    }
    spec.truncate_dim = settings.truncate_dim;
    // A prompt without a text is empty.
    spec.prompts = settings
        .prompts
        .unwrap_or_default()
        .into_iter()
        .map(|(name, text)| (name, text.unwrap_or_default()))
        .collect();
    match settings.default_prompt_name {
        Some(name) if spec.prompts.contains_key(&name) => spec.default_prompt = Some(name),
        // Every model has these two; they are empty if the file does not name them.
        Some(name) if name != "query" && name != "document" => {
            let reason = format!("default_prompt_name is {name:?}, which is not in prompts");
            return Err(ModelError::corrupt(SETTINGS, reason));
        }
        _ => {}
    }
    Ok(())
}
