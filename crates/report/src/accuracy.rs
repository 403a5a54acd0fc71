//! How labels compare with gold labels.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use shoal_job::Metrics;

use crate::numbers::{count, plural};

/// The most labels whose confusion is shown as a table.
const MOST_CONFUSED: usize = 20;
/// The most labels that are listed on a terminal.
const MOST_LISTED: usize = 20;

/// How labels compare with gold labels. Precision, recall and F1 are those of scikit-learn's
/// `precision_recall_fscore_support` with `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// Records whose label is the gold label.
    pub right: u64,
    /// Records with a gold label of the model.
    pub of: u64,
    /// `right / of`.
    pub share: f64,
    /// Gold label → label → records.
    pub confusion: BTreeMap<Label, BTreeMap<Label, u64>>,
    /// The scores of each label that is a gold label or a result, in the order of [`Label`].
    pub labels: Vec<LabelScores>,
    /// The means over these labels.
    #[serde(rename = "macro")]
    pub macro_average: Scores,
}

/// A label. Numbers come before other labels, in the order of their values; digits in other labels are ordered by value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Label(String);

/// The scores of a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScores {
    /// The label.
    pub label: Label,
    /// Its scores.
    #[serde(flatten)]
    pub scores: Scores,
    /// Records with this gold label.
    pub support: u64,
}

/// Scores from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// The share of records with the gold label among those with the label; 0 if there are none.
    pub precision: f64,
    /// The share of records with the label among those with the gold label; 0 if there are none.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
}

/// Records whose gold label is none of the model's. They have no part in the [`Accuracy`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnknownLabels {
    /// Their number.
    pub records: u64,
    /// The first of their gold labels in alphabetical order, with the number of records; long ones are cut.
    pub examples: Vec<(String, u64)>,
}

impl Accuracy {
    /// From the group `confusion`: gold label → label → records. `None` if no record has a gold label of the model.
    pub fn of(metrics: &Metrics) -> Option<Self> {
        let owned = |(label, records): (&str, u64)| (Label(label.to_owned()), records);
        let confusion: BTreeMap<Label, BTreeMap<Label, u64>> = metrics
            .group("confusion")?
            .groups()
            .map(|(gold, labels)| (Label(gold.to_owned()), labels.counts().map(owned).collect()))
            .collect();
        // Label → right, results, gold labels.
        let mut counts = BTreeMap::<&Label, [u64; 3]>::new();
        for (gold, row) in &confusion {
            for (label, records) in row {
                counts.entry(label).or_default()[1] += records;
                let of_gold = counts.entry(gold).or_default();
                of_gold[2] += records;
                of_gold[0] += if gold == label { *records } else { 0 };
            }
        }
        counts.retain(|_, [_, results, golds]| *results + *golds > 0);
        let [right, of] = [0, 2].map(|index| counts.values().map(|count| count[index]).sum());
        if of == 0 {
            return None;
        }
        let labels = counts.iter().map(|(label, counts)| LabelScores {
            label: (*label).clone(),
            scores: Scores::of(*counts),
            support: counts[2],
        });
        let labels: Vec<_> = labels.collect();
        Some(Self {
            right,
            of,
            share: right as f64 / of as f64,
            macro_average: Scores::mean(&labels),
            labels,
            confusion,
        })
    }

    /// The labels that records got.
    fn results(&self) -> BTreeSet<&Label> {
        self.confusion.values().flat_map(BTreeMap::keys).collect()
    }

    /// The confusion as a table with a header, unless there are too many labels.
    pub(crate) fn confusion_table(&self) -> Option<Vec<Vec<String>>> {
        if self.labels.len() > MOST_CONFUSED {
            return None;
        }
        let results = self.results();
        let first = std::iter::once("gold \\ label".to_owned());
        let header = first.chain(results.iter().map(|label| label.0.clone()));
        let rows = self.confusion.iter().map(|(gold, row)| {
            let records = |label: &&Label| count(row.get(*label).copied().unwrap_or(0));
            let records = results.iter().map(records);
            std::iter::once(gold.0.clone()).chain(records).collect()
        });
        Some(std::iter::once(header.collect()).chain(rows).collect())
    }

