//! The local backend: worker threads of this process.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Batch, Cancel, Event};

use crate::{Backend, DispatchError, Work};

/// Runs the function on threads of this process. `F` makes a worker, which handles invocations in turn; each thread
/// makes its own.
#[derive(Debug)]
pub struct Local<F> {
    concurrency: usize,
    make_worker: F,
}

impl<F, W> Local<F>
where
    F: Fn() -> W + Sync,
    W: FnMut(&Invocation, &Cancel) -> Result<Receipt, Failure>,
{
    /// A backend of `concurrency` threads.
    ///
    /// # Panics
    /// `concurrency` is 0.
    pub fn new(concurrency: usize, make_worker: F) -> Self {
        assert!(concurrency > 0, "a backend needs a worker");
        Self {
            concurrency,
            make_worker,
        }
    }

    /// What one thread does until there is nothing left for it.
    fn work(
        &self,
        worker: usize,
        inbox: Receiver<Invocation>,
        outbox: Sender<Answer>,
        cancel: &Cancel,
    ) {
        let mut handle = None;
        for invocation in inbox {
            // A worker that crashed is not used again: its memory may be in any state.
            let mut current = handle.take().unwrap_or_else(|| (self.make_worker)());
            let result = catch_unwind(AssertUnwindSafe(|| current(&invocation, cancel)));
            let result = match result {
                Ok(result) => {
                    handle = Some(current);
                    result
                }
                Err(panic) => {
                    let text = panic
                        .downcast_ref::<String>()
                        .map(String::as_str)
                        .or_else(|| panic.downcast_ref::<&str>().copied())
                        .unwrap_or("no message");
                    Err(Failure {
                        kind: FailureKind::Crashed,
                        reason: format!("the function crashed: {text}"),
                    })
                }
            };
            if outbox
                .send(Answer {
                    worker,
                    invocation,
                    result,
                })
                .is_err()
            {
                return;
            }
        }
    }
}

/// What a worker says of an invocation.
struct Answer {
    worker: usize,
    invocation: Invocation,
    result: Result<Receipt, Failure>,
}

impl<F, W> Backend for Local<F>
where
    F: Fn() -> W + Sync,
    W: FnMut(&Invocation, &Cancel) -> Result<Receipt, Failure>,
{
    fn name(&self) -> &'static str {
        "local"
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    fn run(&self, work: &Work<'_>, tell: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        // Seen by the workers; it is there when the user's wish is, or when the run has failed.
        let stop = work.cancel.child();
        thread::scope(|scope| {
            let (outbox, answers) = channel();
            let workers = self.concurrency.min(work.batches.len());
            let inboxes = (0..workers)
                .map(|worker| {
                    let (sender, inbox) = channel();
                    let (outbox, stop) = (outbox.clone(), &stop);
                    thread::Builder::new()
                        .name(format!("shoal-worker-{worker}"))
                        .spawn_scoped(scope, move || self.work(worker, inbox, outbox, stop))
                        .expect("the system can start a thread per worker");
                    sender
                })
                .collect();
            let mut queue = Queue::new(work, inboxes);
            let mut end = Ok(());
            loop {
                if !stop.is_cancelled() {
                    queue.dispatch(tell);
                }
                if queue.in_flight() == 0 {
                    break;
                }
                let answer = answers.recv().expect("a worker answers every invocation");
                if let Err(e) = queue.settle(answer, tell) {
                    stop.cancel();
                    end = end.and(Err(e));
                }
            }
            if end.is_ok() && !queue.is_done() {
                return Err(DispatchError::Cancelled);
            }
            end
        })
    }
}

/// Which batches wait, and which workers.
struct Queue<'a> {
    work: &'a Work<'a>,
    inboxes: Vec<Sender<Invocation>>,
    idle: Vec<usize>,
    next: usize,
    again: VecDeque<Invocation>,
    finished: usize,
}

impl<'a> Queue<'a> {
    fn new(work: &'a Work<'a>, inboxes: Vec<Sender<Invocation>>) -> Self {
        let idle = (0..inboxes.len()).rev().collect();
        Self {
            work,
            inboxes,
            idle,
            next: 0,
            again: VecDeque::new(),
            finished: 0,
        }
    }

    fn in_flight(&self) -> usize {
        self.inboxes.len() - self.idle.len()
    }

    fn is_done(&self) -> bool {
        self.finished == self.work.batches.len()
    }

    /// Gives every idle worker something to do, as long as there is something.
    fn dispatch(&mut self, tell: &mut dyn FnMut(Event)) {
        while let Some(worker) = self.idle.pop() {
            let Some(invocation) = self.next_invocation() else {
                self.idle.push(worker);
                return;
            };
            let (batch, attempt) = (invocation.batch.index, invocation.attempt);
            tell(Event::Dispatched {
                batch,
                attempt,
                worker,
            });
            self.inboxes[worker]
                .send(invocation)
                .expect("a worker lives as long as its inbox");
        }
    }

    fn next_invocation(&mut self) -> Option<Invocation> {
        if let Some(again) = self.again.pop_front() {
            return Some(again);
        }
        let batch: &Batch = self.work.batches.get(self.next)?;
        self.next += 1;
        Some(Invocation {
            batch: batch.clone(),
            attempt: 1,
        })
    }

    /// Takes an answer; an error ends the run.
    fn settle(&mut self, answer: Answer, tell: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let Answer {
            worker,
            mut invocation,
            result,
        } = answer;
        self.idle.push(worker);
        let (batch, attempt) = (invocation.batch.index, invocation.attempt);
        match result {
            Ok(receipt) => {
                self.finished += 1;
                let has_bad_record = receipt.failed > 0;
                tell(Event::Finished {
                    worker,
                    receipt: Box::new(receipt),
                });
                if has_bad_record && self.work.stop_on_bad_record {
                    return Err(DispatchError::BadRecord { batch });
                }
                Ok(())
            }
            Err(failure) if failure.kind == FailureKind::Cancelled => Ok(()),
            Err(failure) => {
                let retry = self.work.retry.tries_again(attempt, failure.kind);
                tell(Event::Failed {
                    batch,
                    attempt,
                    kind: failure.kind,
                    reason: failure.reason.clone(),
                    retry,
                });
                if !retry {
                    return Err(DispatchError::Batch {
                        batch,
                        attempt,
                        failure,
                    });
                }
                invocation.attempt += 1;
                self.again.push_back(invocation);
                Ok(())
            }
        }
    }
}
