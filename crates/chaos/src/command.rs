//! `shoal run` as far as the run directory sees it: plans or goes on, works off, collects.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_dispatch::{DispatchError, Plan, Processed, process_batches, process_in_windows};
use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters};
use shoal_job::plan::{Request, check_same, plan};
use shoal_job::spec::Parameters;
use shoal_job::wire::Receipt;
use shoal_job::{Cancel, CompletedRanges, Event, Job, RunDir};

use crate::cloud::Cloud;
use crate::platform::{Platform, run_dir};
use crate::scenario::Order;
use crate::store::Handle;

/// What the user types, the same each time.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) inputs: Vec<String>,
    pub(crate) output: PathBuf,
    pub(crate) parameters: Parameters,
}

/// What a command leaves behind that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) output: Vec<u8>,
    pub(crate) results: u64,
    pub(crate) failed: u64,
    /// Those of the failed that killed their function.
    pub(crate) quarantined: u64,
    /// Batches that were not done anew.
    pub(crate) reused: u64,
}

/// Runs the command in the process of `handle`.
pub(crate) fn command(
    cloud: &Arc<Cloud>,
    handle: &Handle,
    runner: &Arc<dyn Runner>,
    line: &Line,
    cancel: &Cancel,
    order: &Order,
) -> Result<Delivered, DispatchError> {
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
        panic!("the run directory holds what shoal did not put there");
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
            // The log explains a run; a run must not fail because its log does.
            let _ = log.append(&event);
        }
    };
    let platform = Platform {
        cloud: cloud.clone(),
        handle: handle.clone(),
        job: Arc::new(job.clone()),
        runner: runner.clone(),
    };
    let plan = Plan {
        run: &run,
        job: &job,
        batches: &[],
        listed: None,
        timeout: cloud.scenario.timeout,
        retry: cloud.scenario.retry,
        stop_on_bad_record: order.stop_on_bad_record,
        speculation: cloud.scenario.speculation,
        budget: None,
    };
    let mut tally = Tally::default();
    match order.batches_at_once {
        Some(size) if (size.get() as u64) < job.batches => {
            let see = &mut |processed: &_| tally.add(processed);
            process_in_windows(&plan, size, &platform, cancel, &mut emit, see)?;
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
    Ok(Delivered {
        output: read(&line.output),
        results,
        failed,
        quarantined,
        reused,
    })
}

/// What was done, added up.
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

/// What `shoal retry` does first: forgets the dead letters of records that killed their function.
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
