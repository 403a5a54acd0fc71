//! The options of tasks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shoal_encoder::Purpose;

/// A task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&str", try_from = "String")]
#[non_exhaustive]
pub enum TaskKind {
    /// A label and its score for each text.
    Classify,
    /// A vector for each text.
    Embed,
}

impl TaskKind {
    /// All tasks.
    pub const ALL: [Self; 2] = [Self::Classify, Self::Embed];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Embed => "embed",
        }
    }

    /// The purpose that a model is packed for.
    pub fn purpose(self) -> Purpose {
        match self {
            Self::Classify => Purpose::Classify,
            Self::Embed => Purpose::Embed,
        }
    }

    /// The mean [agreement](crate::Task::agreement) that `int8` needs to replace `f32`.
    pub fn sufficient_agreement(self) -> f64 {
        match self {
            Self::Classify => 0.99,
            Self::Embed => 0.995,
        }
    }

    /// The task of models that are packed for `purpose`, where no other one is asked for.
    pub fn of(purpose: Purpose) -> Self {
        let found = Self::ALL.into_iter().find(|kind| kind.purpose() == purpose);
        found.expect("each purpose has a task")
    }

    /// Its names in Hugging Face's `pipeline` and on model pages.
    fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::Classify => &["text-classification", "sentiment-analysis"],
            Self::Embed => &["feature-extraction", "sentence-similarity"],
        }
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

    fn from_str(text: &str) -> Result<Self, String> {
        let is_named = |kind: &Self| kind.name() == text || kind.aliases().contains(&text);
        Self::ALL.into_iter().find(is_named).ok_or_else(|| {
            let names =
                Self::ALL.map(|kind| format!("{} ({})", kind.name(), kind.aliases().join(", ")));
            format!(
                "there is no task {text:?}; available tasks are {}",
                names.join(" and ")
            )
        })
    }
}

/// A task and its options. An option that has no effect on the task is an error.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskOptions {
    /// The task; `None` for the default of the model.
    #[serde(rename = "name", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TaskKind>,
    /// `classify`: whether to write the probability of each label.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scores: bool,
    /// `classify`: the minimum probability of the labels of a multi-label model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    /// `embed`: the prefix of each text; an empty prompt disables the model's default prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `embed`: the name of a prompt of the model. A job records the prompt itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_name: Option<String>,
    /// `embed`: truncate vectors to this number of dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// `embed`: normalize vectors to length 1, after truncation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub normalize: bool,
}

/// An error of a task or its options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The model does not support the task.
    #[error("failed to use the model for the task {task}: {reason}")]
    Model {
        /// The task.
        task: TaskKind,
        /// Why.
        reason: String,
    },
    /// An option of another task.
    #[error("the option {option} has no effect on the task {task}")]
    NoEffect {
        /// The option.
        option: &'static str,
        /// The task.
        task: TaskKind,
    },
    /// A value that is out of range or unknown.
    #[error("failed to use {option}: {reason}")]
    Value {
        /// The option.
        option: &'static str,
        /// Why.
        reason: String,
    },
}

impl TaskOptions {
    /// The options of a job, from [`Task::settings`](crate::Task::settings). Other settings are ignored.
    ///
    /// # Errors
    /// A setting has the wrong type, or the task is unknown.
    pub fn from_spec(settings: &Map<String, Value>) -> serde_json::Result<Self> {
        serde_json::from_value(Value::Object(settings.clone()))
    }

    /// Checks that all options have an effect on `task`.
    pub(crate) fn check(&self, task: TaskKind) -> Result<(), TaskError> {
        let given = [
            ("scores", TaskKind::Classify, self.scores),
            ("threshold", TaskKind::Classify, self.threshold.is_some()),
            ("prompt", TaskKind::Embed, self.prompt.is_some()),
            ("prompt-name", TaskKind::Embed, self.prompt_name.is_some()),
            ("dimensions", TaskKind::Embed, self.dimensions.is_some()),
            ("normalize", TaskKind::Embed, self.normalize),
        ];
        match given
            .iter()
            .find(|(_, of, is_given)| *is_given && *of != task)
        {
            Some((option, ..)) => Err(TaskError::NoEffect { option, task }),
            None => Ok(()),
        }
    }

    /// The settings that a job records: these options and `more`.
    pub(crate) fn settings(
        &self,
        more: impl IntoIterator<Item = (&'static str, Value)>,
    ) -> Map<String, Value> {
        let Ok(Value::Object(mut settings)) = serde_json::to_value(self) else {
            unreachable!("a struct is a JSON object");
        };
        settings.extend(
            more.into_iter()
                .map(|(name, value)| (name.to_owned(), value)),
        );
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_have_the_aliases_of_hugging_face() {
        for (name, kind) in [
            ("classify", TaskKind::Classify),
            ("text-classification", TaskKind::Classify),
            ("sentiment-analysis", TaskKind::Classify),
            ("embed", TaskKind::Embed),
            ("feature-extraction", TaskKind::Embed),
            ("sentence-similarity", TaskKind::Embed),
        ] {
            assert_eq!(name.parse(), Ok(kind));
        }
        let error = "translation".parse::<TaskKind>().unwrap_err();
        assert!(
            error.contains("classify") && error.contains("embed"),
            "{error}"
        );
    }

    #[test]
    fn options_of_another_task_are_refused() {
        let options = TaskOptions {
            scores: true,
            ..TaskOptions::default()
        };
        assert_eq!(options.check(TaskKind::Classify), Ok(()));
        let refused = options.check(TaskKind::Embed).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the option scores has no effect on the task embed"
        );
    }

    #[test]
    fn options_are_read_from_a_job() {
        let options = TaskOptions {
            kind: Some(TaskKind::Classify),
            threshold: Some(0.3),
            ..TaskOptions::default()
        };
        let settings = options.settings([("labels", Value::from(vec!["a", "b"]))]);
        assert_eq!(TaskOptions::from_spec(&settings).unwrap(), options);
    }
}
