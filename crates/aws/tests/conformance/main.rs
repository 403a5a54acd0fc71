//! Runs the conformance suite for the Lambda and Step Functions backends: the real clients, against small servers that
//! implement the AWS APIs and call the scripted function. Arguments select harnesses by parts of their names.

mod step_functions;

use std::path::Path;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use shoal_aws::config::Config;
use shoal_aws::state_machine::Children;
use shoal_aws::{Lambda, StepFunctions};
use shoal_conformance::{BackendHarness, Protocol, TestRun, TestServer, conformance};
use shoal_dispatch::{Backend, DispatchError, Work};
use shoal_job::{Event, RunDir};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let names: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let harnesses: [&dyn BackendHarness; 2] = [&Direct(TestServer::start(Protocol::Lambda)), &Map];
    for harness in harnesses {
        if names.is_empty() || names.iter().any(|name| harness.name().contains(&**name)) {
            conformance(harness);
        }
    }
}

fn config(url: &str) -> Config {
    Config::of_emulator("us-east-1", url)
}

/// Direct invocations.
struct Direct(TestServer);

impl BackendHarness for Direct {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn backend<'a>(&'a self, _: &'a TestRun) -> Box<dyn Backend + 'a> {
        Box::new(Lambda::new(config(&self.0.url()), "shoal", 4))
    }
}

/// A Distributed Map.
struct Map;

impl BackendHarness for Map {
    fn name(&self) -> &'static str {
        "step-functions"
    }

    /// A local folder with an S3 URL, which the client requires.
    fn run_dir(&self, folder: &Path) -> RunDir {
        let store = LocalFileSystem::new_with_prefix(folder).expect("the folder exists");
        RunDir::on(Arc::new(store), "run".into(), "s3://lake/run")
    }

    fn backend<'a>(&'a self, run: &'a TestRun) -> Box<dyn Backend + 'a> {
        let server = step_functions::MachineServer::start(run.run.clone(), run.function());
        let function = run.function();
        let direct =
            TestServer::start_with(Protocol::Lambda, move |invocation| function.act(invocation));
        let client = StepFunctions {
            direct: Some(Lambda::new(config(&direct.url()), "shoal", 4)),
            config: config(&server.url()),
            state_machine: "shoal".into(),
            concurrency: 4,
            children: Some(Children::Standard),
            expected_batch_seconds: 1.0,
            tolerated: None,
            detach: false,
        };
        Box::new(Client {
            client,
            _server: server,
            _direct: direct,
        })
    }

    fn reports_attempts(&self) -> bool {
        false
    }

    fn checks_receipt_before_retry(&self) -> bool {
        false
    }

    fn skipped(&self) -> &'static [(&'static str, &'static str)] {
        const ALL_OR_NONE: &str =
            "the budget covers all calls of an execution, or it does not start";
        &[
            (
                "cancelled, then resumed",
                "receipts are read after the execution has ended, when there is nothing left to cancel",
            ),
            ("budget exhausted, then resumed", ALL_OR_NONE),
            ("budget exhausted by a damaged part", ALL_OR_NONE),
        ]
    }
}

/// The backend together with its servers.
struct Client {
    client: StepFunctions,
    _server: step_functions::MachineServer,
    _direct: TestServer,
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
