//! A model of `shoal run`: plans or resumes the run, processes the batches and collects the output.

use std::path::PathBuf;
use std::sync::Arc;

use shoal_conformance::HashLabels;
use shoal_dispatch::{DispatchError, Plan, Processed, process_batches, process_in_windows};
use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters};
use shoal_job::plan::{Request, check_same, plan};
use shoal_job::spec::Parameters;
use shoal_job::wire::Receipt;
use shoal_job::{Cancel, CompletedRanges, Event};

use crate::platform::{Platform, run_dir};
use crate::scenario::CommandOptions;
use crate::store::Handle;

/// The arguments of the command, the same for each start except for the output.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    pub(crate) inputs: Vec<String>,
    /// The folder and the name of the output file, without its extension.
    pub(crate) folder: PathBuf,
    pub(crate) output: String,
    pub(crate) parameters: Parameters,
}

impl CommandLine {
    /// The output file.
    pub(crate) fn output(&self) -> PathBuf {
        let extension = self.parameters.output_format.extension();
        self.folder.join(&self.output).with_extension(extension)
    }
}

/// The result of a command that completed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) output: Vec<u8>,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    /// Failed records that crashed their function.
    pub(crate) quarantined: u64,
}

/// Runs the command in the process of `handle`.
pub(crate) fn command(
    handle: &Handle,
    line: &CommandLine,
    cancel: &Cancel,
    order: &CommandOptions,
) -> Result<Completed, DispatchError> {
    let simulation = handle.simulation();
    let run = run_dir(Arc::new(handle.clone()));
    let request = Request {
        inputs: &line.inputs,
        spool: None,
        function: HashLabels::default().spec().clone(),
        parameters: line.parameters.clone(),
        output: "labels",
        version: env!("CARGO_PKG_VERSION"),
        inputs_at: None,
    };
    if !run.is_ours()? {
        panic!("the run directory contains files that shoal did not write");
    }
    if order.is_fresh {
        run.clear()?;
    }
    let job = match run.job()? {
        Some(job) => {
            check_same(&job, &request, &run)?;
            job
        }
        None => {
            run.clear_leftovers()?;
            plan(&request, &run, cancel, &mut |_| {})?
        }
    };
    if order.retries_quarantined {
        // The first step of `shoal retry`.
        for receipt in run.receipts()?.values().filter(|r| r.quarantined > 0) {
            run.forget(receipt.range(), job.parameters.output_format)?;
        }
    }
    let mut log = run.event_log()?;
    let mut emit = |event: Event| {
        if event.is_recorded() {
            // An error of the event log must not fail the run.
            let _ = log.append(&event);
        }
    };
    let platform = Platform {
        handle: handle.clone(),
        job: Arc::new(job.clone()),
    };
    let plan = Plan {
        run: &run,
        job: &job,
        batches: &[],
        listed: None,
        timeout: simulation.scenario.timeout,
        retry: simulation.scenario.retry,
        stop_on_bad_record: order.stop_on_bad_record,
        first_records: None,
        speculation: simulation.scenario.speculation,
        budget: None,
    };
    let mut ranges = CompletedRanges::default();
    let mut completed = Completed::default();
    let mut add = |processed: &Processed| {
        ranges.add(&processed.receipts);
        completed.add(processed);
    };
    match order.batches_at_once {
        Some(size) if (size.get() as u64) < job.batches => {
            process_in_windows(&plan, size, &platform, cancel, &mut emit, &mut add)?;
        }
        _ => {
            let batches = &run.batches(&job)?;
            let plan = Plan { batches, ..plan };
            add(&process_batches(&plan, &platform, cancel, &mut emit)?);
        }
    }
    let destination = Destination::File(line.output());
    collect(&run, &job, &ranges, &destination, &mut emit)?;
    collect_dead_letters(&run, &ranges)?;
    emit(Event::Completed {
        results: completed.results,
        failed: completed.failed,
    });
    completed.output = std::fs::read(line.output()).expect("the output was just written");
    Ok(completed)
}

impl Completed {
    /// Adds the batches of a window.
    fn add(&mut self, processed: &Processed) {
        let sum = |count: fn(&Receipt) -> u64| processed.receipts.values().map(count).sum::<u64>();
        self.results += sum(|receipt| receipt.records - receipt.failed);
        self.failed += sum(|receipt| receipt.failed);
        self.quarantined += sum(|receipt| receipt.quarantined);
    }
}
