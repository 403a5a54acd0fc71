//! Job files for platforms that start workers by number.

mod aws_batch;
mod kubernetes;
mod slurm;

use shoal_job::store::is_url;
use shoal_job::{Job, RunDir};

use crate::{Error, Result};

/// A platform that starts workers by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayPlatform {
    /// An Indexed Job of Kubernetes.
    Kubernetes,
    /// A job array of Slurm.
    Slurm,
    /// An array job of AWS Batch.
    AwsBatch,
}

/// What a job file is to say.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Workers, each a share of the batches.
    pub workers: usize,
    /// The container's image, which has `shoal` on its PATH.
    pub image: Option<String>,
    /// CPUs of a worker.
    pub cpus: usize,
    /// Memory of a worker, in MiB.
    pub memory_mib: u64,
    /// The model, where workers do not find it under the name that the job has for it.
    pub model: Option<String>,
    /// Who workers are: a service account of Kubernetes, or the ARN of a role of AWS Batch.
    pub identity: Option<String>,
    /// The queue of AWS Batch.
    pub queue: Option<String>,
}

/// The job file that has `run` worked off.
///
/// # Errors
/// The run is not planned, workers would not find it or its model, or a setting is missing or has no effect.
pub fn export(run: &RunDir, platform: ArrayPlatform, settings: &ExportSettings) -> Result<String> {
    let job = run.job()?.ok_or_else(|| Error::NoSuchRun {
        name: run.reference(),
        reason: "it is not planned; `shoal run … --backend array --detach` plans one".into(),
    })?;
    check(run, &job, platform, settings)?;
    Ok(match platform {
        ArrayPlatform::Kubernetes => kubernetes::job(run, settings),
        ArrayPlatform::Slurm => slurm::script(run, settings),
        ArrayPlatform::AwsBatch => aws_batch::requests(run, settings),
    })
}

fn check(
    run: &RunDir,
    job: &Job,
    platform: ArrayPlatform,
    settings: &ExportSettings,
) -> Result<()> {
    use ArrayPlatform as P;
    let wrong = |reason: String| Err(Error::Settings(format!("failed to export: {reason}")));
    let most = job.batches.min(match platform {
        P::Kubernetes => 100_000,
        P::Slurm => u64::MAX,
        P::AwsBatch => 10_000,
    });
    let least = if platform == P::AwsBatch { 2 } else { 1 };
    if !(least..=most.max(least)).contains(&(settings.workers as u64)) {
        return wrong(format!(
            "--workers {} is out of range: the run has {} batches, and the platform takes {least} to {most} workers for them",
            settings.workers, job.batches
        ));
    }
    let is_container = platform != P::Slurm;
    for (flag, given, used, needed) in [
        (
            "--image",
            settings.image.is_some(),
            is_container,
            is_container,
        ),
        (
            "--identity",
            settings.identity.is_some(),
            is_container,
            false,
        ),
        (
            "--queue",
            settings.queue.is_some(),
            platform == P::AwsBatch,
            platform == P::AwsBatch,
        ),
    ] {
        if given && !used {
            return wrong(format!("{flag} has no effect on this platform"));
        }
        if needed && !given {
            return wrong(format!("the platform needs {flag}"));
        }
    }
    if is_container && run.folder().is_some() {
        return wrong(format!(
            "containers see no folders of this machine, and the run {} lies in one; plan it in an object store (--store)",
            run.name()
        ));
    }
    let model = &job.function.reference;
    if is_container
        && settings.model.is_none()
        && !is_url(model)
        && std::path::Path::new(model).is_absolute()
    {
        return wrong(format!(
            "containers do not see the model {model} of this machine; name the same one where they do, in their image or \
             in a store (--model)"
        ));
    }
    Ok(())
}

/// The arguments of a worker, but for its number.
fn arguments(run: &RunDir, settings: &ExportSettings) -> Vec<String> {
    let mut arguments: Vec<_> = ["worker", "--run", &run.uri()]
        .into_iter()
        .map(str::to_owned)
        .collect();
    let numbers = [
        ("--of", settings.workers.to_string()),
        ("--concurrency", settings.cpus.to_string()),
    ];
    for (flag, number) in numbers {
        arguments.extend([flag.to_owned(), number]);
    }
    if let Some(model) = &settings.model {
        arguments.extend(["--model".to_owned(), model.clone()]);
    }
    arguments
}

/// A name for the job: small letters, digits and hyphens, as all platforms take it.
fn name(run: &RunDir) -> String {
    let name: String = run
        .name()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(50)
        .collect();
    format!("shoal-{}", name.trim_matches('-'))
        .trim_end_matches('-')
        .to_owned()
}