    /// The scores of the first `most` labels and the means, with a header.
    pub(crate) fn scores_table(&self, most: usize) -> Vec<Vec<String>> {
        let header = ["label", "precision", "recall", "F1", "records"].map(str::to_owned);
        let row = |name: &str, scores: &Scores, records: u64| {
            let Scores {
                precision,
                recall,
                f1,
            } = scores;
            let scores = [precision, recall, f1].map(|score| format!("{score:.4}"));
            let first = std::iter::once(name.to_owned());
            first.chain(scores).chain([count(records)]).collect()
        };
        let shown = self.labels.iter().take(most);
        let rows = shown.map(|one| row(&one.label.0, &one.scores, one.support));
        let mean = row("mean of labels", &self.macro_average, self.of);
        std::iter::once(header.into())
            .chain(rows)
            .chain([mean])
            .collect()
    }
}

impl Scores {
    /// From the number of right records, of results and of gold labels.
    fn of([right, results, golds]: [u64; 3]) -> Self {
        let share = |part: u64, all: u64| match all {
            0 => 0.0,
            all => part as f64 / all as f64,
        };
        Self {
            precision: share(right, results),
            recall: share(right, golds),
            f1: share(2 * right, results + golds),
        }
    }

    fn mean(labels: &[LabelScores]) -> Self {
        let mean = |score: fn(&Scores) -> f64| {
            labels.iter().map(|one| score(&one.scores)).sum::<f64>() / labels.len() as f64
        };
        Self {
            precision: mean(|scores| scores.precision),
            recall: mean(|scores| scores.recall),
            f1: mean(|scores| scores.f1),
        }
    }
}

impl UnknownLabels {
    /// `None` if there are none.
    pub fn of(metrics: &Metrics) -> Option<Self> {
        let records = metrics.count("unknown_labels");
        let examples = metrics.examples("unknown_label_examples");
        (records > 0).then(|| Self {
            records,
            examples: examples
                .map(|(label, records)| (label.to_owned(), records))
                .collect(),
        })
    }
}

/// A sentence for a warning.
impl fmt::Display for UnknownLabels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records = plural(self.records, "record has", "records have");
        write!(f, "{records} a gold label that the model does not have: ")?;
        let mut listed = 0;
        for (index, (label, records)) in self.examples.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{label:?} ({})", count(*records))?;
            listed += records;
        }
        if listed < self.records {
            write!(f, ", …")?;
        }
        Ok(())
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.0.as_str(), other.0.as_str());
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let by_value = match (number(a), number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => by_digits(a, b),
        };
        by_value.then_with(|| a.cmp(b))
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of texts in which runs of digits are ordered by value.
fn by_digits(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(next), Some(other)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        if next.is_ascii_digit() && other.is_ascii_digit() {
            let [of_a, of_b] = [&mut a, &mut b].map(take_digits);
            let order = of_a.len().cmp(&of_b.len()).then_with(|| of_a.cmp(of_b));
            if order.is_ne() {
                return order;
            }
        } else if next == other {
            (a, b) = (&a[next.len_utf8()..], &b[other.len_utf8()..]);
        } else {
            return next.cmp(&other);
        }
    }
}

/// Removes the digits at the start of `text`, and returns them without leading zeros.
fn take_digits<'a>(text: &mut &'a str) -> &'a str {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    digits.trim_start_matches('0')
}

/// For the terminal: the share, and tables of the counts and scores.
impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (right, of) = (count(self.right), count(self.of));
        write!(f, "{:.2} % ({right} of {of})", 100.0 * self.share)?;
        if let Some(table) = self.confusion_table() {
            write_table(f, &table)?;
        }
        write_table(f, &self.scores_table(MOST_LISTED))?;
        if self.labels.len() > MOST_LISTED {
            let more = plural((self.labels.len() - MOST_LISTED) as u64, "label", "labels");
            write!(f, "\n  {more} more: see the report")?;
        }
        Ok(())
    }
}

