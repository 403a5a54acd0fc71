//! The columns of a source, and their roles in a job.

use std::collections::BTreeMap;

use arrow_schema::DataType;

use super::path;
use crate::column::{Column, ERROR};
use crate::record::Cell;
use crate::spec::{Columns, InputColumn, Parameters, Partition};
use crate::types::widen;
use crate::{Error, FunctionSpec, Result, Role};

/// The columns of a source, as far as its head shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schema {
    pub(super) columns: Vec<SourceColumn>,
    /// Whether the format has typed columns.
    pub(super) is_typed: bool,
    /// Whether there may be more columns.
    pub(super) is_partial: bool,
}

/// A column of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    /// Whether its values are strings rather than numbers or booleans.
    pub(super) is_text: bool,
    /// Its type in the source.
    pub(super) source_type: DataType,
    /// Its type in typed outputs.
    pub(super) data_type: DataType,
    /// The metadata of its extension type.
    pub(super) extension: BTreeMap<String, String>,
    /// Its value, if the column is in the path of the source.
    pub(super) partition: Option<Partition>,
    pub(super) inside: Inside,
}

impl SourceColumn {
    /// A column of a source without types.
    pub(super) fn untyped(name: String, is_text: bool, data_type: DataType) -> Self {
        Self {
            name,
            is_text,
            source_type: data_type.clone(),
            data_type,
            extension: BTreeMap::new(),
            partition: None,
            inside: Inside::default(),
        }
    }
}

/// What a nested column contains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Inside {
    pub(super) fields: Vec<SourceColumn>,
    /// The items of a list.
    pub(super) item: Option<Box<SourceColumn>>,
    /// Whether there may be more.
    pub(super) is_partial: bool,
}

impl Schema {
    /// Columns of a source without types, and whether they are strings. `Null` as `data_type` stands for types that are not
    /// known before all values are read.
    pub(super) fn untyped(
        columns: impl IntoIterator<Item = (String, bool)>,
        data_type: &DataType,
    ) -> Self {
        let columns = columns
            .into_iter()
            .map(|(name, is_text)| SourceColumn::untyped(name, is_text, data_type.clone()));
        Self {
            columns: columns.collect(),
            is_typed: false,
            is_partial: false,
        }
    }

