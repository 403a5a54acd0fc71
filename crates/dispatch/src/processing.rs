//! Dispatches open batches until every part exists and matches its receipt.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use shoal_job::collect::damaged;
use shoal_job::run_dir::Listed;
use shoal_job::wire::Receipt;
use shoal_job::{Batch, Cancel, Error, Event, Job, Receipts, RunDir};

use crate::{Backend, Budget, DispatchError, RetryPolicy, Speculation, Work};

/// A planned job to process.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The run directory.
    pub run: &'a RunDir,
    /// The job.
    pub job: &'a Job,
    /// All batches of the job, or a subset of them, in order.
    pub batches: &'a [Batch],
    /// A recent listing of the receipts; if `None`, the run directory is listed.
    pub listed: Option<&'a Listed>,
    /// The time limit of one call; unlimited if `None`.
    pub timeout: Option<Duration>,
    /// When to retry a failed call.
    pub retry: RetryPolicy,
    /// Whether the first dead letter ends the run.
    pub stop_on_bad_record: bool,
    /// Ends the run if the first records of the input, this many rounded up to whole batches, are all dead letters. Has no
    /// effect on jobs without further batches, which end anyway.
    pub first_records: Option<u64>,
    /// Whether and how much to speculate on stragglers, for backends that support it.
    pub speculation: Option<Speculation>,
    /// The spending limit, if there is one.
    pub budget: Option<&'a Budget>,
}

impl<'a> Plan<'a> {
    /// The plan without limits, speculation and a listing.
    pub fn new(run: &'a RunDir, job: &'a Job, batches: &'a [Batch]) -> Self {
        Self {
            run,
            job,
            batches,
            listed: None,
            timeout: None,
            retry: RetryPolicy::default(),
            stop_on_bad_record: false,
            first_records: None,
            speculation: None,
            budget: None,
        }
    }

    /// The batches with the first records, if the run ends when all of these are dead letters. Not all of them may be part of
    /// the plan.
    fn first_batches(&self) -> Option<FirstBatches<'a>> {
        let count = self
            .first_records?
            .div_ceil(self.job.parameters.batch_size.max(1));
        let end = self.batches.partition_point(|batch| batch.index < count);
        let batches = &self.batches[..end];
        // In a plan without the last of them it is too early to end the run.
        let is_last = batches.last().is_some_and(|last| last.index + 1 == count);
        (is_last && count < self.job.batches).then_some(FirstBatches {
            records: count * self.job.parameters.batch_size,
            batches,
        })
    }
}

/// The batches with the first records of a job.
struct FirstBatches<'a> {
    records: u64,
    batches: &'a [Batch],
}

impl FirstBatches<'_> {
    /// Whether all records are processed and dead letters.
    fn are_dead_letters(&self, receipts: &Receipts) -> bool {
        let mut batches = self.batches.iter();
        batches.all(|batch| {
            let mut ranges = receipts.ranges_of(batch);
            ranges.all(|receipt| receipt.failed == receipt.records) && receipts.covers(batch)
        })
    }

    fn error(&self) -> DispatchError {
        DispatchError::NoResults {
            records: self.records,
        }
    }
}

/// The result of processing a plan.
#[derive(Debug)]
pub struct Processed {
    /// The receipts of all batches; their parts were verified.
    pub receipts: Receipts,
    /// The receipts that earlier starts of the run had written.
    pub reused: Receipts,
    /// Time from the first dispatch to the last receipt.
    pub time: Duration,
}

/// Processes the whole job of `plan` in windows of `size` batches, so that memory does not grow with the number of
/// batches. `on_window` receives the result of each window. `plan.batches` is ignored.
///
/// # Errors
/// As [`process_batches`].
pub fn process_in_windows(
    plan: &Plan<'_>,
    size: NonZeroUsize,
    backend: &dyn Backend,
    cancel: &Cancel,
    emit: &mut dyn FnMut(Event),
    on_window: &mut dyn FnMut(&Processed),
) -> Result<(), DispatchError> {
    let Plan { run, job, .. } = *plan;
    let listed = run.list_receipts()?;
    let (mut reused_batches, mut reused_records) = (0, 0);
    if !listed.is_empty() {
        run.each_window(job, size, &mut |_, receipts| {
            reused_batches += receipts.finished_batches();
            reused_records += receipts.records();
            Ok(())
        })?;
    }
    // All windows together are one start of the run.
    let mut has_started = false;
    let mut first_records = plan.first_records;
    for batches in run.windows(job, size)? {
        let window = Plan {
            batches: &batches?,
            listed: Some(&listed),
            first_records,
            ..*plan
        };
        let processed = process_batches(&window, backend, cancel, &mut |event| match event {
            Event::Started {
                backend,
                concurrency,
                ..
            } => {
                if !std::mem::replace(&mut has_started, true) {
                    emit(Event::Started {
                        backend,
                        concurrency,
                        reused_batches,
                        reused_records,
                    });
                }
            }
            event => emit(event),
        })?;
        let mut receipts = processed.receipts.values();
        if receipts.any(|receipt| receipt.failed < receipt.records) {
            first_records = None;
        }
        on_window(&processed);
    }
    Ok(())
}

