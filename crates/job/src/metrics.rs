//! Counts that a function reports with a receipt. They can be summed without knowledge of the task.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Texts of a list of examples, at most.
const MOST_EXAMPLES: usize = 10;
/// Characters of an example, at most.
const MOST_CHARACTERS: usize = 80;

/// Named counts of one batch, or of many after [`merge`](Self::merge).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(BTreeMap<String, Metric>);

/// A count, counts by name, or examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Metric {
    Count(u64),
    Group(Metrics),
    Examples(Examples),
}

/// The first texts in alphabetical order, with their counts. However texts are divided among lists, merging the lists gives
/// the same one: a text that is among the first of all is among the first of every list that it was added to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, u64)>", into = "Vec<(String, u64)>")]
struct Examples(BTreeMap<String, u64>);

impl Examples {
    fn add(&mut self, text: &str, count: u64) {
        match self.0.get_mut(text) {
            Some(sum) => *sum = sum.saturating_add(count),
            None => drop(self.0.insert(text.to_owned(), count)),
        }
        if self.0.len() > MOST_EXAMPLES {
            self.0.pop_last();
        }
    }
}

impl From<Vec<(String, u64)>> for Examples {
    /// Receipts are untrusted, so the limits apply.
    fn from(list: Vec<(String, u64)>) -> Self {
        let mut examples = Self::default();
        for (text, count) in &list {
            examples.add(&shortened(text), *count);
        }
        examples
    }
}

impl From<Examples> for Vec<(String, u64)> {
    fn from(examples: Examples) -> Self {
        examples.0.into_iter().collect()
    }
}

/// The beginning of a text, followed by `…` if there is more.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some(_) => {
            let kept = text.char_indices().nth(MOST_CHARACTERS - 1);
            let end = kept.map_or(0, |(end, _)| end);
            format!("{}…", &text[..end]).into()
        }
        None => text.into(),
    }
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

    /// Counts `text` among the examples `name`, of which only a few are kept.
    pub fn add_example(&mut self, name: &str, text: &str) {
        let empty = || Metric::Examples(Examples::default());
        if let Metric::Examples(examples) = self.0.entry(name.to_owned()).or_insert_with(empty) {
            examples.add(&shortened(text), 1);
        }
    }

    /// Adds all counts of `other`. If metrics of the same name are of different kinds, `self` wins.
    pub fn merge(&mut self, other: &Self) {
        for (name, metric) in &other.0 {
            match (self.0.get_mut(name), metric) {
                (None, metric) => drop(self.0.insert(name.clone(), metric.clone())),
                (Some(Metric::Count(sum)), Metric::Count(count)) => {
                    *sum = sum.saturating_add(*count)
                }
                (Some(Metric::Group(group)), Metric::Group(more)) => group.merge(more),
                (Some(Metric::Examples(examples)), Metric::Examples(more)) => {
                    more.0
                        .iter()
                        .for_each(|(text, count)| examples.add(text, *count));
                }
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
            _ => None,
        })
    }

    /// The nested groups by name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.0.iter().filter_map(|(name, metric)| match metric {
            Metric::Group(group) => Some((name.as_str(), group)),
            _ => None,
        })
    }

    /// The examples `name` in alphabetical order, with their counts.
    pub fn examples(&self, name: &str) -> impl Iterator<Item = (&str, u64)> {
        let examples = match self.0.get(name) {
            Some(Metric::Examples(examples)) => Some(examples),
            _ => None,
        };
        let all = examples.into_iter().flat_map(|examples| &examples.0);
        all.map(|(text, count)| (text.as_str(), *count))
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
        let add = |sum: u64, next: Option<u64>| sum.checked_add(next?);
        match self {
            Self::Count(count) => Some(*count),
            Self::Group(group) => group.0.values().map(Self::sum).try_fold(0, add),
            Self::Examples(examples) => examples
                .0
                .values()
                .map(|count| Some(*count))
                .try_fold(0, add),
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

    #[test]
    fn examples_are_bounded_and_do_not_depend_on_the_division() {
        let texts: Vec<String> = (0..600).map(|n| format!("{:03}", n * 7 % 200)).collect();
        let of = |size: usize| {
            let mut sum = Metrics::default();
            for texts in texts.chunks(size) {
                let mut one = Metrics::default();
                texts.iter().for_each(|text| one.add_example("odd", text));
                let stored = serde_json::to_string(&one).unwrap();
                sum.merge(&serde_json::from_str(&stored).unwrap());
            }
            sum
        };
        let whole = of(600);
        let found: Vec<_> = whole.examples("odd").collect();
        assert_eq!(found.len(), MOST_EXAMPLES);
        assert_eq!((found[0], found[9]), (("000", 3), ("009", 3)));
        for size in [1, 7, 50, 599] {
            assert_eq!(of(size), whole, "{size}");
        }
        assert!(whole.are_at_most(30) && !whole.are_at_most(29));
        let text = "é".repeat(MOST_CHARACTERS);
        let mut long = Metrics::default();
        long.add_example("odd", &text);
        long.add_example("odd", &format!("{text}é"));
        let lengths: Vec<_> = long
            .examples("odd")
            .map(|(text, _)| text.chars().count())
            .collect();
        assert_eq!(lengths, [MOST_CHARACTERS; 2]);
    }
}
