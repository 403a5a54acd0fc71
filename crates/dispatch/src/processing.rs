//! Working off a plan: dispatching what is left, until every part is there and whole.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use shoal_job::collect::damaged;
use shoal_job::run_dir::Listed;
use shoal_job::wire::Receipt;
use shoal_job::{Batch, Cancel, Error, Event, Job, Receipts, RunDir};

use crate::{Backend, Budget, DispatchError, RetryPolicy, Speculation, Work};

/// A plan to be worked off.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Where it lies.
    pub run: &'a RunDir,
    /// What is to be done.
    pub job: &'a Job,
    /// All batches of it, or a share of them, in order.
    pub batches: &'a [Batch],
    /// The receipts that were there when somebody looked last; looked for now, if `None`.
    pub listed: Option<&'a Listed>,
    /// How long one call may take; for ever where `None`.
    pub timeout: Option<Duration>,
    /// When a batch is tried again.
    pub retry: RetryPolicy,
    /// Whether the first dead letter ends the run.
    pub stop_on_bad_record: bool,
    /// Whether calls that take far too long are made a second time, by backends that can.
    pub speculation: Option<Speculation>,
    /// What calls may cost, where there is a limit.
    pub budget: Option<&'a Budget>,
}

/// What was done.
#[derive(Debug)]
pub struct Processed {
    /// The receipts of all batches, whose parts are whole.
    pub receipts: Receipts,
    /// Those of them that earlier starts had written.
    pub reused: Receipts,
    /// From the first batch's dispatch to the last receipt.
    pub time: Duration,
}

/// Works off the whole job of `plan`, `size` batches after the other, so that memory does not grow with their number; `see` is
/// given what was done of each chapter. The batches of the plan itself do not count.
///
/// # Errors
/// As [`process_batches`].
pub fn process_in_windows(
    plan: &Plan<'_>,
    size: NonZeroUsize,
    backend: &dyn Backend,
    cancel: &Cancel,
    emit: &mut dyn FnMut(Event),
    see: &mut dyn FnMut(&Processed),
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
    // It is one start, however many chapters it has.
    let mut is_told = false;
    for batches in run.windows(job, size)? {
        let window = Plan {
            batches: &batches?,
            listed: Some(&listed),
            ..*plan
        };
        let processed = process_batches(&window, backend, cancel, &mut |event| match event {
            Event::Started {
                backend,
                concurrency,
                ..
            } => {
                if !std::mem::replace(&mut is_told, true) {
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
        see(&processed);
    }
    Ok(())
}

/// Has `backend` work off what is left of `plan`, and verifies that every part is what its receipt says. What is not is
/// done again.
///
/// # Errors
/// Why not all of it is done. What is done stays.
pub fn process_batches(
    plan: &Plan<'_>,
    backend: &dyn Backend,
    cancel: &Cancel,
    emit: &mut dyn FnMut(Event),
) -> Result<Processed, DispatchError> {
    let Plan { run, job, .. } = plan;
    let there = match plan.listed {
        Some(listed) => run.receipts_of(plan.batches, listed)?,
        None => run.receipts_of(plan.batches, &run.list_receipts()?)?,
    };
    let mut receipts = there.clone();
    receipts.retain_ranges_of(plan.batches);
    for batch in receipts.open(plan.batches) {
        for foreign in there.between(&batch) {
            // It is of no cut of this batch, and would stand before the one that is.
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
    let mut time = Duration::ZERO;
    let mut rounds = 0;
    loop {
        let started = Instant::now();
        let batches = receipts.open(plan.batches);
        if !batches.is_empty() {
            let work = Work {
                run,
                batches,
                is_suspect: false,
                retry: plan.retry,
                timeout: plan.timeout,
                stop_on_bad_record: plan.stop_on_bad_record,
                speculation: plan.speculation,
                budget: plan.budget,
                cancel,
            };
            backend.run(&work, &mut |event| {
                if let Event::Finished { receipt, .. } = &event {
                    receipts.insert((**receipt).clone());
                }
                emit(event);
            })?;
        }
        time += started.elapsed();
        receipts.retain_ranges_of(plan.batches);
        emit(Event::Verifying {
            parts: receipts.values().count() as u64,
        });
        let damaged = damaged(run, job, &receipts)?;
        let open = receipts.open(plan.batches);
        let reason = match (damaged.first(), open.first()) {
            (None, None) => break,
            (Some(range), _) => format!(
                "part {} reads back otherwise than it was written, again and again",
                range.batch
            ),
            (None, Some(batch)) => format!(
                "batch {} has no receipt for all of its records, though it was worked on again and again",
                batch.index
            ),
        };
        rounds += 1;
        if rounds == plan.retry.attempts.max(2) {
            return Err(DispatchError::Job(Error::Corrupt {
                run: run.name(),
                reason,
            }));
        }
        // The store lost what it had taken, or a receipt vouches for something else; the piece is done again.
        for range in damaged {
            let now = run.receipt(range.batch, range.offset)?;
            let seen = receipts.get(range.batch, range.offset);
            // Unless another worker, who saw it too, is about it. What is compared is what was stored: a platform adds to
            // the answer what it bills.
            let vouches = |receipt: &Receipt| (receipt.part.clone(), receipt.dead_letters.clone());
            if now.as_ref().map(vouches) == seen.map(vouches) {
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