/// Processes the open batches of `plan` on `backend`, then verifies every part against its receipt and repeats the
/// batches of damaged parts.
///
/// # Errors
/// Fails if the backend fails, or if parts do not match their receipts after several rounds. Finished batches stay
/// finished.
pub fn process_batches(
    plan: &Plan<'_>,
    backend: &dyn Backend,
    cancel: &Cancel,
    emit: &mut dyn FnMut(Event),
) -> Result<Processed, DispatchError> {
    let Plan { run, job, .. } = plan;
    let existing = match plan.listed {
        Some(listed) => run.receipts_of(plan.batches, listed)?,
        None => run.receipts_of(plan.batches, &run.list_receipts()?)?,
    };
    let mut receipts = existing.clone();
    receipts.retain_ranges_of(plan.batches);
    for batch in receipts.open(plan.batches) {
        for foreign in existing.between(&batch) {
            // The receipt belongs to no valid split of this batch, and would block the one that does.
            run.delete(&RunDir::receipt_name(foreign.batch, foreign.offset))?;
        }
    }
    let mut reused = receipts.clone();
    emit(Event::Started {
        backend: backend.name().to_owned(),
        concurrency: backend.concurrency(),
        reused_batches: reused.finished_batches(),
        reused_records: reused.records(),
    });
    if plan.stop_on_bad_record
        && let Some(bad) = receipts.values().find(|receipt| receipt.failed > 0)
    {
        return Err(DispatchError::BadRecord { batch: bad.batch });
    }
    let first = plan.first_batches();
    if let Some(first) = &first
        && first.are_dead_letters(&receipts)
    {
        return Err(first.error());
    }
    let mut time = Duration::ZERO;
    let mut rounds = 0;
    loop {
        let started = Instant::now();
        let batches = receipts.open(plan.batches);
        if !batches.is_empty() {
            let stop = cancel.child();
            let mut has_no_results = false;
            let work = Work {
                run,
                batches,
                is_suspect: false,
                retry: plan.retry,
                timeout: plan.timeout,
                stop_on_bad_record: plan.stop_on_bad_record,
                speculation: plan.speculation,
                budget: plan.budget,
                cancel: &stop,
            };
            let end = backend.run(&work, &mut |event| {
                if let Event::Finished { receipt, .. } = &event {
                    receipts.insert((**receipt).clone());
                    has_no_results |= receipt.failed == receipt.records
                        && first
                            .as_ref()
                            .is_some_and(|first| first.are_dead_letters(&receipts));
                    if has_no_results {
                        stop.cancel();
                    }
                }
                emit(event);
            });
            match (end, &first) {
                (Err(DispatchError::Cancelled) | Ok(()), Some(first)) if has_no_results => {
                    return Err(first.error());
                }
                (end, _) => end?,
            }
        }
        time += started.elapsed();
        receipts.retain_ranges_of(plan.batches);
        emit(Event::Verifying {
            parts: receipts.values().count() as u64,
        });
        let damaged = damaged(run, job, &receipts)?;
        let open = receipts.open(plan.batches);
        let problem = match (damaged.first(), open.first()) {
            (None, None) => break,
            (Some(range), _) => format!("part {} does not match its receipt", range.batch),
            (None, Some(batch)) => {
                let index = batch.index;
                format!("the receipts of batch {index} do not cover all of its records")
            }
        };
        rounds += 1;
        if rounds == plan.retry.attempts.max(2) {
            let reason = format!("{problem} after {rounds} rounds");
            let run = run.name();
            return Err(DispatchError::Job(Error::Corrupt { run, reason }));
        }
        // The store lost or damaged the part, or the receipt is wrong: repeat the range.
        for range in damaged {
            let now = run.receipt(range.batch, range.offset)?;
            let seen = receipts.get(range.batch, range.offset);
            // Another worker may already have replaced it. Only the stored fields are compared, since platforms add
            // billing data to the receipt that they return.
            let stored = |receipt: &Receipt| (receipt.part.clone(), receipt.dead_letters.clone());
            if now.as_ref().map(stored) == seen.map(|receipt| stored(receipt)) {
                run.forget(range, job.parameters.output_format)?;
            }
            for kept in [&mut receipts, &mut reused] {
                kept.remove(range.batch, range.offset);
            }
        }
        for kept in [&mut receipts, &mut reused] {
            kept.retain_ranges_of(plan.batches);
        }
    }
    Ok(Processed {
        receipts,
        reused,
        time,
    })
}
