//! Arbitrary lines to a worker on standard input: each is answered with a receipt or a failure, and
//! no function crashes.

#![no_main]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use shoal_encoder::{Checkpoint, Isa, Model, Precision, Purpose};
use shoal_function::{Host, Runner};
use shoal_fuzz::{allow_caught_panics, fixture, folder};
use shoal_job::plan::{self, Request};
use shoal_job::spec::Parameters;
use shoal_job::wire::{Invocation, Outcome, Reply};
use shoal_job::{Cancel, RunDir};
use shoal_runners::EncoderRunner;
use shoal_tasks::TaskOptions;

/// The path of a run of six records, which replaces `RUN` in the input, and its host.
static SCENE: LazyLock<(PathBuf, Arc<Host>)> = LazyLock::new(|| {
    let folder = folder().keep();
    let input = folder.join("in.csv");
    std::fs::write(
        &input,
        "id,text\n1,good\n2,bad\n3,\n4,fine\n5,\"so\nso\"\n6,no\n",
    )
    .unwrap();
    let checkpoint = Checkpoint::open(&fixture("distilbert-regression")).unwrap();
    let (purpose, precision) = (Purpose::Classify, Precision::Int8);
    let model = Model::pack(&checkpoint, "fuzz".into(), purpose, precision, Isa::best()).unwrap();
    let options = TaskOptions::default();
    let runner = EncoderRunner::new("fuzz", Arc::new(model), &options, None).unwrap();
    let runner: Arc<dyn Runner> = Arc::new(runner);
    let run = RunDir::create(&folder.join("run")).unwrap();
    let request = Request {
        inputs: &[input.to_str().unwrap().to_owned()],
        spool: None,
        function: runner.spec().clone(),
        parameters: Parameters {
            batch_size: 4,
            ..Parameters::default()
        },
        output: "-",
        version: "fuzz",
        inputs_at: None,
    };
    plan::plan(&request, &run, &Cancel::new(), &mut |_| {}).unwrap();
    let open = Box::new(move |_: &_| Ok(runner.clone()));
    let host = Arc::new(Host::new("fuzz", Duration::ZERO, open));
    (folder.join("run"), host)
});

fuzz_target!(|input: &[u8]| {
    allow_caught_panics();
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (run, host) = &*SCENE;
    let text = text.replace("RUN", run.to_str().unwrap());
    // Object stores would be accessed over the network.
    if text.contains("://") {
        return;
    }
    let mut answers = Vec::new();
    let _ = shoal::worker::stdio::serve(host, text.as_bytes(), &mut answers);
    for answer in answers.split(|byte| *byte == b'\n') {
        if answer.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Outcome>(answer).unwrap() {
            Outcome::Receipt(receipt) => {
                for line in text.lines() {
                    if let Ok(invocation) = serde_json::from_str::<Invocation>(line) {
                        let _ = Reply::new(&invocation, (*receipt).clone());
                    }
                }
            }
            Outcome::Failure(failure) => assert!(!failure.reason.is_empty()),
        }
    }
    for name in ["parts", "receipts", "failed"] {
        let _ = std::fs::remove_dir_all(run.join(name));
    }
});
