//! A planned run: dispatching what is left, and collecting.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_dispatch::{Backend, Plan, Processed, RetryPolicy, process_batches, process_in_windows};
use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters, damaged};
use shoal_job::run_dir::{BACKEND, EventLog, RunLock};
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Batch, Cancel, CompletedRanges, Event, Job, Receipts, RunDir};
use shoal_report::{CallHistory, RunState};

use crate::PrecisionChoice;
use crate::backend::{BackendConfig, BackendContext};
use crate::limits::within;
use crate::summary::Tally;
use crate::{EngineSettings, Error, Limits, OnError, Result, Summary, log, report, trust};

/// Writes events to the run's log and hands them on.
pub(super) struct EventSink<'a> {
    run: String,
    log: EventLog,
    emit: &'a mut dyn FnMut(&Event),
}

impl<'a> EventSink<'a> {
    pub(super) fn new(run: &RunDir, emit: &'a mut dyn FnMut(&Event)) -> Result<Self> {
        Ok(Self {
            run: run.reference(),
            log: run.event_log()?,
            emit,
        })
    }

    pub(super) fn emit(&mut self, event: Event) {
        if event.is_recorded() {
            // The log explains a run; a run must not fail because its log does. A disk that is full ends it soon
            // enough, with a better message.
            let _ = self.log.append(&event);
        }
        log::event(&self.run, &event);
        (self.emit)(&event);
    }

    /// The end of a start of the run that did not come to its own.
    pub(super) fn end(&mut self, error: &Error) {
        match error {
            // Told already, with the time at which it was so.
            Error::Cancelled { .. } | Error::OutOfTime { .. } | Error::Detached { .. } => {}
            error => self.emit(Event::Stopped {
                reason: error.to_string(),
            }),
        }
    }
}

/// A planned run, ready to be processed.
pub(super) struct Stage<'a> {
    pub(super) run: RunDir,
    pub(super) job: Job,
    pub(super) batches_at_once: NonZeroUsize,
    pub(super) runner: Arc<dyn Runner>,
    /// How the precision of the runner was chosen.
    pub(super) precision: PrecisionChoice,
    pub(super) destination: Destination,
    pub(super) backend: BackendConfig,
    /// Takes the place of `backend`.
    pub(super) own_backend: Option<&'a dyn Backend>,
    /// The arguments of the command that started the run, where it is started by one.
    pub(super) command: Option<Vec<String>>,
    pub(super) engine: EngineSettings,
    pub(super) on_error: OnError,
    pub(super) limits: Limits,
    /// This user made the run.
    pub(super) is_own: bool,
    /// Held to the end.
    pub(super) _lock: RunLock,
}

