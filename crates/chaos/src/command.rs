//! `shoal run` as far as the run directory sees it: plans or goes on, works off, collects.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_dispatch::{DispatchError, Plan, Worked, work_off, work_off_in_chapters};
use shoal_encoder::Model;
use shoal_job::collect::{Destination, collect, collect_dead_letters};
use shoal_job::plan::{Request, check_same, plan};
use shoal_job::spec::{ModelSpec, Parameters};
use shoal_job::wire::Receipt;
use shoal_job::{Cancel, Event, Job, Pieces, RunDir};

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
    pub(crate) buried: u64,
    /// Batches that were not done anew.
    pub(crate) reused: u64,
}

/// Runs the command in the process of `handle`.
pub(crate) fn command(
    cloud: &Arc<Cloud>,
    handle: &Handle,
    model: &Arc<Model>,
    line: &Line,
    cancel: &Cancel,
    order: &Order,
) -> Result<Delivered, DispatchError> {
    let run = run_dir(handle);
    let request = Request {
        inputs: &line.inputs,
        spool: None,
        model: ModelSpec {
            reference: "tiny".into(),
            fingerprint: model.fingerprint().to_owned(),
            precision: model.precision().to_string(),
            labels: model.labels().to_vec(),
            max_tokens: model.max_tokens(),
        },
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
    if order.exhumes {
        exhume(&run, &job)?;
    }
    let mut log = run.event_log()?;
    let mut tell = |event: Event| {
        if event.is_recorded() {
            // The log explains a run; a run must not fail because its log does.
            let _ = log.append(&event);
        }
    };
    let platform = Platform {
        cloud: cloud.clone(),
        handle: handle.clone(),
        job: Arc::new(job.clone()),
        model: model.clone(),
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
            let see = &mut |worked: &_| tally.add(worked);
            work_off_in_chapters(&plan, size, &platform, cancel, &mut tell, see)?;
        }
        _ => {
            let batches = &run.batches(&job)?;
            let plan = Plan { batches, ..plan };
            tally.add(&work_off(&plan, &platform, cancel, &mut tell)?);
        }
    }
    let Tally {
        pieces,
        records,
        failed,
        buried,
        reused,
    } = tally;
    let destination = Destination::File(line.output.clone());
    collect(&run, &job, &pieces, &destination, &mut tell)?;
    collect_dead_letters(&run, &pieces)?;
    let results = records - failed;
    tell(Event::Completed { results, failed });
    Ok(Delivered {
        output: read(&line.output),
        results,
        failed,
        buried,
        reused,
    })
}

/// What was done, added up.
#[derive(Default)]
struct Tally {
    pieces: Pieces,
    records: u64,
    failed: u64,
    buried: u64,
    reused: u64,
}

impl Tally {
    fn add(&mut self, worked: &Worked) {
        self.pieces.add(&worked.receipts);
        let sum = |count: fn(&Receipt) -> u64| worked.receipts.values().map(count).sum::<u64>();
        self.records += worked.receipts.records();
        self.failed += sum(|receipt| receipt.failed);
        self.buried += sum(|receipt| receipt.buried);
        self.reused += worked.reused.finished_batches();
    }
}

/// What `shoal retry` does first: forgets the dead letters of records that killed their function.
fn exhume(run: &RunDir, job: &Job) -> shoal_job::Result<()> {
    let receipts = run.receipts()?;
    for receipt in receipts.values().filter(|receipt| receipt.buried > 0) {
        run.forget(receipt.piece(), job.parameters.output_format)?;
    }
    Ok(())
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("the output was just written")
}
