//! `classify`: a label and its score for each text.
//!
//! | column | type | |
//! |---|---|---|
//! | `label` | string | the most probable label; for multi-label models all that reach the threshold, separated by `;`; for regression the first label |
//! | `score` | float | the highest probability; for regression the value itself |
//! | `score_LABEL` | float | with `scores`, the probability of each label |

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_encoder::{Model, Objective, Purpose};
use shoal_job::{Cell, Metrics, Role};

use crate::gold::{Gold, GoldLabels};
use crate::{Declaration, Decoder, Task, TaskError, TaskKind, object};

pub(crate) const DECLARATION: Declaration = Declaration {
    name: "classify",
    aliases: &["text-classification", "sentiment-analysis"],
    purpose: Purpose::Classify,
    sufficient_agreement: 0.99,
    open: |model, options| Ok(Box::new(Classify::new(model, &options.classify)?)),
};

/// The metric that counts records by gold label and predicted label.
pub const CONFUSION: &str = "confusion";

/// The metric that counts records whose gold label is none of the model's.
pub const UNKNOWN: &str = "unknown_labels";

/// The metric with examples of these gold labels.
pub const UNKNOWN_EXAMPLES: &str = "unknown_label_examples";

/// Default minimum probability of the labels of a multi-label model.
const DEFAULT_THRESHOLD: f32 = 0.5;

/// Separates the labels of a multi-label model.
const SEPARATOR: &str = ";";

/// Maximum difference of equal values, relative to the larger of the value and 1.
const SAME_NUMBER: f32 = 0.05;

/// The options of `classify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Whether to write the probability of each label.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub scores: bool,
    /// The minimum probability of the labels of a multi-label model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
}

#[derive(Clone)]
struct Classify {
    decision: Decision,
    gold: Arc<GoldLabels>,
    options: Options,
    output: SchemaRef,
}

impl Classify {
    fn new(model: &Model, options: &Options) -> Result<Self, TaskError> {
        let classifier = model.classifier().expect("a model of this purpose");
        if let Some(threshold) = options.threshold {
            let refused = |reason: &str| TaskError::Value {
                option: "threshold".to_owned(),
                reason: reason.to_owned(),
            };
            if classifier.objective != Objective::MultiLabel {
                return Err(refused("it has an effect on multi-label models only"));
            }
            if !(0.0..=1.0).contains(&threshold) {
                return Err(refused("it is a probability, from 0 to 1"));
            }
        }
        let mut fields = vec![
            Field::new("label", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
        ];
        if options.scores {
            let names = classifier
                .labels
                .iter()
                .map(|label| format!("score_{label}"));
            fields.extend(names.map(|name| Field::new(name, DataType::Float32, false)));
        }
        Ok(Self {
            decision: Decision {
                objective: classifier.objective,
                labels: classifier.labels.as_slice().into(),
                threshold: options.threshold.unwrap_or(DEFAULT_THRESHOLD),
            },
            gold: GoldLabels::new(&classifier.labels).into(),
            options: options.clone(),
            output: Arc::new(Schema::new(fields)),
        })
    }
}

impl Task for Classify {
    fn kind(&self) -> TaskKind {
        TaskKind::Classify
    }

    fn settings(&self) -> Map<String, Value> {
        let mut settings = object(&self.options);
        settings.insert("labels".to_owned(), self.decision.labels.to_vec().into());
        settings
    }

    fn inputs(&self) -> Vec<Role> {
        let mut inputs = vec![Role::text("text")];
        if self.decision.objective == Objective::SingleLabel {
            inputs.push(Role::optional("label"));
        }
        inputs
    }

    fn refused(&self) -> BTreeMap<String, String> {
        let gives = match self.decision.objective {
            Objective::SingleLabel => return BTreeMap::new(),
            Objective::MultiLabel => "any number of labels",
            Objective::Regression => "a number",
        };
        let reason = format!(
            "this model gives {gives} for each text, and only models that give one label are compared with correct labels; \
             keep the column in the output to compare them yourself"
        );
        [("label".to_owned(), reason)].into()
    }

    fn output(&self) -> SchemaRef {
        self.output.clone()
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        let scores = self.output.fields().len() - 2;
        Box::new(Rows {
            task: self.clone(),
            labels: StringBuilder::new(),
            score: Float32Builder::new(),
            scores: (0..scores).map(|_| Float32Builder::new()).collect(),
            probabilities: Vec::new(),
        })
    }

