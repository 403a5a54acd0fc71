//! Lambda and Step Functions pass the suite of every backend: the real clients, against small servers that speak their
//! interfaces and call the scripted function. Arguments are parts of names: the stands that have one of them are run.

mod step_functions;

use std::path::Path;
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use object_store::local::LocalFileSystem;
use shoal_aws::state_machine::Children;
use shoal_aws::{Lambda, StepFunctions};
use shoal_dispatch::conformance::{Front, Protocol, Scene, Stand, conformance};
use shoal_dispatch::{Backend, DispatchError, Work};
use shoal_job::{Event, RunDir};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let names: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let stands: [&dyn Stand; 2] = [&Direct(Front::start(Protocol::Lambda)), &Map];
    for stand in stands {
        if names.is_empty() || names.iter().any(|name| stand.name().contains(&**name)) {
            conformance(stand);
        }
    }
}

fn config(url: &str) -> SdkConfig {
    let credentials = Credentials::new("none", "none", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(url)
        .build()
}

/// Direct invocations.
struct Direct(Front);

impl Stand for Direct {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn backend<'a>(&'a self, _: &'a Scene) -> Box<dyn Backend + 'a> {
        Box::new(Lambda::new(config(&self.0.url()), "shoal", 4))
    }
}

/// A Distributed Map.
struct Map;

impl Stand for Map {
    fn name(&self) -> &'static str {
        "step-functions"
    }

    /// A folder that is called like a prefix of S3, which the client demands.
    fn run_dir(&self, folder: &Path) -> RunDir {
        let store = LocalFileSystem::new_with_prefix(folder).expect("the folder is there");
        RunDir::on(Arc::new(store), "run".into(), "s3://lake/run")
    }

    fn backend<'a>(&'a self, scene: &'a Scene) -> Box<dyn Backend + 'a> {
        let front = step_functions::Front::start(scene.run().clone(), scene.function());
        let function = scene.function();
        let direct =
            Front::start_with(Protocol::Lambda, move |invocation| function.act(invocation));
        let client = StepFunctions {
            direct: Some(Lambda::new(config(&direct.url()), "shoal", 4)),
            config: config(&front.url()),
            state_machine: "shoal".into(),
            concurrency: 4,
            children: Some(Children::Standard),
            expected_batch_seconds: 1.0,
            tolerated: None,
            detach: false,
        };
        Box::new(Client {
            client,
            _front: front,
            _direct: direct,
        })
    }

    fn tells_attempts(&self) -> bool {
        false
    }

    fn asks_before_it_calls_again(&self) -> bool {
        false
    }

    fn left_out(&self) -> &'static [(&'static str, &'static str)] {
        const ALL_OR_NONE: &str =
            "all calls of an execution are paid for before it is started, or none";
        &[
            (
                "cancelled, then gone on with",
                "receipts are read when the execution has ended, so that there is nothing left to cancel",
            ),
            ("out of money, then gone on with", ALL_OR_NONE),
            ("out of money for a damaged part", ALL_OR_NONE),
        ]
    }
}

/// A client with the servers that it talks to.
struct Client {
    client: StepFunctions,
    _front: step_functions::Front,
    _direct: Front,
}

impl Backend for Client {
    fn name(&self) -> &'static str {
        self.client.name()
    }

    fn concurrency(&self) -> usize {
        self.client.concurrency()
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        self.client.run(work, emit)
    }
}
