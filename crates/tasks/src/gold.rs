//! Matches gold labels with the labels of a model.

use std::collections::HashMap;

use shoal_job::Cell;

/// Prefix of the names that Hugging Face gives to labels without one: `LABEL_0`.
const NUMBERED: &str = "label_";

/// What a record says about its gold label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gold<'a> {
    /// The record has none: null, blank, or NaN.
    Missing,
    /// A label of the model.
    Label(&'a str),
    /// No label of the model, or it is ambiguous which.
    Unknown(&'a str),
}

/// The labels of a model, for the search by gold labels.
#[derive(Debug)]
pub(crate) struct GoldLabels {
    labels: Vec<String>,
    /// By exact name; the first of equal names.
    by_name: HashMap<String, usize>,
    /// By name in lower case without surrounding spaces; `None` if several labels have it.
    by_folded_name: HashMap<String, Option<usize>>,
    /// By the bits of the number that a name is; `None` if several names are this number.
    by_number: HashMap<u64, Option<usize>>,
    /// Whether numbers are indices: no name has another number than its index.
    has_indices: bool,
}

impl GoldLabels {
    /// The labels of a model, in the order of their indices.
    pub(crate) fn new(labels: &[String]) -> Self {
        let mut this = Self {
            labels: labels.to_vec(),
            by_name: HashMap::new(),
            by_folded_name: HashMap::new(),
            by_number: HashMap::new(),
            has_indices: true,
        };
        for (index, label) in labels.iter().enumerate() {
            let folded = label.trim().to_lowercase();
            this.has_indices &= number_in(&folded).is_none_or(|number| number == Some(index));
            if let Some(bits) = number(&folded) {
                let same = this.by_number.entry(bits).or_insert(Some(index));
                *same = same.filter(|known| *known == index);
            }
            let same = this.by_folded_name.entry(folded).or_insert(Some(index));
            *same = same.filter(|known| *known == index);
            this.by_name.entry(label.clone()).or_insert(index);
        }
        this
    }

    /// The label of the model for the gold label in `cell`: by its exact name; by its name without surrounding spaces and
    /// regardless of case; by number, for names that are numbers; by index, if no name has another number: `1`, `1.0`,
    /// `LABEL_1`. Of two labels, `true` is number 1 and `false` number 0.
    pub(crate) fn find<'a>(&'a self, cell: &'a Cell) -> Gold<'a> {
        let Some(text) = cell.as_text() else {
            return Gold::Missing;
        };
        let trimmed = text.trim();
        let mut names = [text, trimmed].into_iter();
        if let Some(index) = names.find_map(|name| self.by_name.get(name)) {
            return Gold::Label(&self.labels[*index]);
        }
        let folded = trimmed.to_lowercase();
        let found = match self.by_folded_name.get(&folded) {
            Some(found) => *found,
            None if matches!(folded.as_str(), "" | "nan") => return Gold::Missing,
            None => self.by_value(&folded),
        };
        found.map_or(Gold::Unknown(trimmed), |index| {
            Gold::Label(&self.labels[index])
        })
    }

    fn by_value(&self, folded: &str) -> Option<usize> {
        let value = match folded {
            "true" if self.labels.len() == 2 => "1",
            "false" if self.labels.len() == 2 => "0",
            other => other,
        };
        let bits = number(value);
        if let Some(found) = bits.and_then(|bits| self.by_number.get(&bits)) {
            return *found;
        }
        if !self.has_indices {
            return None;
        }
        let index = match value.strip_prefix(NUMBERED) {
            Some(digits) => digits.parse().ok()?,
            None => {
                let number = f64::from_bits(bits?);
                let is_index = number.fract() == 0.0 && number >= 0.0;
                is_index.then_some(number as usize)?
            }
        };
        (index < self.labels.len()).then_some(index)
    }
}

/// The bits of the number that a text is. Equal numbers have equal bits.
fn number(text: &str) -> Option<u64> {
    let number: f64 = text.parse().ok()?;
    // The sum turns a negative zero into zero.
    number.is_finite().then_some((number + 0.0).to_bits())
}

/// The number at the start of a name in lower case, or after [`NUMBERED`]: `Some(None)` if it is too large or negative.
fn number_in(name: &str) -> Option<Option<usize>> {
    let rest = name.strip_prefix(NUMBERED).unwrap_or(name);
    let unsigned = rest.trim_start_matches(['-', '+']);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| match rest.starts_with('-') {
        true => None,
        false => unsigned[..digits].parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The label found for each text, or `?` for unknown and `-` for missing labels.
    fn find(labels: &[&str], texts: &[&str]) -> Vec<String> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let gold = GoldLabels::new(&labels);
        let name = |text: &&str| match gold.find(&Cell::Text((*text).to_owned())) {
            Gold::Missing => "-".to_owned(),
            Gold::Label(label) => label.to_owned(),
            Gold::Unknown(_) => "?".to_owned(),
        };
        texts.iter().map(name).collect()
    }

    const SENTIMENT: [&str; 2] = ["NEGATIVE", "POSITIVE"];

    #[test]
    fn names_match_regardless_of_case_and_spaces() {
        let texts = [
            "POSITIVE",
            "positive",
            " Positive\t",
            "negative ",
            "pos",
            "positives",
        ];
        let expected = ["POSITIVE", "POSITIVE", "POSITIVE", "NEGATIVE", "?", "?"];
        assert_eq!(find(&SENTIMENT, &texts), expected);
        assert_eq!(
            find(&["ÄRGER", " Freude"], &["ärger", "freude"]),
            ["ÄRGER", " Freude"]
        );
    }

    #[test]
    fn an_exact_name_precedes_similar_ones() {
        let labels = ["us", "US", "1"];
        assert_eq!(
            find(&labels, &["US", "us ", "Us", "1"]),
            ["US", "us", "?", "1"]
        );
    }

    #[test]
    fn whole_numbers_are_indices() {
        let texts = [
            "1", "0", "1.0", " 0.0", "-0.0", "1e0", "+1", "LABEL_1", "label_0",
        ];
        let expected = [1, 0, 1, 0, 0, 1, 1, 1, 0].map(|index| SENTIMENT[index]);
        assert_eq!(find(&SENTIMENT, &texts), expected);
        let texts = [
            "2", "-1", "0.5", "inf", "1e300", "LABEL_2", "LABEL_", "LABEL_x", "0x1",
        ];
        assert_eq!(find(&SENTIMENT, &texts), ["?"; 9]);
        let default = ["LABEL_0", "LABEL_1", "LABEL_2"];
        assert_eq!(
            find(&default, &["2", "label_1", "0.0"]),
            ["LABEL_2", "LABEL_1", "LABEL_0"]
        );
    }

    #[test]
    fn names_that_are_numbers_precede_indices() {
        assert_eq!(
            find(&["1", "2", "3"], &["1", "3.0", "0", "LABEL_0"]),
            ["1", "3", "?", "?"]
        );
        assert_eq!(
            find(&["-1", "0", "1"], &["1.0", "-1", "0", "2"]),
            ["1", "-1", "0", "?"]
        );
        assert_eq!(find(&["0", "1"], &["true", "0.0"]), ["1", "0"]);
        assert_eq!(find(&["1.0", "1.00"], &["1"]), ["?"]);
        // Is 1 an index, or a number of stars?
        assert_eq!(
            find(&["1 star", "2 stars"], &["1", "1 Star"]),
            ["?", "1 star"]
        );
        assert_eq!(find(&["0 stars", "1 star"], &["1"]), ["1 star"]);
    }

    #[test]
    fn booleans_are_two_labels() {
        let texts = ["true", "False", "TRUE", "yes"];
        assert_eq!(
            find(&SENTIMENT, &texts),
            ["POSITIVE", "NEGATIVE", "POSITIVE", "?"]
        );
        assert_eq!(find(&["a", "b", "c"], &["true"]), ["?"]);
        assert_eq!(
            find(&["True", "False"], &["true", "false", "1"]),
            ["True", "False", "False"]
        );
    }

    #[test]
    fn missing_labels_are_not_unknown() {
        assert_eq!(find(&SENTIMENT, &["", "  ", "NaN", "nan"]), ["-"; 4]);
        assert_eq!(find(&["nan", "bread"], &["NaN"]), ["nan"]);
        assert_eq!(GoldLabels::new(&[]).find(&Cell::Null), Gold::Missing);
    }
}
