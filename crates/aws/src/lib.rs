//! shoal on AWS: the lambda and step-functions backends, and their deployment.
//!
//! [`template`](template::template) writes a CloudFormation template, the single source of truth for a deployment: the
//! function, its role, its log group and, optionally, a state machine with its own role. [`Cloud`] creates, updates and
//! deletes the stack. CloudFormation rolls back failed changes, knows which resources an update must replace, and deletes
//! everything that it created. The template can also be reviewed and deployed with other tools.
//!
//! [`state_machine`] defines the fan-out, [`limits`] checks the platform's limits before anything is sent, and
//! [`bootstrap`] and [`package`] prepare the code for Lambda.

mod account;
pub mod bootstrap;
mod client;
mod cloud;
mod error;
mod lambda;
pub mod limits;
pub mod package;
mod permissions;
mod settings;
pub mod state_machine;
mod step_functions;
pub mod template;

pub use account::{Account, Caller, DeployedFunction, Quota};
pub use cloud::{Change, Cloud, Resource, Stack, packages};
pub use error::{Error, Result};
pub use lambda::{Lambda, RAMP, deployed};
pub use package::Package;
pub use settings::{Deployment, ModelLocation, S3Folder};
pub use shoal_estimate::Architecture;
pub use shoal_job::store::aws_login as config;
pub use step_functions::{Progress, StepFunctions, children, progress};
