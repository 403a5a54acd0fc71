//! shoal on AWS: what makes the function and its surroundings, and what it may do there.
//!
//! [`template`](template::template) writes one CloudFormation template, the only source of truth: the function, its
//! role, its log group and, if asked for, a state machine with a role of its own. [`Cloud`] uploads the code and has
//! CloudFormation make, update or delete the stack. CloudFormation rather than calls of our own, since it undoes what
//! fails half-way, knows what an update must replace, deletes all that it made, and since the same template can be read,
//! reviewed and deployed by other tools.
//!
//! [`state_machine`] is the definition of the fan-out, [`limits`] the platform's limits, checked before anything is
//! sent, [`bootstrap`] and [`package`] the code as Lambda takes it.

mod account;
pub mod bootstrap;
mod cloud;
pub mod config;
mod error;
mod lambda;
pub mod limits;
mod login;
pub mod package;
mod permissions;
mod settings;
pub mod state_machine;
mod step_functions;
pub mod template;

pub use account::{Account, Caller, DeployedFunction, Quota};
pub use bootstrap::Arch;
pub use cloud::{Change, Cloud, Resource, Stack, packages};
pub use error::{Error, Result};
pub use lambda::{Deployed, Lambda, RAMP, deployed};
pub use login::login;
pub use package::Package;
pub use settings::{Deployment, ModelPlace, S3Folder};
pub use step_functions::{Progress, StepFunctions, children, progress};
