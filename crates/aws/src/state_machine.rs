//! The Step Functions state machine that fans a run out: one for all runs of a function.
//!
//! ```text
//! Children ─┬─ STANDARD ─▶ Standard ┐    each a Distributed Map over the lines of the manifest
//!           └─ EXPRESS ──▶ Express  ┘
//!                               │ one child a line
//!                               ▼
//!                     Work ─▶ Finished ─▶ Done
//!                      ▲         │ the function stopped before its deadline
//!                      └─ Rest ◀─┘
//! ```
//!
//! A line of the manifest is one invocation and becomes the function's payload as it is. The function answers
//! `{"receipt":{…},"again":null}`, or with `again` the invocation for the rest of its batch.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits::EXPRESS_SECONDS;

/// Errors of a throttled or ailing service: many attempts, far apart at last.
const SERVICE_ERRORS: [&str; 4] = [
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
];

/// Calls for a batch, or for the rest of one, at most. Those that an ailing service ended are not counted: it tries them
/// again by itself, and does not bill them.
pub const ATTEMPTS: u32 = 3;

/// Errors of one attempt, which another may not meet: first those that our function reports, then the platform's.
/// `Shoal.Input`, `Shoal.Storage` and `Shoal.Model` are none of them, since no attempt mends what they name.
const ATTEMPT_ERRORS: [&str; 7] = [
    "Shoal.Retryable",
    "Shoal.Crashed",
    "Shoal.TimedOut",
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "Lambda.Unknown",
    "States.Timeout",
];

/// What Step Functions waits beyond the function's own time limit, for the answer to arrive.
const GRACE_SECONDS: u32 = 30;

/// The kind of execution that works on one line of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Children {
    /// As long as it takes; pays transitions.
    Standard,
    /// Five minutes at most; starts ten times as fast.
    Express,
}

/// The input of an execution. [`check_input`](crate::limits::check_input) tells whether the platform takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The bucket of manifest and results.
    pub bucket: String,
    /// Key of the manifest, JSON Lines.
    pub manifest: String,
    /// Key prefix under which the map's own results go, which nobody needs: they would not fit into its output.
    pub results: String,
    /// The kind of children.
    pub children: Children,
    /// Children at a time.
    pub concurrency: u32,
    /// Percentage of children that may fail before the map gives up: 100 to let every batch have its chance.
    pub tolerated: f64,
}

impl Input {
    /// As the execution takes it.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON")
    }
}

/// The definition in Amazon States Language. `function` is the function's ARN, or a placeholder for it;
/// `timeout_seconds` the function's own time limit.
pub fn definition(function: &str, timeout_seconds: u32) -> Value {
    json!({
        "Comment": "Made by `shoal deploy aws`: invokes the function once for each line of a run's manifest.",
        "StartAt": "Children",
        "States": {
            "Children": {
                "Type": "Choice",
                "Choices": [{ "Variable": "$.children", "StringEquals": "EXPRESS", "Next": "Express" }],
                "Default": "Standard",
            },
            "Standard": map("STANDARD", function, timeout_seconds + GRACE_SECONDS),
            "Express": map(
                "EXPRESS",
                function,
                (timeout_seconds + GRACE_SECONDS).min(EXPRESS_SECONDS as u32),
            ),
        },
    })
}

fn map(execution_type: &str, function: &str, task_seconds: u32) -> Value {
    json!({
        "Type": "Map",
        // Names the children's state machine, so that redriving and permissions can name it too.
        "Label": execution_type.to_lowercase(),
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": { "InputType": "JSONL" },
            "Parameters": { "Bucket.$": "$.bucket", "Key.$": "$.manifest" },
        },
        "MaxConcurrencyPath": "$.concurrency",
        "ToleratedFailurePercentagePath": "$.tolerated",
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": execution_type },
            "StartAt": "Work",
            "States": child(function, task_seconds),
        },
        "ResultWriter": {
            "Resource": "arn:aws:states:::s3:putObject",
            "Parameters": { "Bucket.$": "$.bucket", "Prefix.$": "$.results" },
        },
        "End": true,
    })
}

fn child(function: &str, task_seconds: u32) -> Value {
    json!({
        "Work": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": { "FunctionName": function, "Payload.$": "$" },
            "TimeoutSeconds": task_seconds,
            "Retry": [
                {
                    "ErrorEquals": SERVICE_ERRORS,
                    "IntervalSeconds": 1,
                    "BackoffRate": 2.0,
                    "MaxDelaySeconds": 60,
                    "MaxAttempts": 30,
                    "JitterStrategy": "FULL",
                },
                {
                    "ErrorEquals": ATTEMPT_ERRORS,
                    "IntervalSeconds": 1,
                    "BackoffRate": 2.0,
                    "MaxDelaySeconds": 20,
                    "MaxAttempts": ATTEMPTS - 1,
                    "JitterStrategy": "FULL",
                },
            ],
            "OutputPath": "$.Payload",
            "Next": "Finished",
        },
        "Finished": {
            "Type": "Choice",
            "Choices": [{
                "And": [
                    { "Variable": "$.again", "IsPresent": true },
                    { "Variable": "$.again", "IsNull": false },
                ],
                "Next": "Rest",
            }],
            "Default": "Done",
        },
        "Rest": { "Type": "Pass", "InputPath": "$.again", "Next": "Work" },
        // Receipts lie in the run directory; here they would only be paid for.
        "Done": { "Type": "Pass", "Result": {}, "End": true },
    })
}

#[cfg(test)]
mod tests;
