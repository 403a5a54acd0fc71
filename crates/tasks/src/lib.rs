//! Tasks interpret the outputs of a model.
//!
//! A [`Task`] declares the input columns that it reads and the output columns that it writes, turns the model's output
//! for each record into a row, and measures how well two models agree. To add a task, write a module like [`embed`] and
//! add it to the list below.

pub mod classify;
pub mod embed;
mod error;
mod gold;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_encoder::{Model, Purpose};
use shoal_job::{Cell, Metrics, Role};

pub use error::TaskError;

macro_rules! tasks {
    ($($(#[doc = $doc:literal])* $variant:ident: $module:ident,)*) => {
        /// A task.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(into = "&str", try_from = "String")]
        #[non_exhaustive]
        pub enum TaskKind {
            $($(#[doc = $doc])* $variant,)*
        }

        impl TaskKind {
            /// All tasks.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            fn declaration(self) -> &'static Declaration {
                match self {
                    $(Self::$variant => &$module::DECLARATION,)*
                }
            }
        }

        /// A task and the options of all tasks. An option that has no effect on the task is an error.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct TaskOptions {
            /// The task; `None` for the default of the model.
            #[serde(rename = "name", default, skip_serializing_if = "Option::is_none")]
            pub kind: Option<TaskKind>,
            $(
                #[doc = concat!("The options of `", stringify!($module), "`.")]
                #[serde(flatten)]
                pub $module: $module::Options,
            )*
        }

        impl TaskOptions {
            /// The options of `task` that are given.
            fn given(&self, task: TaskKind) -> Map<String, Value> {
                match task {
                    $(TaskKind::$variant => object(&self.$module),)*
                }
            }
        }
    };
}

tasks! {
    /// A label and its score for each text.
    Classify: classify,
    /// A vector for each text.
    Embed: embed,
}

type Opened = Result<Box<dyn Task>, TaskError>;

/// What the module of a task declares.
struct Declaration {
    name: &'static str,
    /// Its names in Hugging Face's `pipeline` and on model pages.
    aliases: &'static [&'static str],
    /// The purpose that a model is packed for.
    purpose: Purpose,
    /// The mean [agreement](Task::agreement) that `int8` needs to replace `f32`.
    sufficient_agreement: f64,
    open: fn(&Model, &TaskOptions) -> Opened,
}

/// A task of a model.
pub trait Task: Send + Sync {
    /// The kind of task.
    fn kind(&self) -> TaskKind;

    /// Everything that the results depend on besides the model and the kind of task, by name: at least the options that
    /// are given.
    fn settings(&self) -> Map<String, Value>;

    /// The input columns. The first one is the text.
    fn inputs(&self) -> Vec<Role>;

    /// Roles that this task does not read with this model, and the reason.
    fn refused(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The output columns.
    fn output(&self) -> SchemaRef;

    /// The prefix of each text.
    fn prompt(&self) -> &str {
        ""
    }

    /// A decoder for one session.
    fn decoder(&self) -> Box<dyn Decoder>;

    /// The agreement of `other` with `reference`, summed over the records: 1 for each equal record.
    fn agreement(&self, reference: &RecordBatch, other: &RecordBatch) -> f64;

    /// The name of the [agreement](Self::agreement), such as "same label".
    fn agreement_measure(&self) -> &'static str;
}

/// Turns a model's outputs into rows.
pub trait Decoder: Send {
    /// Adds the model's output for a record, with the record's input values in the order of [`Task::inputs`].
    fn push(&mut self, output: &[f32], inputs: &[Cell], metrics: &mut Metrics);

    /// The rows of all records since the last call.
    fn finish(&mut self) -> RecordBatch;
}

/// Opens the task of `options`, or the default task of `model`.
///
/// # Errors
/// The model does not support the task, or an option has no effect on it.
pub fn open(model: &Model, options: &TaskOptions) -> Result<Box<dyn Task>, TaskError> {
    let task = options.kind.unwrap_or(TaskKind::of(model.purpose()));
    options.check(task)?;
    if task.purpose() != model.purpose() {
        let reason = format!("it was packed for another task, {}", model.purpose());
        return Err(TaskError::Model { task, reason });
    }
    (task.declaration().open)(model, options)
}

impl TaskKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        self.declaration().name
    }

    /// The purpose that a model is packed for.
    pub fn purpose(self) -> Purpose {
        self.declaration().purpose
    }

    /// The mean [agreement](Task::agreement) that `int8` needs to replace `f32`.
    pub fn sufficient_agreement(self) -> f64 {
        self.declaration().sufficient_agreement
    }

    /// The default task of models that are packed for `purpose`.
    pub fn of(purpose: Purpose) -> Self {
        let mut all = Self::ALL.iter().copied();
        all.find(|kind| kind.purpose() == purpose)
            .expect("each purpose has a task")
    }
}

impl From<TaskKind> for &str {
    fn from(kind: TaskKind) -> Self {
        kind.name()
    }
}

impl TryFrom<String> for TaskKind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TaskKind {
    type Err = String;

    /// By name or by a name of Hugging Face.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_named = |kind: &&Self| {
            let Declaration { name, aliases, .. } = kind.declaration();
            *name == text || aliases.contains(&text)
        };
        Self::ALL.iter().find(is_named).copied().ok_or_else(|| {
            let names = Self::ALL.iter().map(|kind| {
                let Declaration { name, aliases, .. } = kind.declaration();
                format!("{name} ({})", aliases.join(", "))
            });
            let names: Vec<_> = names.collect();
            format!(
                "there is no task {text:?}; available tasks are {}",
                names.join(" and ")
            )
        })
    }
}

impl TaskOptions {
    /// The options of a job, from [`spec`]. Other settings are ignored.
    ///
    /// # Errors
    /// A setting has the wrong type, or the task is unknown.
    pub fn from_spec(spec: &Map<String, Value>) -> serde_json::Result<Self> {
        Self::deserialize(spec)
    }

    /// Checks that all options have an effect on `task`.
    fn check(&self, task: TaskKind) -> Result<(), TaskError> {
        let effective = self.given(task);
        let others = TaskKind::ALL.iter().flat_map(|other| self.given(*other));
        match others
            .map(|(name, _)| name)
            .find(|name| !effective.contains_key(name))
        {
            Some(name) => {
                let option = name.replace('_', "-");
                Err(TaskError::NoEffect { option, task })
            }
            None => Ok(()),
        }
    }
}

/// What a job records of `task`, for [`TaskOptions::from_spec`].
pub fn spec(task: &dyn Task) -> Map<String, Value> {
    let mut spec = task.settings();
    spec.insert("name".to_owned(), task.kind().name().into());
    spec
}

/// The fields of a struct by name.
fn object(fields: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(fields) {
        Ok(Value::Object(object)) => object,
        _ => unreachable!("a struct is a JSON object"),
    }
}