/// JSON for people.
fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use shoal_job::Batch;

    use super::*;

    fn run(url: &str, model: &str) -> RunDir {
        let store = Arc::new(object_store::memory::InMemory::new());
        let run = RunDir::on(store, "x".into(), url);
        let job = serde_json::json!({
            "layout": shoal_job::spec::LAYOUT_VERSION, "shoal": "0", "inputs": [], "sources": [],
            "model": { "reference": model, "fingerprint": "", "precision": "int8", "labels": [], "max_tokens": 8 },
            "parameters": shoal_job::spec::Parameters::default(), "output": "-",
            "columns": { "text": "text", "id": null, "gold": null, "kept": [] },
            "records": 5, "batches": 5,
        });
        let mut table = run.table_writer();
        for index in 0..5 {
            let batch = Batch {
                index,
                records: 1,
                ..Batch::default()
            };
            table.push(&batch).unwrap();
        }
        let job = serde_json::from_value(job).unwrap();
        run.save_plan(&job, table).unwrap();
        run
    }

    fn settings() -> ExportSettings {
        ExportSettings {
            workers: 3,
            image: Some("registry.example/shoal:0.1".into()),
            cpus: 2,
            memory_mib: 1024,
            model: None,
            identity: Some("worker".into()),
            queue: None,
        }
    }

    const URL: &str = "s3://bucket/runs/Reviews_1'$(x)";

    #[test]
    fn kubernetes_gets_an_indexed_job() {
        let text = export(&run(URL, "bundled"), ArrayPlatform::Kubernetes, &settings()).unwrap();
        let job: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&job["apiVersion"], &job["kind"]),
            (&"batch/v1".into(), &"Job".into())
        );
        assert_eq!(job["metadata"]["name"], "shoal-reviews-1---x");
        let spec = &job["spec"];
        assert_eq!(spec["completionMode"], "Indexed");
        assert_eq!(
            (&spec["completions"], &spec["parallelism"]),
            (&3.into(), &3.into())
        );
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["restartPolicy"], "Never");
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let arguments: Vec<_> = ["worker", "--run", URL, "--of", "3", "--concurrency", "2"].into();
        assert_eq!(container["args"], serde_json::json!(arguments));
        assert_eq!(container["resources"]["requests"]["memory"], "1024Mi");
    }

    #[test]
    fn aws_batch_gets_a_definition_and_a_submission() {
        let settings = ExportSettings {
            queue: Some("spot".into()),
            model: Some("s3://bucket/model.shoal".into()),
            ..settings()
        };
        let run = run(URL, "/home/me/model");
        let text = export(&run, ArrayPlatform::AwsBatch, &settings).unwrap();
        let requests: Value = serde_json::from_str(&text).unwrap();
        let (definition, submission) = (
            &requests["register-job-definition"],
            &requests["submit-job"],
        );
        assert_eq!(submission["jobQueue"], "spot");
        assert_eq!(submission["arrayProperties"]["size"], 3);
        assert_eq!(submission["jobDefinition"], definition["jobDefinitionName"]);
        let command = definition["containerProperties"]["command"]
            .as_array()
            .unwrap();
        assert_eq!(command.last().unwrap(), "s3://bucket/model.shoal");
    }

    #[test]
    fn what_would_not_work_is_refused() {
        let plain = ExportSettings {
            image: None,
            identity: None,
            ..settings()
        };
        let with = |change: fn(&mut ExportSettings)| {
            let mut settings = settings();
            change(&mut settings);
            settings
        };
        use ArrayPlatform::{AwsBatch, Kubernetes, Slurm};
        for (platform, model, settings, says) in [
            (Kubernetes, "bundled", plain.clone(), "needs --image"),
            (Kubernetes, "/home/me/model", settings(), "--model"),
            (Kubernetes, "bundled", with(|s| s.workers = 6), "5 batches"),
            (
                Kubernetes,
                "bundled",
                with(|s| s.workers = 0),
                "--workers 0",
            ),
            (
                Kubernetes,
                "bundled",
                with(|s| s.queue = Some("q".into())),
                "no effect",
            ),
            (AwsBatch, "bundled", settings(), "needs --queue"),
            (AwsBatch, "bundled", with(|s| s.workers = 1), "takes 2 to 5"),
            (Slurm, "bundled", settings(), "--image has no effect"),
        ] {
            let error = export(&run(URL, model), platform, &settings).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
        let script = export(&run(URL, "/home/me/model"), Slurm, &plain).unwrap();
        assert!(
            script.contains(r"'s3://bucket/runs/Reviews_1'\''$(x)'"),
            "{script}"
        );
    }
}
