//! Which columns a source has, and which of them hold the text, the id and the gold label.

use std::collections::HashMap;

use arrow_schema::DataType;

use crate::column::Column;
use crate::record::Cell;
use crate::spec::{Columns, Parameters};
use crate::{Error, Result};

/// The columns of a source, as far as its head tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schema {
    pub(crate) columns: Vec<Known>,
}

/// A column of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) name: String,
    /// Whether its values are strings rather than numbers or booleans.
    pub(crate) is_text: bool,
    pub(crate) data_type: DataType,
}

impl Schema {
    fn get(&self, name: &str) -> Option<&Known> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column `name`, or an error that lists what there is.
    fn need(&self, name: &str, flag: &str, place: &str) -> Result<&Known> {
        self.get(name).ok_or_else(|| {
            Error::input(
                place,
                format!(
                    "there is no column {name:?} ({flag}); its columns are {}",
                    self.names()
                ),
            )
        })
    }

    fn names(&self) -> String {
        const SHOWN: usize = 30;
        let mut names: Vec<_> = self
            .columns
            .iter()
            .take(SHOWN)
            .map(|column| column.name.as_str())
            .collect();
        if self.columns.len() > SHOWN {
            names.push("…");
        }
        names.join(", ")
    }

    /// Which column is what, by the parameters and the defaults of `shoal run`.
    pub(crate) fn resolve(&self, parameters: &Parameters, place: &str) -> Result<Columns> {
        let id = match &parameters.id_column {
            Some(name) => Some(self.need(name, "--id-column", place)?),
            None => self.get("id"),
        };
        let gold = match &parameters.label_column {
            Some(name) => Some(self.need(name, "--label-column", place)?),
            None => None,
        };
        let kept = parameters
            .keep_columns
            .iter()
            .map(|name| self.need(name, "--keep-columns", place))
            .collect::<Result<Vec<_>>>()?;
        let text = match &parameters.text_column {
            Some(name) => self.need(name, "--text-column", place)?,
            None => {
                let others = [id, gold];
                let mut texts = self.columns.iter().filter(|column| {
                    column.is_text && !others.contains(&Some(column)) && !kept.contains(column)
                });
                match (texts.next(), texts.next()) {
                    (Some(only), None) => only,
                    _ => self.get("text").ok_or_else(|| {
                        Error::input(
                            place,
                            format!(
                                "it does not tell which column holds the text; say --text-column, one of {}",
                                self.names()
                            ),
                        )
                    })?,
                }
            }
        };
        Ok(Columns {
            text: text.name.clone(),
            id: id.map(|known| Column {
                source: known.name.clone(),
                name: "id".into(),
                data_type: known.data_type.clone(),
            }),
            gold: gold.map(|known| known.name.clone()),
            kept: output_names(&kept, parameters)?,
        })
    }

    /// Whether a further source has the columns that the first one gave.
    pub(crate) fn check(&self, columns: &Columns, place: &str) -> Result<()> {
        self.need(&columns.text, "the text column", place)?;
        if let Some(id) = &columns.id {
            self.need(&id.source, "the id column", place)?;
        }
        if let Some(gold) = &columns.gold {
            self.need(gold, "--label-column", place)?;
        }
        for kept in &columns.kept {
            self.need(&kept.source, "--keep-columns", place)?;
        }
        Ok(())
    }

    /// Widens the types of `columns` so that this source's values fit too.
    pub(crate) fn widen(&self, columns: &mut Columns) {
        for column in columns.id.iter_mut().chain(&mut columns.kept) {
            if self
                .get(&column.source)
                .is_some_and(|known| known.data_type != column.data_type)
            {
                column.data_type = DataType::Utf8;
            }
        }
    }
}

