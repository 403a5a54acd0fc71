//! The local backend: worker threads of this process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use shoal_job::wire::{Failure, Invocation, Receipt};
use shoal_job::{Cancel, Event};
use tokio::sync::oneshot;

use crate::{Backend, Caller, DispatchError, FanOut, Work, fan_out};

/// Runs the function on threads of this process. `F` creates a worker, which handles one invocation at a time; every
/// thread has its own worker.
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
    /// Creates a backend with `concurrency` threads.
    ///
    /// # Panics
    /// Panics if `concurrency` is 0.
    pub fn new(concurrency: usize, make_worker: F) -> Self {
        assert!(concurrency > 0, "a backend needs a worker");
        Self {
            concurrency,
            make_worker,
        }
    }

    /// Handles requests until the inbox is closed.
    fn work(&self, inbox: Receiver<Request>, cancel: &Cancel) {
        let mut worker = None;
        for (invocation, answer) in inbox {
            // A worker that panicked is not reused: its state may be inconsistent.
            let mut current = worker.take().unwrap_or_else(|| (self.make_worker)());
            let result = catch_unwind(AssertUnwindSafe(|| current(&invocation, cancel)));
            let result = match result {
                Ok(result) => {
                    worker = Some(current);
                    result
                }
                Err(panic) => Err(Failure::crashed(&*panic)),
            };
            // The receiver may have been dropped after a timeout or a cancellation.
            let _ = answer.send(result);
        }
    }
}

/// An invocation and the channel for its result.
type Request = (Invocation, oneshot::Sender<Result<Receipt, Failure>>);

/// The worker threads, one for each lane.
struct Threads<'a> {
    inboxes: Vec<Sender<Request>>,
    /// Stops the workers. Set when the user cancels, or when the run has failed.
    stop: &'a Cancel,
}

impl Caller for Threads<'_> {
    async fn call(&self, lane: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let (answer, answered) = oneshot::channel();
        self.inboxes[lane]
            .send((invocation.clone(), answer))
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
                allow_speculation: false,
            };
            fan_out(&threads, settings, work, emit)
        })
    }
}
