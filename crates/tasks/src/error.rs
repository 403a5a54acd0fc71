//! Errors of tasks.

use crate::TaskKind;

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
        option: String,
        /// The task.
        task: TaskKind,
    },
    /// A value that is out of range or unknown.
    #[error("failed to use {option}: {reason}")]
    Value {
        /// The option.
        option: String,
        /// Why.
        reason: String,
    },
}
