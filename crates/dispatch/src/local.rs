//! The local backend: worker threads of this process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use shoal_job::wire::{Failure, Invocation, Receipt};
use shoal_job::{Cancel, Event};
use tokio::sync::oneshot;

use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};

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
    fn work(&self, inbox: Receiver<Order>, cancel: &Cancel) {
        let mut worker = None;
        for Order { invocation, answer } in inbox {
            // A worker that crashed is not used again: its memory may be in any state.
            let mut current = worker.take().unwrap_or_else(|| (self.make_worker)());
            let result = catch_unwind(AssertUnwindSafe(|| current(&invocation, cancel)));
            let result = match result {
                Ok(result) => {
                    worker = Some(current);
                    result
                }
                Err(panic) => Err(Failure::crashed(&*panic)),
            };
            // Who asked may have stopped waiting.
            let _ = answer.send(result);
        }
    }
}

/// What a worker is to do, and where it answers.
struct Order {
    invocation: Invocation,
    answer: oneshot::Sender<Result<Receipt, Failure>>,
}

/// The threads as seen by whoever fans out: a thread is a lane.
struct Threads<'a> {
    inboxes: Vec<Sender<Order>>,
    /// Seen by the workers; it is there when the user's wish is, or when the run has failed.
    stop: &'a Cancel,
}

impl Caller for Threads<'_> {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let (answer, answered) = oneshot::channel();
        let order = Order {
            invocation: invocation.clone(),
            answer,
        };
        self.inboxes[lane]
            .send(order)
            .expect("a worker lives as long as its inbox");
        answered.await.expect("a worker answers every invocation")
    }

    fn stop(&self) -> bool {
        self.stop.cancel();
        true
    }
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

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let stop = work.cancel.child();
        thread::scope(|scope| {
            let workers = self.concurrency.min(work.batches.len()).max(1);
            let inboxes = (0..workers)
                .map(|worker| {
                    let (sender, inbox) = channel();
                    let stop = &stop;
                    thread::Builder::new()
                        .name(format!("shoal-worker-{worker}"))
                        .spawn_scoped(scope, move || self.work(inbox, stop))
                        .expect("the system can start a thread per worker");
                    sender
                })
                .collect();
            let threads = Threads {
                inboxes,
                stop: &stop,
            };
            let settings = FanOut {
                concurrency: workers,
                ramp: None,
                second_attempts: false,
            };
            fan_out(&threads, settings, work, emit)
        })
    }
}
