//! The columns of a source, and their roles in a job.

use arrow_schema::DataType;

use crate::column::Column;
use crate::record::Cell;
use crate::spec::{Columns, InputColumn, Parameters};
use crate::{Error, FunctionSpec, Result, Role};

/// The columns of a source, as far as its head shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schema {
    pub(super) columns: Vec<SourceColumn>,
    /// Whether the format has typed columns.
    pub(super) is_typed: bool,
}

/// A column of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    /// Whether its values are strings rather than numbers or booleans.
    pub(super) is_text: bool,
    pub(super) data_type: DataType,
}

impl Schema {
    /// Columns of a source without types, and whether they are strings. `Null` as `data_type` stands for types that are not
    /// known before all values are read.
    pub(super) fn untyped(
        columns: impl IntoIterator<Item = (String, bool)>,
        data_type: &DataType,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, is_text)| SourceColumn {
            name,
            is_text,
            data_type: data_type.clone(),
        });
        Self {
            columns: columns.collect(),
            is_typed: false,
        }
    }

    fn get(&self, name: &str) -> Option<&SourceColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column `name`, if there is one. Columns that are not used may have the same name.
    fn only(&self, name: &str, place: &str) -> Result<Option<&SourceColumn>> {
        let mut columns = self.columns.iter().filter(|column| column.name == name);
        let first = columns.next();
        match columns.next() {
            None => Ok(first),
            Some(_) => {
                let reason = format!(
                    "two columns are called {name:?}, and one is needed; rename one of them"
                );
                Err(Error::input(place, reason))
            }
        }
    }

    /// The column `name`, or an error that lists the columns. `purpose` completes "there is no column … for".
    fn need(&self, name: &str, purpose: &str, place: &str) -> Result<&SourceColumn> {
        self.only(name, place)?.ok_or_else(|| {
            let names = self.names();
            let reason =
                format!("there is no column {name:?} for {purpose}; its columns are {names}");
            Error::input(place, reason).adjustable(match purpose {
                KEPT => "keep-columns".into(),
                purpose => format!("{}-column", purpose.trim_start_matches("the ")),
            })
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

    /// Resolves the columns of a job from the parameters and defaults.
    fn resolve(
        &self,
        function: &FunctionSpec,
        parameters: &Parameters,
        place: &str,
    ) -> Result<Columns> {
        let roles: Vec<_> = function
            .inputs
            .iter()
            .map(|role| role.name.as_str())
            .collect();
        if let Some(role) = parameters
            .columns
            .keys()
            .find(|role| !roles.contains(&role.as_str()))
        {
            return Err(Error::Parameter(format!(
                "failed to use the {role} column: this function reads {}",
                roles.join(", ")
            )));
        }
        let id = match &parameters.id_column {
            Some(name) => Some(self.need(name, ID, place)?),
            None => self.only("id", place)?,
        };
        let kept = parameters
            .keep_columns
            .iter()
            .map(|name| self.need(name, KEPT, place))
            .collect::<Result<Vec<_>>>()?;
        let mut inputs = function
            .inputs
            .iter()
            .map(|role| {
                let name = parameters.columns.get(&role.name);
                let found = name.map(|name| self.need(name, &purpose(role), place));
                Ok((role, found.transpose()?))
            })
            .collect::<Result<Vec<_>>>()?;
        for index in 0..inputs.len() {
            let (role, None) = inputs[index] else {
                continue;
            };
            if role.is_required {
                let used = inputs.iter().filter_map(|(_, found)| *found);
                let used: Vec<_> = used.chain(id).chain(kept.iter().copied()).collect();
                inputs[index].1 = Some(self.guess(role, &used, place)?);
            }
        }
        Ok(Columns {
            inputs: inputs
                .into_iter()
                .map(|(role, found)| InputColumn {
                    role: role.clone(),
                    source: found.map(|known| known.name.clone()),
                })
                .collect(),
            id: id.map(|known| Column {
                source: known.name.clone(),
                name: "id".into(),
                data_type: known.data_type.clone(),
            }),
            kept: output_names(&kept, function)?,
        })
    }

    /// The column of a required role that the user did not name: the only string column that is not `used`, or else the one
    /// with the name of the role.
    fn guess(&self, role: &Role, used: &[&SourceColumn], place: &str) -> Result<&SourceColumn> {
        let mut candidates = self
            .columns
            .iter()
            .filter(|column| (column.is_text || !role.is_text) && !used.contains(column));
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => {
                let only = self.only(&only.name, place)?;
                Ok(only.expect("the candidate has this name"))
            }
            _ => self.only(&role.name, place)?.ok_or_else(|| {
                let (role, names) = (&role.name, self.names());
                let reason = format!(
                    "which column is the {role} is ambiguous; name the {role} column, one of {names}"
                );
                Error::input(place, reason).adjustable(format!("{role}-column"))
            }),
        }
    }

    /// Checks that a source has the columns of the job, and strings for string roles if its columns have types.
    fn check(&self, columns: &Columns, place: &str) -> Result<()> {
        for input in &columns.inputs {
            let Some(name) = &input.source else {
                continue;
            };
            let column = self.need(name, &purpose(&input.role), place)?;
            if self.is_typed && input.role.is_text && !column.is_text {
                let reason = format!(
                    "column {name:?} has type {}, not strings; name another column for the {}",
                    column.data_type, input.role.name
                );
                return Err(Error::input(place, reason));
            }
        }
        if let Some(id) = &columns.id {
            self.need(&id.source, ID, place)?;
        }
        for kept in &columns.kept {
            self.need(&kept.source, KEPT, place)?;
        }
        Ok(())
    }
}

/// Resolves the columns of a job from those of its sources.
pub(crate) struct Resolver<'a> {
    function: &'a FunctionSpec,
    parameters: &'a Parameters,
    columns: Option<Columns>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(function: &'a FunctionSpec, parameters: &'a Parameters) -> Self {
        Self {
            function,
            parameters,
            columns: None,
        }
    }

    /// Takes the columns from the first source, and checks those of the others.
    pub(crate) fn add(&mut self, schema: &Schema, place: &str) -> Result<()> {
        let columns = match &mut self.columns {
            Some(columns) => columns,
            first => first.insert(schema.resolve(self.function, self.parameters, place)?),
        };
        schema.check(columns, place)?;
        for column in columns.id.iter_mut().chain(&mut columns.kept) {
            if let Some(found) = schema.get(&column.source) {
                widen(&mut column.data_type, &found.data_type);
            }
        }
        Ok(())
    }

    /// The columns of the sources so far.
    pub(crate) fn get(&mut self) -> Option<&mut Columns> {
        self.columns.as_mut()
    }

    /// The columns of all sources, called `place`.
    ///
    /// # Errors
    /// The sources have no records.
    pub(crate) fn finish(self, place: &str) -> Result<Columns> {
        let mut columns = self
            .columns
            .ok_or_else(|| Error::input(place, "there are no records in it"))?;
        for column in columns.id.iter_mut().chain(&mut columns.kept) {
            // A column without values.
            if column.data_type == DataType::Null {
                column.data_type = DataType::Utf8;
            }
        }
        Ok(columns)
    }
}

