//! The Step Functions state machine for the fan-out, shared by all runs of a function.
//!
//! ```text
//! Children ─┬─ STANDARD ─▶ Standard ┐    each a Distributed Map over the lines of the manifest
//!           └─ EXPRESS ──▶ Express  ┘
//!                               │ one child per line
//!                               ▼
//!                     Work ─▶ Finished ─▶ Done
//!                      ▲         │ the function stopped before its deadline
//!                      └─ Rest ◀─┘
//! ```
//!
//! A line of the manifest is an invocation and becomes the function's payload unchanged. The function returns
//! `{"receipt":{…},"again":null}`; `again` may contain the invocation for the rest of the batch.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::limits::{CONCURRENCY, EXPRESS_SECONDS, STATE_BYTES, check_size};

/// Errors of a throttled or failing service. They are retried many times, with growing delays.
const SERVICE_ERRORS: [&str; 4] = [
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
];

/// The maximum number of calls for a batch, or for the rest of one. Calls that end with a service error
/// do not count: Step Functions retries them separately, and Lambda does not bill them.
pub const ATTEMPTS: u32 = 3;

/// Errors that another attempt may avoid: first those of the function, then those of the platform. Other errors of the
/// function, such as `Shoal.Input`, `Shoal.Storage` and `Shoal.Model`, are permanent.
const ATTEMPT_ERRORS: [&str; 7] = [
    "Shoal.Retryable",
    "Shoal.Crashed",
    "Shoal.TimedOut",
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "Lambda.Unknown",
    "States.Timeout",
];

/// How much longer than the function's time limit Step Functions waits for an answer.
const GRACE_SECONDS: u32 = 30;

/// The type of the execution that processes one line of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Children {
    /// No time limit; state transitions are billed.
    Standard,
    /// At most five minutes; starts ten times as fast.
    Express,
}

/// The input of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The bucket of manifest and results.
    pub bucket: String,
    /// The key of the manifest, a JSON Lines file.
    pub manifest: String,
    /// The key prefix for the map's results. They are not used, but would not fit into the map's output.
    pub results: String,
    /// The type of children.
    pub children: Children,
    /// The maximum number of concurrent children.
    pub concurrency: u32,
    /// The percentage of children that may fail before the map fails; with 100, every batch is tried.
    pub tolerated: f64,
}

impl Input {
    /// The JSON that is passed to the execution.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON")
    }

    /// Checks the fields and the size against the platform's limits.
    ///
    /// # Errors
    /// Fails if a field is out of range, or if the JSON is larger than the platform allows.
    pub fn check(&self) -> Result<()> {
        if !(1..=CONCURRENCY).contains(&self.concurrency) {
            let reason = format!("Step Functions allows 1 to {CONCURRENCY}");
            return Err(Error::setting("concurrency", self.concurrency, reason));
        }
        if !(0.0..=100.0).contains(&self.tolerated) {
            let reason = "Step Functions allows 0 to 100 %";
            return Err(Error::setting("tolerated", self.tolerated, reason));
        }
        let action = "send the input of the state machine".into();
        let advice = "shorten the run's name or the store's prefix";
        check_size(self.json().len(), STATE_BYTES, action, advice)
    }
}

impl Children {
    /// Express if the batches are short enough, because they start ten times as fast and do not pay for transitions. Two
    /// thirds of an Express execution's time must remain for cold starts, slow hosts and another attempt.
    pub(crate) fn for_batches_of(expected_seconds: f64) -> Self {
        if expected_seconds <= EXPRESS_SECONDS / 3.0 {
            Self::Express
        } else {
            Self::Standard
        }
    }
}

/// The definition in Amazon States Language. `function` is the function's ARN, or a placeholder for it;
/// `timeout_seconds` is the function's time limit.
pub fn definition(function: &str, timeout_seconds: u32) -> Value {
    json!({
        "Comment": "Created by `shoal deploy aws`: invokes the function once for each line of a run's manifest.",
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
        // The label is part of the ARNs of map runs and children.
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
        // Receipts are in the run directory; copies in the map's results would only cost money.
        "Done": { "Type": "Pass", "Result": {}, "End": true },
    })
}

#[cfg(test)]
mod tests;