    /// The same label or labels; for regression, a value within 5 %.
    fn agreement(&self, reference: &RecordBatch, other: &RecordBatch) -> f64 {
        let is_same = |row: usize| match self.decision.objective {
            Objective::Regression => {
                let of =
                    |rows: &RecordBatch| rows.column(1).as_primitive::<Float32Type>().value(row);
                let (a, b) = (of(reference), of(other));
                (a - b).abs() <= SAME_NUMBER * a.abs().max(1.0)
            }
            _ => {
                let a = reference.column(0).as_string::<i32>().value(row);
                a == other.column(0).as_string::<i32>().value(row)
            }
        };
        (0..reference.num_rows())
            .filter(|row| is_same(*row))
            .count() as f64
    }

    fn agreement_measure(&self) -> &'static str {
        match self.decision.objective {
            Objective::Regression => "same value within 5 %",
            _ => "same label",
        }
    }
}

struct Rows {
    task: Classify,
    labels: StringBuilder,
    score: Float32Builder,
    scores: Vec<Float32Builder>,
    probabilities: Vec<f32>,
}

impl Decoder for Rows {
    fn push(&mut self, output: &[f32], inputs: &[Cell], metrics: &mut Metrics) {
        let (label, score) = self.task.decision.decide(output, &mut self.probabilities);
        match inputs.get(1).map(|cell| self.task.gold.find(cell)) {
            None | Some(Gold::Missing) => {}
            Some(Gold::Label(gold)) => metrics.add(&[CONFUSION, gold, &label], 1),
            Some(Gold::Unknown(gold)) => {
                metrics.add(&[UNKNOWN], 1);
                metrics.add_example(UNKNOWN_EXAMPLES, gold);
            }
        }
        self.labels.append_value(label);
        self.score.append_value(score);
        for (column, score) in self.scores.iter_mut().zip(&self.probabilities) {
            column.append_value(*score);
        }
    }

    fn finish(&mut self) -> RecordBatch {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.labels.finish()),
            Arc::new(self.score.finish()),
        ];
        columns.extend(
            self.scores
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        RecordBatch::try_new(self.task.output.clone(), columns)
            .expect("columns of one length, as declared")
    }
}

/// Turns logits into a label and a score.
#[derive(Clone)]
struct Decision {
    objective: Objective,
    /// In the order of the logits.
    labels: Arc<[String]>,
    threshold: f32,
}

impl Decision {
    /// Writes the probability of each label to `scores`, and returns the label and its score.
    ///
    /// Single-label: the most probable label, or the first of equals. Multi-label: all labels that reach the threshold, and
    /// the highest probability. Regression: the first label, and the value itself.
    fn decide(&self, logits: &[f32], scores: &mut Vec<f32>) -> (String, f32) {
        self.objective.probabilities(logits, scores);
        let best = argmax(scores);
        let label = match self.objective {
            Objective::SingleLabel => self.labels[best].clone(),
            Objective::MultiLabel => {
                let chosen = self.labels.iter().zip(&*scores);
                let chosen = chosen.filter(|(_, score)| **score >= self.threshold);
                chosen
                    .map(|(label, _)| label.as_str())
                    .collect::<Vec<_>>()
                    .join(SEPARATOR)
            }
            Objective::Regression => return (self.labels[0].clone(), scores[0]),
        };
        (label, scores[best])
    }
}

fn argmax(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(objective: Objective) -> Decision {
        let labels = ["NEGATIVE", "NEUTRAL", "POSITIVE"].map(String::from).into();
        Decision {
            objective,
            labels,
            threshold: 0.5,
        }
    }

    #[test]
    fn the_most_probable_label_is_chosen() {
        let mut scores = Vec::new();
        let (label, score) = decision(Objective::SingleLabel).decide(&[0.0, 0.0, 2.0], &mut scores);
        assert_eq!(label, "POSITIVE");
        // e² / (e² + 2)
        assert!((score - 0.786_986).abs() < 1e-5, "{score}");
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn all_labels_above_the_threshold_are_chosen() {
        let decision = decision(Objective::MultiLabel);
        let mut scores = Vec::new();
        let (label, score) = decision.decide(&[1.0, -1.0, 0.0], &mut scores);
        assert_eq!(label, "NEGATIVE;POSITIVE");
        assert!((score - 0.731_058_6).abs() < 1e-6);
        assert_eq!(decision.decide(&[-1.0, -1.0, -2.0], &mut scores).0, "");
    }
}
