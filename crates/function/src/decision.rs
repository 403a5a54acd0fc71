//! From logits to what is written: label, score, and how they compare with the gold label.

use shoal_encoder::{Model, Objective};
use shoal_job::Cell;

/// Least probability of a label of a multi-label model, unless the job says another.
pub(crate) const DEFAULT_THRESHOLD: f32 = 0.5;

/// Stands between several labels.
const SEPARATOR: &str = ";";

/// How a model's logits become a label and a score.
#[derive(Debug, Clone)]
pub struct Decision {
    objective: Objective,
    labels: Vec<String>,
    threshold: f32,
}

impl Decision {
    /// The decision that belongs to `model`.
    pub fn new(model: &Model, threshold: Option<f32>) -> Self {
        Self {
            objective: model.objective(),
            labels: model.labels().to_vec(),
            threshold: threshold.unwrap_or(DEFAULT_THRESHOLD),
        }
    }

    /// Writes each label's probability to `scores`, and gives the label and its score.
    ///
    /// One label: the most probable, the first of equals. Multi-label: all that reach the threshold, and the highest
    /// probability. Regression: the first label, and the value itself.
    pub fn decide(&self, logits: &[f32], scores: &mut Vec<f32>) -> (String, f32) {
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

    /// The model's name for a gold label: names are compared without regard to case, and an integer counts labels from
    /// 0 where none is called so. `None` for null.
    pub fn gold(&self, gold: &Cell) -> Option<String> {
        let text = gold.as_text()?;
        let by_name = self
            .labels
            .iter()
            .find(|label| label.eq_ignore_ascii_case(text));
        let by_index = || self.labels.get(text.parse::<usize>().ok()?);
        Some(
            by_name
                .or_else(by_index)
                .map_or_else(|| text.to_owned(), Clone::clone),
        )
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
        let labels = ["NEGATIVE", "NEUTRAL", "POSITIVE"]
            .map(String::from)
            .to_vec();
        Decision {
            objective,
            labels,
            threshold: 0.5,
        }
    }

    #[test]
    fn one_label_is_the_most_probable() {
        let mut scores = Vec::new();
        let (label, score) = decision(Objective::SingleLabel).decide(&[0.0, 0.0, 2.0], &mut scores);
        assert_eq!(label, "POSITIVE");
        // e² / (e² + 2)
        assert!((score - 0.786_986).abs() < 1e-5, "{score}");
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn several_labels_reach_the_threshold_or_none() {
        let decision = decision(Objective::MultiLabel);
        let mut scores = Vec::new();
        let (label, score) = decision.decide(&[1.0, -1.0, 0.0], &mut scores);
        assert_eq!(label, "NEGATIVE;POSITIVE");
        assert!((score - 0.731_058_6).abs() < 1e-6);
        assert_eq!(decision.decide(&[-1.0, -1.0, -2.0], &mut scores).0, "");
    }

    #[test]
    fn gold_labels_match_by_name_then_by_number() {
        let decision = decision(Objective::SingleLabel);
        let gold = |cell: Cell| decision.gold(&cell);
        assert_eq!(
            gold(Cell::Text("positive".into())).as_deref(),
            Some("POSITIVE")
        );
        assert_eq!(gold(Cell::Json("0".into())).as_deref(), Some("NEGATIVE"));
        assert_eq!(gold(Cell::Text("2".into())).as_deref(), Some("POSITIVE"));
        assert_eq!(gold(Cell::Text("odd".into())).as_deref(), Some("odd"));
        assert_eq!(gold(Cell::Null), None);
    }
}
