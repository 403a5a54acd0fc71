//! A planned run: dispatching what is left, and collecting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_dispatch::{Backend, DispatchError, Local, RetryPolicy, Work};
use shoal_encoder::Model;
use shoal_function::Function;
use shoal_job::collect::{Destination, collect, collect_dead_letters, damaged};
use shoal_job::run_dir::{EventLog, RunLock};
use shoal_job::wire::{Invocation, Receipt};
use shoal_job::{Batch, Cancel, Event, Job, RunDir};

use crate::summary::Clock;
use crate::{Error, OnError, Result, Summary};

/// Writes events to the run's log and hands them on.
pub(super) struct Teller<'a> {
    log: EventLog,
    tell: &'a mut dyn FnMut(&Event),
}

impl<'a> Teller<'a> {
    pub(super) fn new(run: &RunDir, tell: &'a mut dyn FnMut(&Event)) -> Result<Self> {
        Ok(Self {
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
        (self.tell)(&event);
    }
}

/// A planned run, ready to be worked off.
pub(super) struct Stage {
    pub(super) run: RunDir,
    pub(super) job: Job,
    pub(super) batches: Vec<Batch>,
    pub(super) model: Arc<Model>,
    pub(super) destination: Destination,
    pub(super) concurrency: usize,
    pub(super) on_error: OnError,
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
        let Self { run, job, .. } = &self;
        tell.tell(Event::Planned {
            records: job.records,
            batches: job.batches,
        });
        let function = Function::new(run.clone(), job.clone(), self.model.clone())
            .map_err(|failure| Error::Batch { batch: 0, failure })?;
        let backend = Local::new(self.concurrency, || {
            let mut worker = function.worker();
            move |invocation: &Invocation, cancel: &Cancel| worker.handle(invocation, cancel)
        });
        let mut receipts = self.receipts()?;
        let reused = (
            receipts.len() as u64,
            receipts
                .values()
                .map(|receipt| receipt.records)
                .sum::<u64>(),
        );
        tell.tell(Event::Started {
            backend: backend.name().to_owned(),
            concurrency: backend.concurrency(),
            reused_batches: reused.0,
            reused_records: reused.1,
        });
        if self.on_error == OnError::Fail
            && let Some((batch, _)) = receipts.iter().find(|(_, receipt)| receipt.failed > 0)
        {
            return Err(Error::BadRecord {
                dead_letter: self.first_dead_letter(*batch),
            });
        }
        let mut dispatch_time = Duration::ZERO;
        let mut rounds = 0;
        loop {
            let dispatched = Instant::now();
            self.dispatch(&backend, &mut receipts, cancel, tell)?;
            dispatch_time += dispatched.elapsed();
            let damaged = damaged(run, job, &receipts)?;
            let Some(first) = damaged.first() else { break };
            rounds += 1;
            if rounds == RetryPolicy::default().attempts {
                return Err(shoal_job::Error::Corrupt {
                    run: run.name(),
                    reason: format!(
                        "part {first} reads back otherwise than it was written, again and again"
                    ),
                }
                .into());
            }
            // The disk lost what it had taken; the batch is done again.
            for batch in damaged {
                run.forget(batch, job.parameters.output_format)?;
                receipts.remove(&batch);
            }
        }
        collect(run, job, &self.destination, &mut |event| tell.tell(event))?;
        collect_dead_letters(run, &receipts)?;
        let clock = Clock {
            total: started.elapsed(),
            dispatch: dispatch_time,
        };
        let output = self.destination.name();
        let summary = Summary::new(run, job, output, &receipts, reused, self.concurrency, clock);
        tell.tell(Event::Completed {
            results: summary.results,
            failed: summary.failed,
        });
        Ok(summary)
    }

    /// The receipts of this job's batches; what else may lie among them is passed over.
    fn receipts(&self) -> Result<BTreeMap<u64, Receipt>> {
        let mut receipts = self.run.receipts()?;
        receipts.retain(|batch, receipt| {
            self.batches
                .get(*batch as usize)
                .is_some_and(|planned| planned.records == receipt.records)
        });
        Ok(receipts)
    }

    /// Has every batch without a receipt worked off.
    fn dispatch(
        &self,
        backend: &dyn Backend,
        receipts: &mut BTreeMap<u64, Receipt>,
        cancel: &Cancel,
        tell: &mut Teller<'_>,
    ) -> Result<()> {
        let is_open = |batch: &&Batch| !receipts.contains_key(&batch.index);
        let work = Work {
            batches: self.batches.iter().filter(is_open).collect(),
            retry: RetryPolicy::default(),
            stop_on_bad_record: self.on_error == OnError::Fail,
            cancel,
        };
        let end = backend.run(&work, &mut |event| {
            if let Event::Finished { receipt, .. } = &event {
                receipts.insert(receipt.batch, (**receipt).clone());
            }
            tell.tell(event);
        });
        end.map_err(|error| {
            if error == DispatchError::Cancelled {
                tell.tell(Event::Cancelled);
            }
            Error::from_dispatch(error, self.run.name(), |batch| {
                self.first_dead_letter(batch)
            })
        })
    }

    fn first_dead_letter(&self, batch: u64) -> String {
        let letters = self
            .run
            .get(&RunDir::dead_letters_name(batch))
            .ok()
            .flatten();
        let letters = letters.unwrap_or_default();
        let first = letters
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        String::from_utf8_lossy(first).into_owned()
    }
}
