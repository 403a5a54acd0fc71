//! The platforms whose time and cost can be predicted.

use crate::Machine;

/// The execution type of the children of a Distributed Map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Children {
    /// Up to a year each, billed by transitions.
    Standard,
    /// Up to five minutes each, billed by requests and time.
    Express,
}

impl Children {
    /// All types.
    pub const ALL: [Self; 2] = [Self::Standard, Self::Express];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Express => "express",
        }
    }
}

#[cfg(feature = "aws")]
impl From<Children> for shoal_aws::state_machine::Children {
    fn from(children: Children) -> Self {
        match children {
            Children::Standard => Self::Standard,
            Children::Express => Self::Express,
        }
    }
}

/// A platform that runs functions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Platform {
    /// Threads of this machine.
    Local,
    /// Processes of this machine.
    Process,
    /// Another machine, billed by the hour.
    Machine(Machine),
    /// Direct calls of a Lambda function.
    Lambda,
    /// A Distributed Map that calls a Lambda function.
    StepFunctions(Children),
}

impl Platform {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Local => "local".into(),
            Self::Process => "process".into(),
            Self::Machine(machine) => machine.name.clone(),
            Self::Lambda => "lambda".into(),
            Self::StepFunctions(children) => format!("step-functions {}", children.name()),
        }
    }

    pub(crate) fn is_lambda(&self) -> bool {
        matches!(self, Self::Lambda | Self::StepFunctions(_))
    }
}
