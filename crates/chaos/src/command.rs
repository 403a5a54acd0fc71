//! A model of `shoal run`: plans or resumes the run, processes the batches and collects the output.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_dispatch::{DispatchError, Plan, Processed, process_batches, process_in_windows};
use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters};
use shoal_job::plan::{Request, check_same, plan};
use shoal_job::spec::Parameters;
use shoal_job::wire::Receipt;
use shoal_job::{Cancel, CompletedRanges, Event, Job, RunDir};

use crate::platform::{Platform, run_dir};
use crate::scenario::CommandOptions;
use crate::simulation::Simulation;
use crate::store::Handle;

/// The arguments of the command, the same for each start.
#[derive(Debug, Clone)]
pub(crate) struct CommandLine {
    pub(crate) inputs: Vec<String>,
    pub(crate) output: PathBuf,
    pub(crate) parameters: Parameters,
}

/// The result of a command that completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completed {
    pub(crate) output: Vec<u8>,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    /// Failed records that crashed their function.
    pub(crate) quarantined: u64,
    /// Batches that earlier starts had finished.
    pub(crate) reused: u64,
}

/// Runs the command in the process of `handle`.
pub(crate) fn command(
    simulation: &Arc<Simulation>,
    handle: &Handle,
    runner: &Arc<dyn Runner>,
    line: &CommandLine,
    cancel: &Cancel,
    order: &CommandOptions,
) -> Result<Completed, DispatchError> {
    let run = run_dir(handle);
    let request = Request {
        inputs: &line.inputs,
        spool: None,
        function: runner.spec().clone(),
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
        retry_quarantined(&run, &job)?;
    }
    let mut log = run.event_log()?;
    let mut emit = |event: Event| {
        if event.is_recorded() {
            // An error of the event log must not fail the run.
            let _ = log.append(&event);
        }
    };
    let platform = Platform {
        simulation: simulation.clone(),
        handle: handle.clone(),
        job: Arc::new(job.clone()),
        runner: runner.clone(),
    };
    let plan = Plan {
        run: &run,
        job: &job,
        batches: &[],
        listed: None,
        timeout: simulation.scenario.timeout,
        retry: simulation.scenario.retry,
        stop_on_bad_record: order.stop_on_bad_record,
        speculation: simulation.scenario.speculation,
        budget: None,
    };
    let mut tally = Tally::default();
    match order.batches_at_once {
        Some(size) if (size.get() as u64) < job.batches => {
            let add = &mut |processed: &_| tally.add(processed);
            process_in_windows(&plan, size, &platform, cancel, &mut emit, add)?;
        }
        _ => {
            let batches = &run.batches(&job)?;
            let plan = Plan { batches, ..plan };
            tally.add(&process_batches(&plan, &platform, cancel, &mut emit)?);
        }
    }
    let Tally {
        ranges,
        records,
        failed,
        quarantined,
        reused,
    } = tally;
    let destination = Destination::File(line.output.clone());
    collect(&run, &job, &ranges, &destination, &mut emit)?;
    collect_dead_letters(&run, &ranges)?;
    let results = records - failed;
    emit(Event::Completed { results, failed });
    Ok(Completed {
        output: read(&line.output),
        results,
        failed,
        quarantined,
        reused,
    })
}

/// The totals of all windows.
#[derive(Default)]
struct Tally {
    ranges: CompletedRanges,
    records: u64,
    failed: u64,
    quarantined: u64,
    reused: u64,
}

impl Tally {
    fn add(&mut self, processed: &Processed) {
        self.ranges.add(&processed.receipts);
        let sum = |count: fn(&Receipt) -> u64| processed.receipts.values().map(count).sum::<u64>();
        self.records += processed.receipts.records();
        self.failed += sum(|receipt| receipt.failed);
        self.quarantined += sum(|receipt| receipt.quarantined);
        self.reused += processed.reused.finished_batches();
    }
}

/// The first step of `shoal retry`: forgets the dead letters of quarantined records.
fn retry_quarantined(run: &RunDir, job: &Job) -> shoal_job::Result<()> {
    let receipts = run.receipts()?;
    for receipt in receipts.values().filter(|receipt| receipt.quarantined > 0) {
        run.forget(receipt.range(), job.parameters.output_format)?;
    }
    Ok(())
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the output was just written")
}