    /// Adds the columns in the path of the source. Columns of the source have precedence.
    pub(crate) fn add_partitions(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if self.get(&partition.name).is_none() {
                self.columns.push(SourceColumn {
                    partition: Some(partition.clone()),
                    ..SourceColumn::untyped(partition.name.clone(), true, DataType::Utf8)
                });
            }
        }
    }

    /// The columns in the path of the source that are not in the source.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        let partitions = self.columns.iter();
        partitions
            .filter_map(|column| column.partition.clone())
            .collect()
    }

    fn get(&self, name: &str) -> Option<&SourceColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column `name`, which may be the [path](super::path) of a nested one, or what there is instead.
    fn find(&self, name: &str) -> Result<SourceColumn, String> {
        let level = Level {
            fields: &self.columns,
            item: None,
            is_partial: self.is_partial,
        };
        level.find(name)
    }

    /// Fails if two columns are called `name`. Columns that are not used may have the same name.
    fn check_unique(&self, name: &str, place: &str) -> Result<()> {
        let columns = self.columns.iter().filter(|column| column.name == name);
        if columns.count() < 2 {
            return Ok(());
        }
        let reason =
            format!("two columns are called {name:?}, and one is needed; rename one of them");
        Err(Error::input(place, reason))
    }

    /// The column `name`, or an error that lists the columns. `purpose` completes "there is no column … for".
    fn need(&self, name: &str, purpose: &str, place: &str) -> Result<SourceColumn> {
        let outermost = match self.get(name) {
            Some(_) => name,
            None => path::split(name).0,
        };
        self.check_unique(outermost, place)?;
        self.find(name).map_err(|there_is| {
            let reason = format!("there is no column {name:?} for {purpose}; {there_is}");
            Error::input(place, reason).adjustable(match purpose {
                KEPT => "keep-columns".into(),
                purpose => format!("{}-column", purpose.trim_start_matches("the ")),
            })
        })
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
            let reason = match function.refused.get(role) {
                Some(reason) => reason.clone(),
                None => format!("this function reads {}", roles.join(", ")),
            };
            let error = Error::Parameter(format!("failed to use the {role} column: {reason}"));
            return Err(error.adjustable(format!("{role}-column")));
        }
        let id = match &parameters.id_column {
            Some(name) => Some(self.need(name, ID, place)?),
            None => {
                self.check_unique("id", place)?;
                self.get("id").filter(|id| id.partition.is_none()).cloned()
            }
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
            let (role, None) = &inputs[index] else {
                continue;
            };
            if role.is_required {
                let used = inputs.iter().filter_map(|(_, found)| found.as_ref());
                let used: Vec<_> = used.chain(&id).chain(&kept).collect();
                inputs[index].1 = Some(self.guess(role, &used, place)?);
            }
        }
        Ok(Columns {
            inputs: inputs
                .into_iter()
                .map(|(role, found)| InputColumn {
                    role: role.clone(),
                    source: found.map(|known| known.name),
                })
                .collect(),
            id: id.map(|known| Column {
                source: known.name,
                name: "id".into(),
                data_type: known.data_type,
                extension: known.extension,
            }),
            kept: output_names(&kept, function, parameters.error_column)?,
            partitions: Vec::new(),
        })
    }

    /// The column of a required role that the user did not name: the only string column that is not `used`, or else the one
    /// with the name of the role.
    fn guess(&self, role: &Role, used: &[&SourceColumn], place: &str) -> Result<SourceColumn> {
        let mut candidates = self
            .columns
            .iter()
            .filter(|column| (column.is_text || !role.is_text) && !used.contains(column))
            .filter(|column| column.partition.is_none());
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => {
                self.check_unique(&only.name, place)?;
                Ok(only.clone())
            }
            _ => self.get(&role.name).cloned().ok_or_else(|| {
                let (role, names) = (&role.name, names(&self.columns));
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
            // A column without values may have the type `Null`.
            let is_text = column.is_text || column.source_type == DataType::Null;
            if self.is_typed && input.role.is_text && !is_text {
                let reason = format!(
                    "column {name:?} has type {}, not strings; name {} for the {}",
                    column.source_type,
                    column.inside.instead(name),
                    input.role.name
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

/// The columns or fields from which the rest of a path starts.
#[derive(Clone, Copy)]
struct Level<'a> {
    fields: &'a [SourceColumn],
    item: Option<&'a SourceColumn>,
    is_partial: bool,
}

impl<'a> Level<'a> {
    fn of(inside: &'a Inside) -> Self {
        Self {
            fields: &inside.fields,
            item: inside.item.as_deref(),
            is_partial: inside.is_partial,
        }
    }

    /// The column at the end of `path`, called like it, or what there is instead.
    fn find(self, path: &str) -> Result<SourceColumn, String> {
        let (mut level, mut rest) = (self, path);
        loop {
            let named = |name: &str| level.fields.iter().find(|field| field.name == name);
            let (first, after) = path::split(rest);
            let next = match (named(rest), after) {
                (Some(whole), _) => Some((whole, None)),
                (None, after) => match path::index(first).and(level.item) {
                    Some(item) => Some((item, after)),
                    None => named(first)
                        .filter(|_| after.is_some())
                        .map(|one| (one, after)),
                },
            };
            match next {
                Some((column, None)) => {
                    return Ok(SourceColumn {
                        name: path.to_owned(),
                        ..column.clone()
                    });
                }
                Some((column, Some(after))) => {
                    level = Level::of(&column.inside);
                    rest = after;
                }
                None if level.is_partial => {
                    return Ok(SourceColumn::untyped(path.to_owned(), true, DataType::Null));
                }
                None => {
                    return Err(
                        level.describe(path[..path.len() - rest.len()].trim_end_matches('.'))
                    );
                }
            }
        }
    }

    /// What is at the level of `path`, which is empty for the columns.
    fn describe(self, path: &str) -> String {
        match self.item {
            _ if path.is_empty() => format!("its columns are {}", names(self.fields)),
            Some(_) => format!("{path:?} is a list, whose items are {path}.0, {path}.1 and so on"),
            None if self.fields.is_empty() => format!("{path:?} has no fields"),
            None => format!("the fields of {path:?} are {}", names(self.fields)),
        }
    }
}

impl Inside {
    /// What to name instead of the nested column `name` if strings are needed.
    fn instead(&self, name: &str) -> String {
        let text = self.fields.iter().find(|field| field.is_text);
        match (text, &self.item) {
            (Some(field), _) => format!("a field, such as {name}.{},", field.name),
            (None, Some(_)) => format!("an item, such as {name}.0,"),
            (None, None) => "another column".to_owned(),
        }
    }
}

fn names(columns: &[SourceColumn]) -> String {
    const SHOWN: usize = 30;
    let shown = columns.iter().take(SHOWN);
    let mut names: Vec<_> = shown.map(|column| column.name.as_str()).collect();
    if columns.len() > SHOWN {
        names.push("…");
    }
    names.join(", ")
}

/// Resolves the columns of a job from those of its sources.
pub(crate) struct Resolver<'a> {
    function: &'a FunctionSpec,
    parameters: &'a Parameters,
    columns: Option<Columns>,
    /// Whether all sources so far have typed columns.
    is_typed: bool,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(function: &'a FunctionSpec, parameters: &'a Parameters) -> Self {
        Self {
            function,
            parameters,
            columns: None,
            is_typed: true,
        }
    }

    /// Takes the columns from the first source, and checks those of the others.
    pub(crate) fn add(&mut self, schema: &Schema, place: &str) -> Result<()> {
        let columns = match &mut self.columns {
            Some(columns) => columns,
            first => first.insert(schema.resolve(self.function, self.parameters, place)?),
        };
        schema.check(columns, place)?;
        self.is_typed &= schema.is_typed;
        for column in columns.id.iter_mut().chain(&mut columns.kept) {
            if let Ok(found) = schema.find(&column.source) {
                if column.data_type == DataType::Null {
                    column.extension = found.extension.clone();
                } else if found.data_type != DataType::Null && column.extension != found.extension {
                    column.extension.clear();
                }
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
            if column.data_type == DataType::Null && !self.is_typed {
                column.data_type = DataType::Utf8;
            }
        }
        Ok(columns)
    }
}

const ID: &str = "the id";
const KEPT: &str = "the columns to keep";

fn purpose(role: &Role) -> String {
    format!("the {}", role.name)
}

/// The output columns for kept ones. Names that the output has already get a prefix.
fn output_names(
    kept: &[SourceColumn],
    function: &FunctionSpec,
    has_errors: bool,
) -> Result<Vec<Column>> {
    if has_errors && function.output.index_of(ERROR).is_ok() {
        return Err(Error::Parameter(format!(
            "failed to keep bad records in the output: the function has a column {ERROR:?} of its own"
        ))
        .adjustable("on-error"));
    }
    let mut columns: Vec<Column> = Vec::with_capacity(kept.len());
    for known in kept {
        let is_taken = known.name == "id"
            || (has_errors && known.name == ERROR)
            || function.output.index_of(&known.name).is_ok();
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
            extension: known.extension.clone(),
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
