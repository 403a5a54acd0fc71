//! `embed`: a vector for each text, as `encode` of sentence-transformers returns it.
//!
//! | column | type | |
//! |---|---|---|
//! | `embedding` | list of floats of fixed size | the vector, truncated and normalized according to the options |

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{FixedSizeListArray, Float32Array, RecordBatch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_encoder::{EmbeddingSpec, Model, Purpose};
use shoal_job::{Cell, Metrics, Role};

use crate::{Declaration, Decoder, Task, TaskError, TaskKind, object};

pub(crate) const DECLARATION: Declaration = Declaration {
    name: "embed",
    aliases: &["feature-extraction", "sentence-similarity"],
    purpose: Purpose::Embed,
    sufficient_agreement: 0.995,
    open: |model, options| Ok(Box::new(Embed::new(model, &options.embed)?)),
};

/// The options of `embed`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// The prefix of each text; an empty prompt disables the model's default prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The name of a prompt of the model. A job records the prompt itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_name: Option<String>,
    /// Truncate vectors to this number of dimensions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Normalize vectors to length 1, after truncation.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub normalize: bool,
}

#[derive(Clone)]
struct Embed {
    prompt: String,
    dimensions: usize,
    normalize: bool,
    output: SchemaRef,
    item: FieldRef,
}

impl Embed {
    fn new(model: &Model, options: &Options) -> Result<Self, TaskError> {
        let spec = model.embedding().expect("a model of this purpose");
        let prompt = prompt(spec, options)?;
        let width = model.output_width();
        // As in sentence-transformers, more dimensions than available have no effect.
        let dimensions = match options.dimensions.or(spec.truncate_dim) {
            Some(0) => {
                return Err(TaskError::Value {
                    option: "dimensions".to_owned(),
                    reason: "a vector has at least one dimension".to_owned(),
                });
            }
            Some(wanted) => wanted.min(width),
            None => width,
        };
        let size = i32::try_from(dimensions).map_err(|_| TaskError::Value {
            option: "dimensions".to_owned(),
            reason: format!("a vector has at most {} dimensions", i32::MAX),
        })?;
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let list = DataType::FixedSizeList(item.clone(), size);
        let column = Field::new("embedding", list, false);
        Ok(Self {
            prompt,
            dimensions,
            normalize: options.normalize,
            output: Arc::new(Schema::new(vec![column])),
            item,
        })
    }
}

/// The prompt of the options, or else the model's default, as in `SentenceTransformer.encode`.
fn prompt(spec: &EmbeddingSpec, options: &Options) -> Result<String, TaskError> {
    if let Some(prompt) = &options.prompt {
        return Ok(prompt.clone());
    }
    let Some(name) = options
        .prompt_name
        .as_ref()
        .or(spec.default_prompt.as_ref())
    else {
        return Ok(String::new());
    };
    spec.prompts.get(name).cloned().ok_or_else(|| {
        let names: Vec<_> = spec.prompts.keys().map(String::as_str).collect();
        let reason = match names.as_slice() {
            [] => format!("the model has no prompt {name:?}, and no others"),
            names => format!(
                "the model has no prompt {name:?}; it has {}",
                names.join(", ")
            ),
        };
        TaskError::Value {
            option: "prompt-name".to_owned(),
            reason,
        }
    })
}

impl Task for Embed {
    fn kind(&self) -> TaskKind {
        TaskKind::Embed
    }

    fn settings(&self) -> Map<String, Value> {
        // The results depend on the prompt itself, not on its name.
        object(&Options {
            prompt: Some(self.prompt.clone()),
            prompt_name: None,
            dimensions: Some(self.dimensions),
            normalize: self.normalize,
        })
    }

    fn inputs(&self) -> Vec<Role> {
        vec![Role::text("text")]
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn prompt(&self) -> &str {
        &self.prompt
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(Vectors {
            task: self.clone(),
            values: Vec::new(),
        })
    }

    /// The cosine similarity.
    fn agreement(&self, reference: &RecordBatch, other: &RecordBatch) -> f64 {
        let values = |rows: &RecordBatch| {
            let list = rows.column(0).as_fixed_size_list().values().clone();
            list.as_primitive::<Float32Type>().clone()
        };
        let (a, b) = (values(reference), values(other));
        let a = a.values().chunks_exact(self.dimensions);
        a.zip(b.values().chunks_exact(self.dimensions))
            .map(|(a, b)| cosine(a, b))
            .sum()
    }

    fn agreement_measure(&self) -> &'static str {
        "cosine"
    }
}

/// 1 for two zero vectors.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| {
        let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths == 0.0 {
        return f64::from(u8::from(a == b));
    }
    dot(a, b) / lengths
}

struct Vectors {
    task: Embed,
    values: Vec<f32>,
}

impl Decoder for Vectors {
    fn push(&mut self, output: &[f32], _inputs: &[Cell], _metrics: &mut Metrics) {
        let start = self.values.len();
        self.values
            .extend_from_slice(&output[..self.task.dimensions]);
        if self.task.normalize {
            normalize(&mut self.values[start..]);
        }
    }

    fn finish(&mut self) -> RecordBatch {
        let values = Float32Array::from(std::mem::take(&mut self.values));
        let size = i32::try_from(self.task.dimensions).expect("checked by `new`");
        let list = FixedSizeListArray::new(self.task.item.clone(), size, Arc::new(values), None);
        RecordBatch::try_new(self.task.output.clone(), vec![Arc::new(list)])
            .expect("one column, as declared")
    }
}

/// Scales `vector` to length 1; zeros stay zeros (`torch.nn.functional.normalize`).
fn normalize(vector: &mut [f32]) {
    /// As in torch.
    const EPSILON: f32 = 1e-12;
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    let length = length.max(EPSILON);
    vector.iter_mut().for_each(|value| *value /= length);
}
