//! The worker of an array job, which processes its share of a planned run.

use std::num::NonZeroUsize;
use std::sync::Arc;

use shoal_dispatch::{Plan, Processed, process_batches};
use shoal_function::Host;
use shoal_job::collect::collect_dead_letters;
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Batch, Cancel, CompletedRanges, Event, Job, Receipts, RunDir};

use crate::error::NoResults;
use crate::runs::planned_job;
use crate::{Error, Result, Setting, backend};

/// The variable with the number of workers, if the platform sets none.
pub const WORKERS: &str = "SHOAL_WORKERS";

/// The batches of one worker: those whose index modulo `of` is `index`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    index: usize,
    of: NonZeroUsize,
}

/// The result of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Batches in its share.
    pub batches: u64,
    /// Those that were finished before.
    pub reused: u64,
    /// Records that this worker processed.
    pub records: u64,
    /// Those in the dead letters.
    pub failed: u64,
}

impl Share {
    /// The share of worker `index` (from 0) of `of`.
    ///
    /// # Errors
    /// `index` is out of range.
    pub fn new(index: usize, of: usize) -> Result<Self> {
        match NonZeroUsize::new(of) {
            Some(of) if index < of.get() => Ok(Self { index, of }),
            _ => Err(Error::Settings(format!(
                "failed to find this worker's share: there is no worker {index} of {of}; they are numbered from 0 to {}",
                of.saturating_sub(1)
            ))),
        }
    }

    /// The share of worker `index` of `of`. If one of them is `None`, the platform's variable applies:
    ///
    /// | platform | number | workers |
    /// |---|---|---|
    /// | Kubernetes, Indexed Job | `JOB_COMPLETION_INDEX` | `SHOAL_WORKERS` |
    /// | AWS Batch, array job | `AWS_BATCH_JOB_ARRAY_INDEX` | `AWS_BATCH_JOB_ARRAY_SIZE` |
    /// | Google Cloud Run, job | `CLOUD_RUN_TASK_INDEX` | `CLOUD_RUN_TASK_COUNT` |
    /// | Slurm, job array | `SLURM_ARRAY_TASK_ID` | `SLURM_ARRAY_TASK_COUNT` |
    ///
    /// `SHOAL_WORKERS` overrides the platform's number of workers. If that comes from Slurm, its task numbers may start anywhere
    /// and have steps (`--array=1-9:2`); otherwise they are used as they are, so that a single task can be submitted again.
    ///
    /// # Errors
    /// A number is missing or invalid.
    pub fn find(
        index: Option<usize>,
        of: Option<usize>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self> {
        let number = |name: &str| -> Result<Option<usize>> {
            let parse = |text: String| {
                text.trim().parse().map_err(|_| {
                    Error::Settings(format!(
                        "failed to find this worker's share: {name} is not a number: {text}"
                    ))
                })
            };
            variable(name).map(parse).transpose()
        };
        let of = match of {
            Some(of) => Some(of),
            None => number(WORKERS)?,
        };
        if let (Some(index), Some(of)) = (index, of) {
            return Self::new(index, of);
        }
        let missing =
            |setting, what: &str| Error::setting(setting, format!("it is missing: {what}"));
        let platforms = [
            ("JOB_COMPLETION_INDEX", WORKERS),
            ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
            ("CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"),
            (SLURM_ID, "SLURM_ARRAY_TASK_COUNT"),
        ];
        for (at, count) in platforms {
            let Some(there) = number(at)? else { continue };
            let (there, of) = match of {
                Some(of) => (there, of),
                None => {
                    let of = number(count)?.ok_or_else(|| {
                        missing(
                            Setting::WorkerCount,
                            &format!("{at} is set, but {count} is not"),
                        )
                    })?;
                    let there = if at == SLURM_ID {
                        let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
                        let step = number("SLURM_ARRAY_TASK_STEP")?.unwrap_or(1).max(1);
                        there.saturating_sub(first) / step
                    } else {
                        there
                    };
                    (there, of)
                }
            };
            return Self::new(index.unwrap_or(there), of);
        }
        Err(match index {
            Some(_) => missing(Setting::WorkerCount, "no platform sets it"),
            None => missing(Setting::WorkerIndex, "no platform sets it"),
        })
    }

    fn has(self, batch: &Batch) -> bool {
        batch.index % self.of.get() as u64 == self.index as u64
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {} of {}", self.index, self.of)
    }
}

/// Processes the open batches of a share of `run` on `concurrency` threads.
///
/// It does not lock the run, which the waiting process may have locked, and records no events: `events.jsonl` has one writer.
///
/// # Errors
/// A batch failed. Finished batches are kept. Or this worker completed a run in which no record has a result
/// ([`Error::NoResults`]).
///
/// # Panics
/// `concurrency` is 0.
pub fn work(
    run: &RunDir,
    share: Share,
    host: Arc<Host>,
    concurrency: usize,
    cancel: &Cancel,
    emit: &mut dyn FnMut(&Event),
) -> Result<Done> {
    let job = planned_job(run)?;
    let mut batches = run.batches(&job)?;
    batches.retain(|batch| share.has(batch));
    let plan = Plan::new(run, &job, &batches);
    let backend = backend::threads(concurrency, host);
    let processed = process_batches(&plan, &backend, cancel, &mut |event| emit(&event));
    let processed = processed.map_err(|error| Error::from_dispatch(error, run.reference()))?;
    let failed = |receipts: &Receipts| receipts.values().map(|one| one.failed).sum::<u64>();
    let Processed {
        receipts, reused, ..
    } = &processed;
    if receipts.records() > 0 && failed(receipts) == receipts.records() {
        check_results(run, &job)?;
    }
    Ok(Done {
        batches: batches.len() as u64,
        reused: reused.finished_batches(),
        records: receipts.records() - reused.records(),
        failed: failed(receipts) - failed(reused),
    })
}

/// Fails if the run is complete and no record has a result.
fn check_results(run: &RunDir, job: &Job) -> Result<()> {
    let (mut failed, mut ranges) = (0, CompletedRanges::default());
    run.each_window(job, BATCHES_AT_ONCE, &mut |_, receipts| {
        failed += receipts.values().map(|one| one.failed).sum::<u64>();
        ranges.add(receipts);
        Ok(())
    })?;
    if failed < job.records {
        return Ok(());
    }
    collect_dead_letters(run, &ranges)?;
    Err(NoResults::of(run, failed, false).into())
}

const SLURM_ID: &str = "SLURM_ARRAY_TASK_ID";

#[cfg(test)]
mod tests {
    use super::*;