/// Kept columns keep their names, unless the output uses the name itself.
fn output_names(kept: &[&Known], parameters: &Parameters) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(kept.len());
    for known in kept {
        let taken = matches!(known.name.as_str(), "id" | "label" | "score")
            || (parameters.scores && known.name.starts_with("score_"));
        let name = if taken {
            format!("input_{}", known.name)
        } else {
            known.name.clone()
        };
        if columns.iter().any(|column| column.name == name) {
            return Err(Error::Parameter(format!(
                "--keep-columns names {name:?} twice; name each column once"
            )));
        }
        columns.push(Column {
            source: known.name.clone(),
            name,
            data_type: known.data_type.clone(),
        });
    }
    Ok(columns)
}

/// Collects what sampled rows tell of columns of text formats.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    columns: Vec<(String, Seen)>,
    /// Where a column is: a file may have a hundred thousand of them.
    places: HashMap<String, usize>,
}

#[derive(Debug, Default)]
struct Seen {
    texts: u32,
    others: u32,
}

impl Sample {
    pub(crate) fn with_columns(names: &[String]) -> Self {
        let mut sample = Self::default();
        // Columns without a name may be several.
        for (place, name) in names.iter().enumerate() {
            sample.columns.push((name.clone(), Seen::default()));
            sample.places.entry(name.clone()).or_insert(place);
        }
        sample
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.columns.len();
        self.columns.push((name.to_owned(), Seen::default()));
        self.places.insert(name.to_owned(), place);
        place
    }

    /// Notes a value of the column `name`.
    pub(crate) fn see(&mut self, name: &str, value: &Cell) {
        let index = self.place(name);
        let seen = &mut self.columns[index].1;
        match value {
            Cell::Null => {}
            Cell::Text(_) => seen.texts += 1,
            Cell::Json(_) => seen.others += 1,
        }
    }

    /// `mixed_is_text`: whether a column with some strings among other values counts as one of strings, as it does
    /// where a format has no types.
    pub(crate) fn schema(self, mixed_is_text: bool) -> Schema {
        let columns = self
            .columns
            .into_iter()
            .map(|(name, seen)| Known {
                name,
                is_text: (seen.texts > 0 && (mixed_is_text || seen.others == 0))
                    || (mixed_is_text && seen.others == 0),
                data_type: DataType::Utf8,
            })
            .collect();
        Schema { columns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, bool)]) -> Schema {
        let columns = columns
            .iter()
            .map(|(name, is_text)| Known {
                name: (*name).into(),
                is_text: *is_text,
                data_type: DataType::Utf8,
            })
            .collect();
        Schema { columns }
    }

    #[test]
    fn the_only_string_column_is_the_text() {
        let found = schema(&[("id", true), ("stars", false), ("review", true)]);
        let columns = found.resolve(&Parameters::default(), "f").unwrap();
        assert_eq!(columns.text, "review");
        assert_eq!(columns.id.unwrap().source, "id");
    }

    #[test]
    fn among_several_string_columns_text_wins_or_the_user_must_say() {
        let found = schema(&[("title", true), ("text", true)]);
        assert_eq!(
            found.resolve(&Parameters::default(), "f").unwrap().text,
            "text"
        );
        let found = schema(&[("title", true), ("body", true)]);
        let error = found.resolve(&Parameters::default(), "f").unwrap_err();
        assert!(error.to_string().contains("title, body"), "{error}");
        let gold = Parameters {
            label_column: Some("title".into()),
            ..Parameters::default()
        };
        assert_eq!(found.resolve(&gold, "f").unwrap().text, "body");
    }

    #[test]
    fn a_kept_column_that_collides_is_renamed() {
        let found = schema(&[("text", true), ("label", true)]);
        let parameters = Parameters {
            keep_columns: vec!["label".into()],
            text_column: Some("text".into()),
            ..Parameters::default()
        };
        assert_eq!(
            found.resolve(&parameters, "f").unwrap().kept[0].name,
            "input_label"
        );
    }

    #[test]
    fn a_missing_column_is_named_with_those_there_are() {
        let parameters = Parameters {
            text_column: Some("body".into()),
            ..Parameters::default()
        };
        let error = schema(&[("a", true)])
            .resolve(&parameters, "x.csv")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read input x.csv: there is no column \"body\" (--text-column); its columns are a"
        );
    }
}