/// Widens a type so that values of another fit too. `Null` is the type of a column without values so far.
pub(super) fn widen(known: &mut DataType, other: &DataType) {
    if *known == DataType::Null {
        *known = other.clone();
    } else if *other != DataType::Null && known != other {
        *known = DataType::Utf8;
    }
}

const ID: &str = "the id";
const KEPT: &str = "the columns to keep";

fn purpose(role: &Role) -> String {
    format!("the {}", role.name)
}

/// The output columns for kept ones. Names that the output has already get a prefix.
fn output_names(kept: &[&SourceColumn], function: &FunctionSpec) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::with_capacity(kept.len());
    for known in kept {
        let is_taken = known.name == "id" || function.output.index_of(&known.name).is_ok();
        let name = if is_taken {
            format!("input_{}", known.name)
        } else {
            known.name.clone()
        };
        if columns.iter().any(|column| column.name == name) {
            return Err(Error::Parameter(format!(
                "the columns to keep name {name:?} twice; name each column once"
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

/// The values of a column in the head of a source without types.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) texts: bool,
    pub(super) others: bool,
}

impl Seen {
    pub(super) fn see(&mut self, value: &Cell) {
        self.texts |= matches!(value, Cell::Text(_));
        self.others |= matches!(value, Cell::Json(_));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(columns: &[(&str, bool)]) -> Schema {
        let columns = columns
            .iter()
            .map(|(name, is_text)| ((*name).to_owned(), *is_text));
        Schema::untyped(columns, &DataType::Utf8)
    }

    /// The function of a classifier.
    fn function() -> FunctionSpec {
        crate::function_spec::tests::classification()
    }

    fn named(role: &str, column: &str) -> Parameters {
        Parameters {
            columns: [(role.to_owned(), column.to_owned())].into(),
            ..Parameters::default()
        }
    }

    #[test]
    fn the_only_string_column_is_the_text() {
        let found = schema(&[("id", true), ("stars", false), ("review", true)]);
        let columns = found
            .resolve(&function(), &Parameters::default(), "f")
            .unwrap();
        assert_eq!(columns.input("text"), Some("review"));
        assert_eq!(columns.input("label"), None);
        assert_eq!(columns.id.unwrap().source, "id");
    }

    #[test]
    fn text_is_chosen_among_several_string_columns() {
        let resolve = |columns: &[(&str, bool)], parameters: &Parameters| {
            schema(columns).resolve(&function(), parameters, "f")
        };
        let found = resolve(&[("title", true), ("text", true)], &Parameters::default()).unwrap();
        assert_eq!(found.input("text"), Some("text"));
        let columns = [("title", true), ("body", true)];
        let error = resolve(&columns, &Parameters::default()).unwrap_err();
        assert!(error.to_string().contains("title, body"), "{error}");
        let found = resolve(&columns, &named("label", "title")).unwrap();
        assert_eq!(found.input("text"), Some("body"));
    }

    #[test]
    fn a_colliding_kept_column_is_renamed() {
        let found = schema(&[("text", true), ("label", true)]);
        let parameters = Parameters {
            keep_columns: vec!["label".into()],
            ..named("text", "text")
        };
        let columns = found.resolve(&function(), &parameters, "f").unwrap();
        assert_eq!(columns.kept[0].name, "input_label");
    }

    #[test]
    fn the_error_for_a_missing_column_lists_the_columns() {
        let error = schema(&[("a", true)])
            .resolve(&function(), &named("text", "body"), "x.csv")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read input x.csv: there is no column \"body\" for the text; its columns are a"
        );
    }

    #[test]
    fn unknown_roles_are_refused() {
        let error = schema(&[("a", true)])
            .resolve(&function(), &named("query", "a"), "x.csv")
            .unwrap_err();
        assert!(error.to_string().contains("text, label"), "{error}");
    }
}
