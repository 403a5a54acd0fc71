//! Counts that a function reports with a receipt. They can be summed without knowledge of the task.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Named counts of one batch, or of many after [`merge`](Self::merge).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(BTreeMap<String, Metric>);

/// A count, or counts by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Metric {
    Count(u64),
    Group(Metrics),
}

impl Metrics {
    /// Whether there are no metrics.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `count` to the metric at `path`, such as `["confusion", "POSITIVE", "NEGATIVE"]`.
    ///
    /// A path through a count, or to a group, is ignored, because receipts are untrusted.
    pub fn add(&mut self, path: &[&str], count: u64) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        if !self.0.contains_key(*first) {
            let empty = match rest {
                [] => Metric::Count(0),
                _ => Metric::Group(Self::default()),
            };
            self.0.insert((*first).to_owned(), empty);
        }
        match (self.0.get_mut(*first), rest) {
            (Some(Metric::Count(sum)), []) => *sum = sum.saturating_add(count),
            (Some(Metric::Group(group)), rest) if !rest.is_empty() => group.add(rest, count),
            _ => {}
        }
    }

    /// Adds all counts of `other`. If one has a count and the other a group of the same name, `self` wins.
    pub fn merge(&mut self, other: &Self) {
        for (name, metric) in &other.0 {
            match (self.0.get_mut(name), metric) {
                (None, metric) => drop(self.0.insert(name.clone(), metric.clone())),
                (Some(Metric::Count(sum)), Metric::Count(count)) => {
                    *sum = sum.saturating_add(*count)
                }
                (Some(Metric::Group(group)), Metric::Group(more)) => group.merge(more),
                _ => {}
            }
        }
    }

    /// The count `name`, or 0.
    pub fn count(&self, name: &str) -> u64 {
        match self.0.get(name) {
            Some(Metric::Count(count)) => *count,
            _ => 0,
        }
    }

    /// The group `name`.
    pub fn group(&self, name: &str) -> Option<&Self> {
        match self.0.get(name) {
            Some(Metric::Group(group)) => Some(group),
            _ => None,
        }
    }

    /// The counts of this group by name, without those of nested groups.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().filter_map(|(name, metric)| match metric {
            Metric::Count(count) => Some((name.as_str(), *count)),
            Metric::Group(_) => None,
        })
    }

    /// The nested groups by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(name, metric)| match metric {
            Metric::Count(_) => None,
            Metric::Group(group) => Some((name.as_str(), group)),
        })
    }

    /// Whether each count, and the sum of each group, is at most `most`.
    pub(crate) fn are_at_most(&self, most: u64) -> bool {
        self.0
            .values()
            .all(|metric| metric.sum().is_some_and(|sum| sum <= most))
    }
}

impl Metric {
    /// `None` on overflow.
    fn sum(&self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(*count),
            Self::Group(group) => {
                let mut sums = group.0.values().map(Self::sum);
                sums.try_fold(0u64, |sum, next| sum.checked_add(next?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_groups_add_up_by_name() {
        let mut sum = Metrics::default();
        for (gold, label) in [("A", "A"), ("A", "B"), ("A", "A"), ("B", "B")] {
            let mut one = Metrics::default();
            one.add(&["confusion", gold, label], 1);
            one.add(&["truncated"], 2);
            sum.merge(&one);
        }
        assert_eq!(
            serde_json::to_string(&sum).unwrap(),
            r#"{"confusion":{"A":{"A":2,"B":1},"B":{"B":1}},"truncated":8}"#
        );
        let read: Metrics = serde_json::from_str(&serde_json::to_string(&sum).unwrap()).unwrap();
        assert_eq!(read, sum);
        assert_eq!(sum.count("truncated"), 8);
        let confusion = sum.group("confusion").unwrap();
        assert_eq!(confusion.groups().count(), 2);
        assert!(sum.are_at_most(8) && !sum.are_at_most(7));
    }

    #[test]
    fn a_count_never_becomes_a_group() {
        let mut metrics = Metrics::default();
        metrics.add(&["a"], 1);
        metrics.add(&["a", "b"], 1);
        metrics.add(&["a"], u64::MAX);
        let mut group = Metrics::default();
        group.add(&["a", "b"], 1);
        metrics.merge(&group);
        assert_eq!(metrics.count("a"), u64::MAX);
        assert!(metrics.group("a").is_none());
    }
}
