//! A planned run: dispatches the open batches, and collects.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_dispatch::{
    Backend, DispatchError, Plan, Processed, process_batches, process_in_windows,
};
use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters, damaged};
use shoal_job::run_dir::{BACKEND, COMMAND, EventLog, REPORT, RunLock};
use shoal_job::windows::BATCHES_AT_ONCE;
use shoal_job::{Batch, Cancel, CompletedRanges, Event, Job, RunDir};
use shoal_report::{CallHistory, RunState};

use crate::backend::BackendContext;
use crate::error::NoResults;
use crate::limits::within;
use crate::settings::FIRST_RECORDS;
use crate::summary::Tally;
use crate::{Error, Limits, OnError, Result, Settings, Summary, log, report, runs, trust};

/// Writes events to the run's log and forwards them.
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
            // A run does not fail because of its log. A full disk ends it soon, with a better message.
            let _ = self.log.append(&event);
        }
        log::event(&self.run, &event);
        (self.emit)(&event);
    }

    /// Reports the error that ended this start.
    fn end(&mut self, error: &Error) {
        match error {
            // Reported already, when it happened.
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
    pub(super) runner: Arc<dyn Runner>,
    /// Why the runner has its precision, unless the user chose it.
    pub(super) precision_choice: Option<String>,
    pub(super) destination: Destination,
    pub(super) settings: Settings,
    /// Replaces the backend of the settings.
    pub(super) own_backend: Option<&'a dyn Backend>,
    /// Whether this user created the run.
    pub(super) is_own: bool,
    pub(super) _lock: RunLock,
}

impl Stage<'_> {
    /// Processes the open batches, and collects.
    pub(super) fn finish(
        self,
        started: Instant,
        cancel: &Cancel,
        emit: &mut EventSink<'_>,
    ) -> Result<Summary> {
        let end = self.process_and_collect(started, cancel, emit);
        end.inspect_err(|error| emit.end(error))
    }

    fn process_and_collect(
        &self,
        started: Instant,
        cancel: &Cancel,
        emit: &mut EventSink<'_>,
    ) -> Result<Summary> {
        let (run, job, settings) = (&self.run, &self.job, &self.settings);
        emit.emit(Event::Planned {
            records: job.records,
            batches: job.batches,
            notes: job.notes(),
        });
        let seconds = self.seconds()?;
        let spending = self.spending()?;
        let backend = settings.backend.file();
        if self.is_own {
            trust::announce(run, BACKEND, &backend);
        }
        run.replace(BACKEND, backend)?;
        if let Some(command) = &settings.command {
            let command = serde_json::to_vec(command).expect("words are always JSON");
            run.replace(COMMAND, command)?;
        }
        if self.is_own {
            trust::remember(run);
        }
        let plan = Plan {
            timeout: spending.timeout,
            stop_on_bad_record: settings.on_error == Some(OnError::Fail),
            first_records: settings.on_error.is_none().then_some(FIRST_RECORDS),
            speculation: Some(settings.limits.speculation),
            budget: spending.budget.as_ref(),
            ..Plan::new(run, job, &[])
        };
        let (tally, is_late) = within(seconds, cancel, |stop| self.process(&plan, stop, emit));
        let tally = tally.map_err(|error| {
            if !matches!(error, Error::Cancelled { .. }) {
                return error;
            }
            emit.emit(Event::Cancelled);
            match seconds.filter(|_| is_late && !cancel.is_cancelled()) {
                Some(seconds) => Error::OutOfTime {
                    run: run.reference(),
                    seconds,
                },
                None => error,
            }
        })?;
        let limits = &settings.limits;
        let mut summary = deliver(run, job, &tally, &self.destination, limits, started, emit)?;
        summary.precision_choice = self.precision_choice.clone();
        Ok(summary)
    }

    /// Processes the open batches.
    fn process(&self, plan: &Plan<'_>, stop: &Cancel, emit: &mut EventSink<'_>) -> Result<Tally> {
        let failed = |error| match error {
            DispatchError::BadRecord { batch } => Error::BadRecord {
                dead_letter: self.first_dead_letter(batch),
            },
            DispatchError::NoResults { records } => match self.collect_first_dead_letters() {
                Ok(()) => NoResults::of(&self.run, records, true).into(),
                Err(error) => error,
            },
            error => Error::from_dispatch(error, self.run.reference()),
        };
        let mut tally = Tally::default();
        let emit = &mut |event| emit.emit(event);
        if self.is_long() {
            let backend = self.build(&[])?;
            let backend = backend.as_ref();
            tally.concurrency = backend.concurrency();
            let size = self.batches_at_once();
            let add = &mut |processed: &Processed| tally.add(processed);
            process_in_windows(plan, size, backend, stop, emit, add).map_err(failed)?;
        } else {
            let batches = &self.run.batches(&self.job)?;
            let backend = self.build(batches)?;
            tally.concurrency = backend.concurrency();
            let plan = Plan { batches, ..*plan };
            let processed = process_batches(&plan, backend.as_ref(), stop, emit).map_err(failed)?;
            tally.add(&processed);
            tally.receipts = Some(processed.receipts);
        }
        Ok(tally)
    }

    fn build(&self, batches: &[Batch]) -> Result<Box<dyn Backend + '_>> {
        if let Some(own) = self.own_backend {
            return Ok(Box::new(own));
        }
        self.settings.backend.settings().build(&BackendContext {
            run: &self.run,
            job: &self.job,
            batches,
            runner: &self.runner,
            engine: &self.settings.model.engine,
        })
    }

    /// The size of a window. At its end fewer calls are in flight, so it has many batches per call.
    fn batches_at_once(&self) -> NonZeroUsize {
        let size = self.settings.batches_at_once.unwrap_or(BATCHES_AT_ONCE);
        let calls = self.settings.backend.calls_in_flight().saturating_mul(64);
        size.max(NonZeroUsize::new(calls).unwrap_or(size))
    }

    /// Whether the run is processed in windows, so that memory does not grow with it. Platforms get all batches at once:
    /// their fan-out, prices and limits apply to the whole run.
    fn is_long(&self) -> bool {
        !self.settings.backend.settings().is_platform()
            && self.job.batches > self.batches_at_once().get() as u64
    }

    /// The time limit of this start in seconds.
    fn seconds(&self) -> Result<Option<f64>> {
        let Settings {
            limits, backend, ..
        } = &self.settings;
        let is_by_the_hour = limits.max_usd.is_some() && backend.settings().machine().is_some();
        let before = if is_by_the_hour {
            runs::state(&self.run)?.seconds_at_work()
        } else {
            0.0
        };
        let seconds = limits.seconds(backend, before);
        match seconds {
            Some(seconds) if seconds <= 0.0 => Err(Error::OutOfTime {
                run: self.run.reference(),
                seconds: before,
            }),
            seconds => Ok(seconds),
        }
    }

    /// Joins the dead letters so far, those of a few batches.
    fn collect_first_dead_letters(&self) -> Result<()> {
        let receipts = self.run.receipts()?;
        Ok(collect_dead_letters(
            &self.run,
            &CompletedRanges::of(&receipts),
        )?)
    }

    /// The first dead letter of a batch.
    fn first_dead_letter(&self, index: u64) -> String {
        let batch = Batch {
            index,
            ..Batch::default()
        };
        let find = || -> Option<String> {
            let listed = self.run.list_receipts().ok()?;
            let receipts = self.run.receipts_of(&[batch], &listed).ok()?;
            let bad = receipts.values().find(|receipt| receipt.failed > 0)?;
            let name = RunDir::dead_letters_name(bad.range());
            let letters = self.run.get(&name).ok()??;
            let first = letters.split(|byte| *byte == b'\n').next()?;
            Some(String::from_utf8_lossy(first).into_owned())
        };
        find().unwrap_or_default()
    }
}

