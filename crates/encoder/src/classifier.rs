//! Sequence classification: labels, what their logits mean, and scores.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::error::ModelError;
use crate::files::CONFIG;

/// What the logits of a classifier mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Exactly one label holds: softmax.
    SingleLabel,
    /// Each label holds or does not, independently of the others: sigmoid.
    MultiLabel,
    /// The logits are the answer.
    Regression,
}

impl Objective {
    /// Replaces `out` with the scores of one record's `logits` (`[labels]`): probabilities that add
    /// up to 1 for [`Objective::SingleLabel`], independent probabilities for
    /// [`Objective::MultiLabel`], the logits themselves for [`Objective::Regression`]. The same logits have the same scores
    /// on every CPU.
    pub fn probabilities(self, logits: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(logits);
        match self {
            Objective::SingleLabel => shoal_kernels::softmax(out),
            Objective::MultiLabel => shoal_kernels::sigmoid(out),
            Objective::Regression => {}
        }
    }
}

/// The labels of a sequence classifier and what its logits mean.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Classifier {
    /// Label names, in the order of the logits; at least one.
    pub labels: Vec<String>,
    /// What the logits mean.
    pub objective: Objective,
}

#[derive(Deserialize)]
struct Keys {
    id2label: Option<BTreeMap<String, Value>>,
    num_labels: Option<usize>,
    problem_type: Option<String>,
}

impl Classifier {
    /// Reads `id2label`, `num_labels` and `problem_type` from `config.json`.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for another `problem_type`, [`ModelError::Corrupt`] for labels that are not numbered
    /// from 0; both name the key.
    pub fn from_config(config: &Value) -> Result<Classifier, ModelError> {
        let keys = Keys::deserialize(config)
            .map_err(|error| ModelError::corrupt(CONFIG, error.to_string()))?;
        let labels = labels(&keys)?;
        Ok(Classifier {
            objective: objective(keys.problem_type.as_deref(), labels.len())?,
            labels,
        })
    }
}

fn labels(keys: &Keys) -> Result<Vec<String>, ModelError> {
    const LIMIT: usize = 1 << 16;
    // As in transformers, names that are not as many as the labels are not used.
    let named = keys.id2label.as_ref();
    let named = named.filter(|named| keys.num_labels.is_none_or(|count| count == named.len()));
    let count = match named {
        Some(named) => named.len(),
        None => keys.num_labels.unwrap_or(2),
    };
    if count == 0 || count > LIMIT {
        let reason = match named {
            Some(_) => format!("id2label has {count} entries, which is not between 1 and {LIMIT}"),
            None => format!("num_labels is {count}, which is not between 1 and {LIMIT}"),
        };
        return Err(ModelError::corrupt(CONFIG, reason));
    }
    let Some(named) = named else {
        return Ok((0..count).map(|id| format!("LABEL_{id}")).collect());
    };
    let label = |id: usize| {
        let reason = match named.get(&id.to_string()) {
            Some(Value::String(name)) => return Ok(name.clone()),
            // Some checkpoints number their labels, such as stars from 1 to 5.
            Some(Value::Number(name)) => return Ok(name.to_string()),
            Some(other) => format!("id2label maps the id {id} to {other}, which is not a string"),
            None => format!("id2label has {count} entries but none for the id {id}"),
        };
        Err(ModelError::corrupt(CONFIG, reason))
    };
    (0..count).map(label).collect()
}

/// As `pipelines/text_classification.py` of transformers decides.
fn objective(problem_type: Option<&str>, labels: usize) -> Result<Objective, ModelError> {
    match problem_type {
        Some("regression") => Ok(Objective::Regression),
        Some("multi_label_classification") => Ok(Objective::MultiLabel),
        // A single label is a yes-or-no score, as in cross-encoders; a softmax over it would always
        // be 1.
        None | Some("single_label_classification") if labels == 1 => Ok(Objective::MultiLabel),
        None | Some("single_label_classification") => Ok(Objective::SingleLabel),
        Some(other) => Err(ModelError::unsupported(format!(
            "problem_type is {other:?}; supported are single_label_classification, \
             multi_label_classification and regression"
        ))),
    }
}