/// Writes indented rows; all columns but the first are aligned to the right.
fn write_table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let width = |text: &String| text.chars().count();
    let first = rows.iter().map(|row| width(&row[0])).max().unwrap_or(0);
    let header = rows.first().map_or(&[][..], Vec::as_slice);
    for row in rows {
        write!(f, "\n  {:<first$}", row[0])?;
        for (cell, name) in row.iter().zip(header).skip(1) {
            write!(f, "  {cell:>0$}", width(name).max(9))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn metrics(confusion: &[(&str, &str, u64)]) -> Metrics {
        let mut metrics = Metrics::default();
        for (gold, label, records) in confusion {
            metrics.add(&["confusion", gold, label], *records);
        }
        metrics
    }

    #[test]
    fn accuracy_counts_the_diagonal() {
        let confusion = [("A", "A", 8), ("A", "B", 1), ("B", "A", 2), ("B", "B", 9)];
        let accuracy = Accuracy::of(&metrics(&confusion)).unwrap();
        assert_eq!(
            (accuracy.right, accuracy.of, accuracy.share),
            (17, 20, 0.85)
        );
        insta::assert_snapshot!(accuracy, @r"
        85.00 % (17 of 20)
          gold \ label          A          B
          A                     8          1
          B                     2          9
          label           precision     recall         F1    records
          A                  0.8000     0.8889     0.8421          9
          B                  0.9000     0.8182     0.8571         11
          mean of labels     0.8500     0.8535     0.8496         20
        ");
    }

    /// `tools/fixtures/classification_metrics.py` made the values.
    #[test]
    fn scores_equal_those_of_scikit_learn() {
        let cases = include_str!("../tests/fixtures/classification_metrics.json");
        let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let mut metrics = Metrics::default();
            for row in case["confusion"].as_array().unwrap() {
                let [gold, label] = [0, 1].map(|index| row[index].as_str().unwrap());
                metrics.add(&["confusion", gold, label], row[2].as_u64().unwrap());
            }
            let accuracy = serde_json::to_value(Accuracy::of(&metrics).unwrap()).unwrap();
            let close = |found: &Value, expected: &Value| {
                let [a, b] = [found, expected].map(|number| number.as_f64().unwrap());
                assert!((a - b).abs() < 1e-12, "{found} is not {expected}: {case}");
            };
            close(&accuracy["share"], &case["accuracy"]);
            let expected = case["labels"].as_array().unwrap();
            let found = accuracy["labels"].as_array().unwrap();
            assert_eq!(found.len(), expected.len());
            for expected in expected {
                let is_it = |one: &&Value| one["label"] == expected["label"];
                let found = found.iter().find(is_it).unwrap();
                assert_eq!(found["support"], expected["support"], "{case}");
                for score in ["precision", "recall", "f1"] {
                    close(&found[score], &expected[score]);
                }
            }
            for score in ["precision", "recall", "f1"] {
                close(&accuracy["macro"][score], &case["macro"][score]);
            }
        }
    }

    #[test]
    fn labels_are_ordered_by_value() {
        let ordered = [
            "-1", "0", "2", "2.5", "10", "1 star", "2 stars", "10 stars", "LABEL_2", "LABEL_10",
            "LABEL_x", "a", "a1",
        ];
        let mut labels = ordered.map(|label| Label(label.to_owned()));
        labels.reverse();
        labels.sort();
        assert_eq!(labels.map(|label| label.0), ordered);
        let accuracy = Accuracy::of(&metrics(&[("10", "2", 1), ("9", "10", 1)])).unwrap();
        let json = serde_json::to_string(&accuracy).unwrap();
        assert!(
            json.contains(r#""confusion":{"9":{"10":1},"10":{"2":1}}"#),
            "{json}"
        );
        assert_eq!(
            accuracy.confusion_table().unwrap()[0],
            ["gold \\ label", "2", "10"]
        );
    }

    #[test]
    fn many_labels_are_listed_in_the_report_only() {
        let mut metrics = Metrics::default();
        for label in 0..=MOST_LISTED {
            metrics.add(&["confusion", &label.to_string(), "0"], 1);
        }
        let accuracy = Accuracy::of(&metrics).unwrap();
        let text = accuracy.to_string();
        assert!(!text.contains("gold \\ label"), "{text}");
        assert!(text.ends_with("1 label more: see the report"), "{text}");
    }

    #[test]
    fn without_gold_labels_there_is_no_accuracy() {
        let mut metrics = Metrics::default();
        metrics.add(&["truncated"], 3);
        assert_eq!(Accuracy::of(&metrics), None);
        metrics.add(&["confusion", "A", "A"], 0);
        assert_eq!(Accuracy::of(&metrics), None);
    }

    #[test]
    fn unknown_labels_are_counted_and_listed() {
        let mut metrics = Metrics::default();
        assert_eq!(UnknownLabels::of(&metrics), None);
        for label in ["pos", "neg", "pos"] {
            metrics.add(&["unknown_labels"], 1);
            metrics.add_example("unknown_label_examples", label);
        }
        let unknown = UnknownLabels::of(&metrics).unwrap();
        let listed =
            "3 records have a gold label that the model does not have: \"neg\" (1), \"pos\" (2)";
        assert_eq!(unknown.to_string(), listed);
        metrics.add(&["unknown_labels"], 1);
        let unknown = UnknownLabels::of(&metrics).unwrap();
        assert!(unknown.to_string().ends_with("(2), …"), "{unknown}");
    }
}