impl Stage<'_> {
    /// Processes what is left, and collects.
    pub(super) fn finish(
        self,
        started: Instant,
        cancel: &Cancel,
        emit: &mut EventSink<'_>,
    ) -> Result<Summary> {
        let end = self.work_and_collect(started, cancel, emit);
        if let Err(error) = &end {
            emit.end(error);
        }
        end
    }

    fn work_and_collect(
        self,
        started: Instant,
        cancel: &Cancel,
        emit: &mut EventSink<'_>,
    ) -> Result<Summary> {
        let (run, job) = (&self.run, &self.job);
        emit.emit(Event::Planned {
            records: job.records,
            batches: job.batches,
        });
        let seconds = self.seconds()?;
        let spending = self.spending()?;
        if self.is_own {
            trust::announce(run, BACKEND, &self.backend.file());
        }
        run.replace(BACKEND, self.backend.file())?;
        if let Some(command) = &self.command {
            report::keep_command(run, command)?;
        }
        if self.is_own {
            trust::remember(run);
        }
        let plan = Plan {
            run,
            job,
            batches: &[],
            listed: None,
            timeout: spending.timeout,
            retry: RetryPolicy::default(),
            stop_on_bad_record: self.on_error == OnError::Fail,
            speculation: Some(self.limits.speculation),
            budget: spending.budget.as_ref(),
        };
        let (processed, is_late) = within(seconds, cancel, |stop| self.work(&plan, stop, emit));
        let processed = processed.map_err(|error| match error {
            Error::Cancelled { .. } => {
                emit.emit(Event::Cancelled);
                match seconds.filter(|_| is_late && !cancel.is_cancelled()) {
                    Some(seconds) => Error::OutOfTime {
                        run: run.reference(),
                        seconds,
                    },
                    None => error,
                }
            }
            error => error,
        })?;
        deliver(run, job, &processed.tally.ranges, &self.destination, emit)?;
        let mut summary = Summary::new(
            run,
            job,
            self.destination.name(),
            &processed.tally,
            processed.concurrency,
            started.elapsed(),
        );
        summary.precision_choice = self.precision.explanation();
        emit.emit(Event::Completed {
            results: summary.results,
            failed: summary.failed,
        });
        account(run, job, &processed, &self.limits, &mut summary);
        Ok(summary)
    }

    /// Processes what is left of the job.
    fn work(&self, plan: &Plan<'_>, stop: &Cancel, emit: &mut EventSink<'_>) -> Result<Finished> {
        let failed = |error| {
            Error::from_dispatch(error, self.run.reference(), |batch| {
                self.first_dead_letter(batch)
            })
        };
        let mut tally = Tally::default();
        if !self.is_long() {
            let batches = &self.run.batches(&self.job)?;
            let backend = self.build(batches)?;
            let plan = Plan { batches, ..*plan };
            let emit = &mut |event| emit.emit(event);
            let processed = process_batches(&plan, backend.as_ref(), stop, emit).map_err(failed)?;
            tally.add(&processed);
            return Ok(Finished {
                tally,
                receipts: Some(processed.receipts),
                concurrency: backend.concurrency(),
            });
        }
        let backend = self.build(&[])?;
        process_in_windows(
            plan,
            self.batches_at_once(),
            backend.as_ref(),
            stop,
            &mut |event| emit.emit(event),
            &mut |processed| tally.add(processed),
        )
        .map_err(failed)?;
        Ok(Finished {
            tally,
            receipts: None,
            concurrency: backend.concurrency(),
        })
    }

    fn build(&self, batches: &[Batch]) -> Result<Box<dyn Backend + '_>> {
        if let Some(own) = self.own_backend {
            return Ok(Box::new(own));
        }
        self.backend.build(&BackendContext {
            run: &self.run,
            job: &self.job,
            batches,
            runner: &self.runner,
            engine: &self.engine,
        })
    }

    /// Enough that the end of a window, when fewer and fewer calls are in flight, does not matter.
    fn batches_at_once(&self) -> NonZeroUsize {
        let calls = NonZeroUsize::new(self.backend.calls_in_flight().saturating_mul(64));
        self.batches_at_once.max(calls.unwrap_or(NonZeroUsize::MIN))
    }

    /// Whether the run is processed in windows, so that memory does not grow with it. Platforms get all batches at
    /// once, as their own fan-out, their prices and their limits are for the whole.
    fn is_long(&self) -> bool {
        !self.backend.is_platform() && self.job.batches > self.batches_at_once().get() as u64
    }

    /// Seconds that this start may work, where there is a limit.
    fn seconds(&self) -> Result<Option<f64>> {
        let is_by_the_hour = self.limits.max_usd.is_some() && self.backend.machine().is_some();
        let before = if is_by_the_hour {
            report::state(&self.run)?.seconds_at_work()
        } else {
            0.0
        };
        let seconds = self.limits.seconds(&self.backend, before);
        match seconds {
            Some(seconds) if seconds <= 0.0 => Err(Error::OutOfTime {
                run: self.run.reference(),
                seconds: before,
            }),
            seconds => Ok(seconds),
        }
    }

    fn first_dead_letter(&self, batch: u64) -> String {
        let of_it = [Batch {
            index: batch,
            ..Batch::default()
        }];
        let listed = self.run.list_receipts().unwrap_or_default();
        let receipts = self.run.receipts_of(&of_it, &listed).unwrap_or_default();
        let bad = receipts.values().find(|receipt| receipt.failed > 0);
        let letters = bad.and_then(|receipt| {
            let name = RunDir::dead_letters_name(receipt.range());
            self.run.get(&name).ok().flatten()
        });
        let letters = letters.unwrap_or_default();
        let first = letters
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        String::from_utf8_lossy(first).into_owned()
    }
}

