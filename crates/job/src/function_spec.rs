//! The function of a job: identity, settings, input roles and output columns.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The function of a job. Everything here is compared when a run resumes, except [`reference`](Self::reference).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// The kind of runner, such as `encoder`.
    pub kind: String,
    /// How the user named the function: a model folder, `bundled`, a hub name, a command.
    pub reference: String,
    /// A hash of everything that the results depend on besides `settings` and `task`.
    pub fingerprint: String,
    /// Settings of the runner, such as the precision. Only the runner reads them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// The task and its settings. Only the runner and its task read them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub task: Map<String, Value>,
    /// The input columns that the function reads, by role.
    pub inputs: Vec<Role>,
    /// Roles that the function does not read though others of its kind do, and the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
    /// The columns that the function adds to the output.
    pub output: SchemaRef,
    /// What [`Receipt::units`](crate::wire::Receipt::units) counts: `tokens`, `rows` or `bytes`.
    pub unit: String,
    /// Whether results depend on how records are grouped.
    pub determinism: Determinism,
}

/// An input column that a function reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name, such as `text` or `label`.
    pub name: String,
    /// Whether the value must be a string. Other records become dead letters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_text: bool,
    /// Whether the input must have the column. Unless the user names it, it is the only string column, or else the
    /// column with the name of the role.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_required: bool,
}

impl Role {
    /// A required column of strings.
    pub fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_text: true,
            is_required: true,
        }
    }

    /// A column of any type, read only if the user names it.
    pub fn optional(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_text: false,
            is_required: false,
        }
    }
}

/// Whether results depend on how records are grouped into batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Determinism {
    /// The same bits however records are batched, on one instruction set.
    Exact,
    /// The same batch may give the same result; another grouping may give another.
    PerBatch,
}

impl FunctionSpec {
    /// A function that reads `inputs` and adds the columns `output`, the same for every grouping of records. `version` is
    /// its fingerprint: it must change whenever the results change.
    pub fn new(kind: &str, version: &str, inputs: Vec<Role>, output: SchemaRef) -> Self {
        Self {
            kind: kind.to_owned(),
            reference: kind.to_owned(),
            fingerprint: version.to_owned(),
            settings: Map::new(),
            task: Map::new(),
            inputs,
            refused: BTreeMap::new(),
            output,
            unit: "rows".to_owned(),
            determinism: Determinism::Exact,
        }
    }

    /// The differences from `planned`. The reference may differ, because the same model may be in another folder.
    pub fn differences(&self, planned: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut differs = |what: &str, then: &str, now: &str| {
            if then != now {
                differences.push(Difference::of(format!("{what} was {then}, is {now}")));
            }
        };
        differs("the kind of function", &planned.kind, &self.kind);
        if planned.fingerprint != self.fingerprint {
            differs("the model", &planned.describe(), &self.describe());
        }
        for (then, now) in [
            (&planned.settings, &self.settings),
            (&planned.task, &self.task),
        ] {
            differences.extend(Difference::between(then, now));
        }
        if differences.is_empty()
            && (planned.output != self.output || planned.inputs != self.inputs)
        {
            let text = "the input or output columns of the function differ";
            differences.push(Difference::of(text.into()));
        }
        differences
    }

    fn describe(&self) -> String {
        // The fingerprint of a packed model may be any text.
        let start: String = self.fingerprint.chars().take(12).collect();
        format!("{} {start}", self.reference)
    }

    /// A string among the settings.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).and_then(Value::as_str)
    }

    /// A number among the settings.
    pub fn number(&self, name: &str) -> Option<usize> {
        let number = self.settings.get(name).and_then(Value::as_u64)?;
        usize::try_from(number).ok()
    }
}

/// A difference between two jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name of the parameter or setting that differs, such as `batch-size`, if it is one.
    pub parameter: Option<String>,
    /// What differs, as a phrase with both values.
    pub text: String,
}

impl Difference {
    fn of(text: String) -> Self {
        Self {
            parameter: None,
            text,
        }
    }

    /// The values that differ between two maps. Null is the same as no value.
    pub(crate) fn between(then: &Map<String, Value>, now: &Map<String, Value>) -> Vec<Self> {
        let names = then
            .keys()
            .chain(now.keys().filter(|name| !then.contains_key(*name)));
        let text = |map: &Map<String, Value>, name: &str| match map.get(name) {
            None | Some(Value::Null) => "not set".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let differences = names.filter_map(|name| {
            let (then, now) = (text(then, name), text(now, name));
            let parameter = name.replace('_', "-");
            (then != now).then(|| Self {
                text: format!("{parameter} was {then}, is {now}"),
                parameter: Some(parameter),
            })
        });
        differences.collect()
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, Schema};

    use super::*;

    /// The function of a classifier.
    pub(crate) fn classification() -> FunctionSpec {
        let fields = vec![
            Field::new("label", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
        ];
        FunctionSpec {
            kind: "encoder".into(),
            reference: "none".into(),
            fingerprint: "none".into(),
            settings: Map::from_iter([("precision".into(), "f32".into())]),
            task: Map::from_iter([("name".into(), "classify".into())]),
            inputs: vec![Role::text("text"), Role::optional("label")],
            refused: BTreeMap::new(),
            output: Arc::new(Schema::new(fields)),
            unit: "tokens".into(),
            determinism: Determinism::Exact,
        }
    }

    #[test]
    fn differences_name_each_setting() {
        let planned = classification();
        let mut now = planned.clone();
        now.reference = "elsewhere".into();
        assert!(now.differences(&planned).is_empty());
        now.settings.insert("precision".into(), "int8".into());
        now.task.insert("threshold".into(), 0.5.into());
        assert_eq!(
            now.differences(&planned),
            [
                Difference {
                    parameter: Some("precision".into()),
                    text: "precision was f32, is int8".into()
                },
                Difference {
                    parameter: Some("threshold".into()),
                    text: "threshold was not set, is 0.5".into()
                }
            ]
        );
    }

    #[test]
    fn output_columns_of_any_type_are_serialized() {
        let item = Field::new("item", DataType::Float32, false);
        let fields = vec![Field::new(
            "embedding",
            DataType::FixedSizeList(Arc::new(item), 384),
            false,
        )];
        let spec = FunctionSpec {
            output: Arc::new(Schema::new(fields)),
            ..classification()
        };
        let file = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<FunctionSpec>(&file).unwrap(), spec);
    }
}
