//! A planned run: dispatching what is left, and collecting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_dispatch::{DispatchError, Plan, RetryPolicy, Worked, work_off};
use shoal_encoder::Model;
use shoal_job::collect::{Destination, collect, collect_dead_letters, damaged};
use shoal_job::run_dir::{EventLog, RunLock};
use shoal_job::{Batch, Cancel, Event, Job, Receipts, RunDir};

use crate::guards::within;
use crate::place::Place;
use crate::summary::Clock;
use crate::{EngineSettings, Error, Guards, OnError, Result, Summary, cost, log, report, trust};

/// Writes events to the run's log and hands them on.
pub(super) struct Teller<'a> {
    run: String,
    log: EventLog,
    tell: &'a mut dyn FnMut(&Event),
}

impl<'a> Teller<'a> {
    pub(super) fn new(run: &RunDir, tell: &'a mut dyn FnMut(&Event)) -> Result<Self> {
        Ok(Self {
            run: run.reference(),
            log: run.event_log()?,
            tell,
        })
    }

    pub(super) fn tell(&mut self, event: Event) {
        if event.is_recorded() {
            // The log explains a run; a run must not fail because its log does. A disk that is full ends it soon
            // enough, with a better message.
            let _ = self.log.append(&event);
        }
        log::event(&self.run, &event);
        (self.tell)(&event);
    }

    /// The end of a start of the run that did not come to its own.
    pub(super) fn end(&mut self, error: &Error) {
        match error {
            // Told already, with the time at which it was so.
            Error::Cancelled { .. } | Error::OutOfTime { .. } | Error::Detached { .. } => {}
            error => self.tell(Event::Stopped {
                reason: error.to_string(),
            }),
        }
    }
}

/// A planned run, ready to be worked off.
pub(super) struct Stage {
    pub(super) run: RunDir,
    pub(super) job: Job,
    pub(super) batches: Vec<Batch>,
    pub(super) model: Arc<Model>,
    pub(super) destination: Destination,
    pub(super) place: Place,
    pub(super) engine: EngineSettings,
    pub(super) on_error: OnError,
    pub(super) guards: Guards,
    /// This user made the run.
    pub(super) is_own: bool,
    /// Held to the end.
    pub(super) _lock: RunLock,
}

impl Stage {
    /// Works off what is left, and collects.
    pub(super) fn finish(
        self,
        started: Instant,
        cancel: &Cancel,
        tell: &mut Teller<'_>,
    ) -> Result<Summary> {
        let end = self.work_and_collect(started, cancel, tell);
        if let Err(error) = &end {
            tell.end(error);
        }
        end
    }

    fn work_and_collect(
        self,
        started: Instant,
        cancel: &Cancel,
        tell: &mut Teller<'_>,
    ) -> Result<Summary> {
        let (run, job) = (&self.run, &self.job);
        tell.tell(Event::Planned {
            records: job.records,
            batches: job.batches,
        });
        let seconds = self.seconds()?;
        let spending = self.spending()?;
        self.place.remember(run)?;
        if self.is_own {
            trust::remember(run);
        }
        let backend = self
            .place
            .backend(run, job, &self.batches, &self.model, &self.engine)?;
        let plan = Plan {
            run,
            job,
            batches: &self.batches,
            timeout: spending.timeout,
            retry: RetryPolicy::default(),
            stop_on_bad_record: self.on_error == OnError::Fail,
            speculation: Some(self.guards.speculation),
            budget: spending.budget.as_ref(),
        };
        let (worked, is_late) = within(seconds, cancel, |stop| {
            work_off(&plan, backend.as_ref(), stop, &mut |event| tell.tell(event))
        });
        let worked = worked.map_err(|error| {
            if matches!(error, DispatchError::Cancelled) {
                tell.tell(Event::Cancelled);
                if let Some(seconds) = seconds.filter(|_| is_late && !cancel.is_cancelled()) {
                    return Error::OutOfTime {
                        run: run.reference(),
                        seconds,
                    };
                }
            }
            Error::from_dispatch(error, run.reference(), |batch| {
                self.first_dead_letter(batch)
            })
        })?;
        let concurrency = backend.concurrency();
        // What is left to do takes memory by the batch too.
        drop(backend);
        drop(self.batches);
        deliver(run, job, &worked.receipts, &self.destination, tell)?;
        let clock = Clock {
            total: started.elapsed(),
            dispatch: worked.time,
        };
        let mut summary = Summary::new(
            run,
            job,
            self.destination.name(),
            &worked,
            concurrency,
            clock,
        );
        tell.tell(Event::Completed {
            results: summary.results,
            failed: summary.failed,
        });
        account(run, job, &worked.receipts, &self.guards, &mut summary);
        Ok(summary)
    }

