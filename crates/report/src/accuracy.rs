//! How labels compare with gold labels.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use shoal_job::Metrics;

use crate::numbers;

/// How labels compare with gold labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Accuracy {
    /// Records whose label is the gold label.
    pub right: u64,
    /// Records with a gold label.
    pub of: u64,
    /// `right / of`.
    pub share: f64,
    /// Gold label → label → records.
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Accuracy {
    /// From the group `confusion`: gold label → label → records. `None` if no record has a gold label.
    pub fn of(metrics: &Metrics) -> Option<Self> {
        let owned = |(label, records): (&str, u64)| (label.to_owned(), records);
        let confusion: BTreeMap<String, BTreeMap<String, u64>> = metrics
            .group("confusion")?
            .groups()
            .map(|(gold, labels)| (gold.to_owned(), labels.counts().map(owned).collect()))
            .collect();
        let of = confusion.values().flat_map(BTreeMap::values).sum();
        let right = confusion
            .iter()
            .filter_map(|(gold, labels)| labels.get(gold))
            .sum();
        (of > 0).then(|| Self {
            right,
            of,
            share: right as f64 / of as f64,
            confusion,
        })
    }

    /// The labels that records got.
    pub(crate) fn labels(&self) -> BTreeSet<&str> {
        let rows = self.confusion.values();
        rows.flat_map(BTreeMap::keys).map(String::as_str).collect()
    }

    /// Each gold label, with its counts in the order of [`labels`](Self::labels).
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        let labels = self.labels();
        self.confusion.iter().map(move |(gold, row)| {
            let count = |label: &&str| numbers::count(row.get(*label).copied().unwrap_or(0));
            (gold.as_str(), labels.iter().map(count).collect())
        })
    }
}

/// For the terminal: the share, and a table of the counts.
impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} % ({} of {})",
            100.0 * self.share,
            numbers::count(self.right),
            numbers::count(self.of)
        )?;
        let width = |text: &str| text.chars().count();
        let golds = self.confusion.keys().map(|gold| width(gold));
        let first = golds.max().unwrap_or(0).max(12);
        write!(f, "\n  {:<first$}", "gold \\ label")?;
        for label in self.labels() {
            write!(f, "  {label:>9}")?;
        }
        for (gold, counts) in self.rows() {
            write!(f, "\n  {gold:<first$}")?;
            for (count, label) in counts.iter().zip(self.labels()) {
                write!(f, "  {count:>0$}", width(label).max(9))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_the_diagonal() {
        let mut metrics = Metrics::default();
        for (gold, label, records) in [("A", "A", 8), ("A", "B", 1), ("B", "A", 2), ("B", "B", 9)] {
            metrics.add(&["confusion", gold, label], records);
        }
        let accuracy = Accuracy::of(&metrics).unwrap();
        assert_eq!(
            (accuracy.right, accuracy.of, accuracy.share),
            (17, 20, 0.85)
        );
        assert_eq!(
            accuracy.to_string(),
            "85.00 % (17 of 20)\n  gold \\ label          A          B\n  A                     8          1\n  B                     2          9"
        );
    }

    #[test]
    fn without_gold_labels_there_is_no_accuracy() {
        let mut metrics = Metrics::default();
        metrics.add(&["truncated"], 3);
        assert_eq!(Accuracy::of(&metrics), None);
        metrics.add(&["confusion", "A", "A"], 0);
        assert_eq!(Accuracy::of(&metrics), None);
    }
}