    fn find(index: Option<usize>, of: Option<usize>, set: &[(&str, &str)]) -> Result<Share> {
        let variable = |name: &str| {
            let found = set.iter().find(|(there, _)| *there == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Share::find(index, of, variable)
    }

    #[test]
    fn given_numbers_override_those_of_the_platform() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "4")];
        let batch = [
            ("AWS_BATCH_JOB_ARRAY_INDEX", "2"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "3"),
        ];
        let slurm = [
            ("SLURM_ARRAY_TASK_ID", "7"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "5"),
        ];
        for (index, of, set, expected) in [
            (Some(1), Some(2), &kubernetes[..], (1, 2)),
            (None, Some(5), &kubernetes, (4, 5)),
            (None, None, &batch, (2, 3)),
            (Some(0), None, &batch, (0, 3)),
            (None, None, &slurm, (3, 5)),
            (None, Some(8), &slurm, (7, 8)),
        ] {
            let share = find(index, of, set).unwrap();
            assert_eq!((share.index, share.of.get()), expected, "{set:?}");
        }
        let workers = [kubernetes[0], (WORKERS, "6")];
        assert_eq!(find(None, None, &workers).unwrap().of.get(), 6);
    }

    #[test]
    fn errors_name_the_missing_number() {
        let kubernetes = [("JOB_COMPLETION_INDEX", "4")];
        for (index, of, set, says) in [
            (None, None, &[][..], "the worker's index"),
            (Some(1), None, &[], "the number of workers"),
            (None, Some(1), &[], "the worker's index"),
            (None, None, &kubernetes, "SHOAL_WORKERS is not"),
            (None, Some(4), &kubernetes, "from 0 to 3"),
            (Some(0), Some(0), &[], "no worker 0 of 0"),
            (
                None,
                Some(4),
                &[("JOB_COMPLETION_INDEX", "x")],
                "not a number",
            ),
        ] {
            let error = find(index, of, set).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn every_batch_is_in_exactly_one_share() {
        for index in 0..20 {
            let batch = Batch {
                index,
                ..Batch::default()
            };
            let shares = (0..3).filter(|worker| Share::new(*worker, 3).unwrap().has(&batch));
            assert_eq!(shares.count(), 1);
        }
    }
}