    /// Seconds that this start may work, where there is a limit.
    fn seconds(&self) -> Result<Option<f64>> {
        let is_by_the_hour = self.guards.max_usd.is_some() && self.place.machine.is_some();
        let before = if is_by_the_hour {
            cost::seconds_at_work(&self.run.events()?)
        } else {
            0.0
        };
        let seconds = self.guards.seconds(&self.place, before);
        match seconds {
            Some(seconds) if seconds <= 0.0 => Err(Error::OutOfTime {
                run: self.run.reference(),
                seconds: before,
            }),
            seconds => Ok(seconds),
        }
    }

    fn first_dead_letter(&self, batch: u64) -> String {
        let receipts = self.run.receipts().unwrap_or_default();
        let bad = receipts
            .values()
            .find(|receipt| receipt.batch == batch && receipt.failed > 0);
        let letters = bad.and_then(|receipt| {
            let name = RunDir::dead_letters_name(receipt.piece());
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

/// What the run cost, into its summary, and the page that tells it all, into its directory. A run that is done does not fail
/// because it cannot be accounted for: the summary says what is wrong then.
fn account(run: &RunDir, job: &Job, receipts: &Receipts, guards: &Guards, summary: &mut Summary) {
    let prices = crate::plan::prices(guards.prices.as_deref());
    let accounted = prices.and_then(|prices| {
        let events = run.events_beside(receipts)?;
        let bill = report::bill(run, job, receipts, &events, &prices)?;
        summary.cost = bill.clone();
        let page = report::of(run, job, receipts, &events, bill)?;
        report::keep(run, &page)
    });
    match accounted {
        Ok(place) => summary.report = Some(place),
        Err(error) => summary.not_accounted = Some(error.to_string()),
    }
}

/// Collects a run that is done, and works on nothing.
pub(super) fn collect_only(
    run: &RunDir,
    job: &Job,
    destination: &Destination,
    started: Instant,
    tell: &mut Teller<'_>,
) -> Result<Summary> {
    let batches = run.batches(job)?;
    let mut receipts = run.receipts()?;
    receipts.retain_pieces_of(&batches);
    tell.tell(Event::Verifying {
        parts: receipts.values().count() as u64,
    });
    for piece in damaged(run, job, &receipts)? {
        receipts.remove(piece.batch, piece.offset);
    }
    receipts.retain_pieces_of(&batches);
    let missing = receipts.open(&batches).len() as u64;
    if missing > 0 {
        return Err(Error::Unfinished {
            run: run.reference(),
            missing,
            batches: job.batches,
        });
    }
    deliver(run, job, &receipts, destination, tell)?;
    let worked = Worked {
        reused: receipts.clone(),
        receipts,
        time: Duration::ZERO,
    };
    let clock = Clock {
        total: started.elapsed(),
        dispatch: worked.time,
    };
    let mut summary = Summary::new(run, job, destination.name(), &worked, 0, clock);
    tell.tell(Event::Completed {
        results: summary.results,
        failed: summary.failed,
    });
    account(run, job, &worked.receipts, &Guards::default(), &mut summary);
    Ok(summary)
}

/// Writes the output and the dead letters of a run whose parts are all there and whole.
fn deliver(
    run: &RunDir,
    job: &Job,
    receipts: &Receipts,
    destination: &Destination,
    tell: &mut Teller<'_>,
) -> Result<()> {
    collect(run, job, receipts, destination, &mut |event| {
        tell.tell(event)
    })?;
    collect_dead_letters(run, receipts)?;
    Ok(())
}
