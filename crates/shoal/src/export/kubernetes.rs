//! An Indexed Job of Kubernetes, as JSON, which `kubectl` accepts like YAML.

use serde_json::{Value, json};
use shoal_job::RunDir;

use super::{ExportSettings, arguments, name, pretty};
use crate::error::ExitCode;

/// An unprivileged user, whatever the image says.
const USER: u32 = 65_532;
/// The only writable folders of a worker.
const CACHE: &str = "/cache";
const TEMPORARY: &str = "/tmp";
/// Restarts of a worker.
const RETRIES: u32 = 3;
/// Seconds for which a finished job and its logs are kept: a day.
const KEPT_SECONDS: u32 = 86_400;

pub(super) fn job(run: &RunDir, settings: &ExportSettings) -> String {
    let labels =
        json!({ "app.kubernetes.io/name": "shoal", "app.kubernetes.io/instance": name(run) });
    let container = json!({
        "name": "worker",
        "image": settings.image,
        "command": ["shoal"],
        "args": arguments(run, settings),
        "env": [{ "name": "SHOAL_CACHE_DIR", "value": CACHE }],
        "resources": {
            "requests": { "cpu": settings.cpus.to_string(), "memory": format!("{}Mi", settings.memory_mib) },
            "limits": { "memory": format!("{}Mi", settings.memory_mib) },
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "volumeMounts": [
            { "name": "cache", "mountPath": CACHE },
            { "name": "temporary", "mountPath": TEMPORARY },
        ],
    });
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [container],
        "volumes": [
            { "name": "cache", "emptyDir": {} },
            { "name": "temporary", "emptyDir": {} },
        ],
    });
    if let Some(account) = &settings.identity {
        pod["serviceAccountName"] = json!(account);
    }
    pretty(&json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name(run), "labels": labels },
        "spec": {
            "completionMode": "Indexed",
            "completions": settings.workers,
            "parallelism": settings.workers,
            "backoffLimitPerIndex": RETRIES,
            "podFailurePolicy": { "rules": [permanent(), disrupted()] },
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": { "metadata": { "labels": labels }, "spec": pod },
        },
    }))
}

/// A worker that fails for a permanent reason is not restarted.
fn permanent() -> Value {
    let codes = [ExitCode::Usage, ExitCode::Input, ExitCode::Model];
    json!({
        "action": "FailIndex",
        "onExitCodes": {
            "containerName": "worker",
            "operator": "In",
            "values": codes.map(|code| code as u8),
        },
    })
}

/// The loss of a node does not count as a failure of its worker.
fn disrupted() -> Value {
    json!({
        "action": "Ignore",
        "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
    })
}
