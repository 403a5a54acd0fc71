//! The two requests that start an array job on AWS Batch.

use serde_json::json;
use shoal_job::RunDir;

use super::{ExportSettings, arguments, name, pretty};

/// Attempts at a worker whose machine fails.
const ATTEMPTS: u32 = 3;

pub(super) fn requests(run: &RunDir, settings: &ExportSettings) -> String {
    let name = name(run);
    let command: Vec<_> = std::iter::once("shoal".to_owned())
        .chain(arguments(run, settings))
        .collect();
    let mut container = json!({
        "image": settings.image,
        "command": command,
        "resourceRequirements": [
            { "type": "VCPU", "value": settings.cpus.to_string() },
            { "type": "MEMORY", "value": settings.memory_mib.to_string() },
        ],
        "environment": [{ "name": "SHOAL_CACHE_DIR", "value": "/tmp/shoal" }],
    });
    if let Some(role) = &settings.identity {
        container["jobRoleArn"] = json!(role);
    }
    pretty(&json!({
        "register-job-definition": {
            "jobDefinitionName": name,
            "type": "container",
            "containerProperties": container,
            "retryStrategy": {
                "attempts": ATTEMPTS,
                "evaluateOnExit": [
                    { "onStatusReason": "Host EC2*", "action": "RETRY" },
                    { "onExitCode": "5", "action": "RETRY" },
                    { "onReason": "*", "action": "EXIT" },
                ],
            },
        },
        "submit-job": {
            "jobName": name,
            "jobQueue": settings.queue,
            "jobDefinition": name,
            "arrayProperties": { "size": settings.workers },
        },
    }))
}