/// What was done.
struct Finished {
    tally: Tally,
    /// All of them, where they are in memory.
    receipts: Option<Receipts>,
    concurrency: usize,
}

/// What the run cost, into its summary, and the page that tells it all, into its directory. A run that is done does not fail
/// because it cannot be accounted for: the summary says what is wrong then.
fn account(run: &RunDir, job: &Job, done: &Finished, limits: &Limits, summary: &mut Summary) {
    let prices = crate::plan::prices(limits.prices.as_deref());
    let accounted = prices.and_then(|prices| {
        let bill = |state: &RunState| report::bill(run, job, &done.tally.totals, state, &prices);
        let Some(receipts) = &done.receipts else {
            summary.cost = bill(&report::state(run)?)?;
            // It shows every call, and so takes memory by the batch, which this run has not.
            return Ok(None);
        };
        let history = CallHistory::of(&run.events_beside(receipts)?);
        let bill = bill(history.state())?;
        summary.cost = bill.clone();
        let page = report::of(run, job, receipts, history, bill)?;
        report::keep(run, &page).map(Some)
    });
    match accounted {
        Ok(place) => summary.report = place,
        Err(error) => summary.not_accounted = Some(error.to_string()),
    }
}

/// Collects a run that is done, and works on nothing.
pub(super) fn collect_only(
    run: &RunDir,
    job: &Job,
    destination: &Destination,
    started: Instant,
    emit: &mut EventSink<'_>,
) -> Result<Summary> {
    let (mut tally, mut missing) = (Tally::default(), 0);
    let is_long = job.batches > BATCHES_AT_ONCE.get() as u64;
    let mut all = None;
    run.each_window(job, BATCHES_AT_ONCE, &mut |batches, receipts| {
        emit.emit(Event::Verifying {
            parts: receipts.len() as u64,
        });
        let mut whole = receipts.clone();
        for range in damaged(run, job, receipts)? {
            whole.remove(range.batch, range.offset);
        }
        whole.retain_ranges_of(batches);
        missing += whole.open(batches).len() as u64;
        tally.add(&Processed {
            reused: whole.clone(),
            receipts: whole.clone(),
            time: Duration::ZERO,
        });
        all = (!is_long).then_some(whole);
        Ok(())
    })?;
    if missing > 0 {
        return Err(Error::Unfinished {
            run: run.reference(),
            missing,
            batches: job.batches,
        });
    }
    deliver(run, job, &tally.ranges, destination, emit)?;
    let mut summary = Summary::new(run, job, destination.name(), &tally, 0, started.elapsed());
    emit.emit(Event::Completed {
        results: summary.results,
        failed: summary.failed,
    });
    let done = Finished {
        tally,
        receipts: all,
        concurrency: 0,
    };
    account(run, job, &done, &Limits::default(), &mut summary);
    Ok(summary)
}

/// Writes the output and the dead letters of a run whose parts are all there and whole.
fn deliver(
    run: &RunDir,
    job: &Job,
    ranges: &CompletedRanges,
    destination: &Destination,
    emit: &mut EventSink<'_>,
) -> Result<()> {
    collect(run, job, ranges, destination, &mut |event| emit.emit(event))?;
    collect_dead_letters(run, ranges)?;
    Ok(())
}
