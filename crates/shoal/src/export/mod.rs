//! Job files for platforms that start numbered workers.

mod aws_batch;
mod kubernetes;
mod slurm;

use std::str::FromStr;

use shoal_job::store::is_url;
use shoal_job::{Job, RunDir};

use crate::runs::planned_job;
use crate::{Error, Result, Setting};
use shoal_report::numbers::plural;

/// A platform that starts numbered workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayPlatform {
    /// An Indexed Job of Kubernetes.
    Kubernetes,
    /// A job array of Slurm.
    Slurm,
    /// An array job of AWS Batch.
    AwsBatch,
}

impl ArrayPlatform {
    /// All platforms.
    pub const ALL: [Self; 3] = [Self::Kubernetes, Self::Slurm, Self::AwsBatch];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "k8s",
            Self::Slurm => "slurm",
            Self::AwsBatch => "aws-batch",
        }
    }
}

impl FromStr for ArrayPlatform {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let name = if text == "kubernetes" { "k8s" } else { text };
        let found = Self::ALL.into_iter().find(|one| one.name() == name);
        found.ok_or_else(|| format!("the platforms are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The settings of a job file.
#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Workers; each processes a share of the batches.
    pub workers: usize,
    /// The container image, with `shoal` on its PATH.
    pub image: Option<String>,
    /// CPUs of a worker.
    pub cpus: usize,
    /// Memory of a worker, in MiB.
    pub memory_mib: u64,
    /// The model's path or URL for the workers, if it differs from the job's.
    pub model: Option<String>,
    /// The identity of workers: a Kubernetes service account, or the ARN of a role for AWS Batch.
    pub identity: Option<String>,
    /// The queue of AWS Batch.
    pub queue: Option<String>,
}

/// The job file of workers that process `run`.
///
/// # Errors
/// The run is not planned, workers cannot read it or its model, or a setting is missing or has no effect.
pub fn export(run: &RunDir, platform: ArrayPlatform, settings: &ExportSettings) -> Result<String> {
    let job = planned_job(run)?;
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
    let most = job.batches.min(match platform {
        P::Kubernetes => 100_000,
        P::Slurm => u64::MAX,
        P::AwsBatch => 10_000,
    });
    let least = if platform == P::AwsBatch { 2 } else { 1 };
    if !(least..=most.max(least)).contains(&(settings.workers as u64)) {
        let reason = format!(
            "{} is out of range: for {}, this platform can start {least} to {}",
            settings.workers,
            plural(job.batches, "batch", "batches"),
            plural(most, "worker", "workers")
        );
        return Err(Error::setting(Setting::WorkerCount, reason));
    }
    let is_container = platform != P::Slurm;
    let is_batch = platform == P::AwsBatch;
    let (image, identity, queue) = (&settings.image, &settings.identity, &settings.queue);
    for (setting, value, is_used) in [
        (Setting::Image, image, is_container),
        (Setting::Identity, identity, is_container),
        (Setting::Queue, queue, is_batch),
    ] {
        if value.is_some() && !is_used {
            let reason = "it has no effect on this platform";
            return Err(Error::setting(setting, reason));
        }
        if value.is_none() && is_used && setting != Setting::Identity {
            return Err(Error::setting(setting, "this platform needs one"));
        }
    }
    if is_container && run.folder().is_some() {
        let reason = format!(
            "containers cannot read the folder of run {}; plan the run in an object store",
            run.name()
        );
        return Err(Error::setting(Setting::Store, reason));
    }
    let model = &job.function.reference;
    if is_container
        && settings.model.is_none()
        && !is_url(model)
        && std::path::Path::new(model).is_absolute()
    {
        let reason = format!(
            "containers cannot read {model} of this machine; name the path or URL of the same model in their image or in a \
             store"
        );
        return Err(Error::setting(Setting::Model, reason));
    }
    Ok(())
}

/// The arguments of a worker without its index.
fn arguments(run: &RunDir, settings: &ExportSettings) -> Vec<String> {
    let (workers, cpus) = (settings.workers.to_string(), settings.cpus.to_string());
    let uri = run.uri();
    let words = [
        "worker",
        "--run",
        &uri,
        "--of",
        &workers,
        "--concurrency",
        &cpus,
    ];
    let model = settings.model.iter().flat_map(|model| ["--model", model]);
    words.into_iter().chain(model).map(str::to_owned).collect()
}

/// A job name of lowercase letters, digits and hyphens, which all platforms accept.
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

/// Indented JSON.
fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;
    use shoal_job::{Batch, FunctionSpec};

    use super::*;
    use crate::runs::tests::job;

    fn run(url: &str, model: &str) -> RunDir {
        let store = Arc::new(object_store::memory::InMemory::new());
        let run = RunDir::on(store, "x".into(), url);
        let function = FunctionSpec {
            reference: model.to_owned(),
            ..FunctionSpec::new(
                "encoder",
                "1",
                Vec::new(),
                Arc::new(arrow_schema::Schema::empty()),
            )
        };
        let mut table = run.table_writer();
        for index in 0..5 {
            let batch = Batch {
                index,
                records: 1,
                ..Batch::default()
            };
            table.push(&batch).unwrap();
        }
        run.save_plan(&job(function, 5), table).unwrap();
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
    fn invalid_settings_are_errors() {
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
            (
                Kubernetes,
                "bundled",
                plain.clone(),
                "container image: this platform needs one",
            ),
            (Kubernetes, "/home/me/model", settings(), "use the model"),
            (Kubernetes, "bundled", with(|s| s.workers = 6), "5 batches"),
            (Kubernetes, "bundled", with(|s| s.workers = 0), "workers: 0"),
            (
                Kubernetes,
                "bundled",
                with(|s| s.queue = Some("q".into())),
                "no effect",
            ),
            (
                AwsBatch,
                "bundled",
                settings(),
                "queue: this platform needs one",
            ),
            (
                AwsBatch,
                "bundled",
                with(|s| s.workers = 1),
                "2 to 5 workers",
            ),
            (
                Slurm,
                "bundled",
                settings(),
                "container image: it has no effect",
            ),
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