/// Collects a finished run without processing any batch.
pub(super) fn collect_only(
    run: &RunDir,
    job: &Job,
    destination: &Destination,
    started: Instant,
    emit: &mut EventSink<'_>,
) -> Result<Summary> {
    let (mut tally, mut missing) = (Tally::default(), 0);
    let is_long = job.batches > BATCHES_AT_ONCE.get() as u64;
    run.each_window(job, BATCHES_AT_ONCE, &mut |batches, receipts| {
        emit.emit(Event::Verifying {
            parts: receipts.len() as u64,
        });
        let mut intact = receipts.clone();
        for range in damaged(run, job, receipts)? {
            intact.remove(range.batch, range.offset);
        }
        intact.retain_ranges_of(batches);
        missing += intact.open(batches).len() as u64;
        tally.add(&Processed {
            reused: intact.clone(),
            receipts: intact.clone(),
            time: Duration::ZERO,
        });
        tally.receipts = (!is_long).then_some(intact);
        Ok(())
    })?;
    if missing > 0 {
        return Err(Error::Unfinished {
            run: run.reference(),
            missing,
            batches: job.batches,
        });
    }
    let limits = Limits::default();
    deliver(run, job, &tally, destination, &limits, started, emit)
}

/// Writes the output and the dead letters of a finished run, its summary and its report.
fn deliver(
    run: &RunDir,
    job: &Job,
    tally: &Tally,
    destination: &Destination,
    limits: &Limits,
    started: Instant,
    emit: &mut EventSink<'_>,
) -> Result<Summary> {
    let ranges = &tally.ranges;
    collect(run, job, ranges, destination, &mut |event| emit.emit(event))?;
    collect_dead_letters(run, ranges)?;
    let mut summary = Summary::new(run, job, destination.name(), tally, started.elapsed());
    summary.no_results = (summary.results == 0 && summary.records > 0)
        .then(|| NoResults::of(run, summary.records, false));
    emit.emit(Event::Completed {
        results: summary.results,
        failed: summary.failed,
    });
    match account(run, job, tally, limits, &mut summary) {
        Ok(report) => summary.report = report,
        // A finished run does not fail because of its report.
        Err(error) => summary.not_accounted = Some(error.to_string()),
    }
    Ok(summary)
}

/// Computes the cost of a run, and writes its report, whose location it returns.
fn account(
    run: &RunDir,
    job: &Job,
    tally: &Tally,
    limits: &Limits,
    summary: &mut Summary,
) -> Result<Option<String>> {
    let prices = crate::cost::prices(limits.prices.as_deref())?;
    let bill = |state: &RunState| report::bill(run, job, &tally.totals, state, &prices);
    let Some(receipts) = &tally.receipts else {
        summary.cost = bill(&runs::state(run)?)?;
        // The page shows every call, so its memory would grow with the run.
        return Ok(None);
    };
    let history = CallHistory::of(&run.events_beside(receipts)?);
    summary.cost = bill(history.state())?;
    let page = report::of(run, job, receipts, history, summary.cost.clone())?;
    run.replace(REPORT, page.html())?;
    Ok(Some(run.object_uri(REPORT)))
}
