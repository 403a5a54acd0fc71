//! A simulated platform that calls the function. It throttles and duplicates calls, and loses, delays and corrupts answers.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use object_store::ObjectStore;
use shoal_conformance::HashLabels;
use shoal_dispatch::{Backend, Caller, DispatchError, FanOut, Work, drive};
use shoal_function::{CallLimits, Clock, Function, Host};
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Cancel, Event, Job, RunDir};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep, sleep_until};

use crate::Fault;
use crate::scenario::{CrashPoint, Trigger, choose, rng};
use crate::simulation::Simulation;
use crate::store::Handle;

/// How long a machine sleeps.
const SLEEP: Duration = Duration::from_secs(3600);
/// The time after which the platform reports a lost call if calls have no time limit.
const NOTICE: Duration = Duration::from_secs(30);

/// The run directory in `store`.
pub(crate) fn run_dir(store: Arc<dyn ObjectStore>) -> RunDir {
    RunDir::on(store, "run".into(), "chaos://store/run")
}

/// The platform of a command.
pub(crate) struct Platform {
    /// The command's process.
    pub(crate) handle: Handle,
    pub(crate) job: Arc<Job>,
}

impl Backend for Platform {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn concurrency(&self) -> usize {
        self.handle.simulation().scenario.concurrency
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // One blocking thread, so that requests always have the same order.
            .max_blocking_threads(1)
            .build()
            .expect("the system can start a runtime");
        let calls = Calls {
            platform: self,
            timeout: work.timeout.map(|timeout| timeout + work.retry.grace),
            stop: work.cancel.child(),
            base: runtime.block_on(async { Instant::now() }),
            begun: self.handle.simulation().scheduler.now(),
            has_called: AtomicBool::new(false),
        };
        calls.drive(&runtime, work, emit)
    }
}

/// The calls of one [`Backend::run`].
struct Calls<'a> {
    platform: &'a Platform,
    timeout: Option<Duration>,
    /// Stops functions that run in the process of the command.
    stop: Cancel,
    /// The same instant on the runtime's clock and on the scheduler's.
    base: Instant,
    begun: Duration,
    has_called: AtomicBool,
}

/// Why the loop pauses.
enum Pause {
    Ended(Result<(), DispatchError>),
    /// There are events to emit, or a call was made.
    Step,
    /// Another actor is due.
    Turn,
}

impl Calls<'_> {
    /// Drives the dispatcher until it ends or its process crashes. Time advances from timer to timer, and the loop yields to
    /// other actors when they are due.
    fn drive(
        &self,
        runtime: &Runtime,
        work: &Work<'_>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), DispatchError> {
        let handle = &self.platform.handle;
        let simulation = handle.simulation();
        let scheduler = &simulation.scheduler;
        let settings = FanOut {
            concurrency: simulation.scenario.concurrency,
            ramp: simulation.scenario.ramp,
            allow_speculation: !simulation.scenario.in_process,
        };
        let (events, emitted) = channel();
        let mut drive = pin!(drive(self, settings, work, events));
        let mut chance = rng(
            simulation.scenario.seed,
            "sleep",
            simulation.state().requests,
        );
        loop {
            let turn = scheduler.next_turn().expect("the user actor is waiting");
            let mut pending = Vec::new();
            let pause = runtime.block_on(async {
                let mut turn = pin!(sleep_until(self.base + turn.saturating_sub(self.begun)));
                poll_fn(|context| {
                    scheduler.set_now(self.now());
                    let end = drive.as_mut().poll(context);
                    pending.extend(emitted.try_iter());
                    if let Poll::Ready(end) = end {
                        return Poll::Ready(Pause::Ended(end));
                    }
                    if self.has_called.swap(false, Ordering::Relaxed) || !pending.is_empty() {
                        return Poll::Ready(Pause::Step);
                    }
                    turn.as_mut().poll(context).map(|()| Pause::Turn)
                })
                .await
            });
            for event in pending {
                show(simulation, &event);
                emit(event);
            }
            if handle.is_dead() || scheduler.is_stuck() {
                return Err(DispatchError::Cancelled);
            }
            let now = scheduler.now();
            match pause {
                Pause::Ended(end) => return end,
                Pause::Step => {}
                Pause::Turn => {
                    scheduler.yield_with_timers();
                    if chance.f64() < simulation.rate(Fault::ClientSleeps) * 0.01 {
                        scheduler.log("its machine sleeps for an hour");
                        simulation.inject(Fault::ClientSleeps);
                        scheduler.wait_until(now + SLEEP);
                    }
                }
            }
            // Emitting events and sleeping take time.
            runtime.block_on(async {
                let late = scheduler.now().saturating_sub(self.now());
                if !late.is_zero() {
                    advance(late).await;
                }
            });
            scheduler.set_now(runtime.block_on(async { self.now() }));
        }
    }

    /// The scheduler's time according to the runtime's clock.
    fn now(&self) -> Duration {
        self.begun + (Instant::now() - self.base)
    }

    fn is_throttling_period(&self) -> bool {
        let now = self.now();
        let simulation = self.platform.handle.simulation();
        let mut throttling_periods = simulation.scenario.throttling_periods.iter();
        !simulation.state().is_fault_free
            && throttling_periods.any(|(from, until)| (*from..*until).contains(&now))
    }
}

impl Caller for Calls<'_> {
    async fn call(&self, _: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let handle = &self.platform.handle;
        let simulation = handle.simulation();
        let number = simulation.number_call();
        let batch = invocation.batch.index;
        let chance = &mut rng(simulation.scenario.seed, "platform", number);
        if self.is_throttling_period() || chance.f64() < simulation.rate(Fault::Throttled) {
            simulation.inject(Fault::Throttled);
            sleep(Duration::from_millis(chance.u64(1..80))).await;
            return Err(Failure::new(FailureKind::Throttled, "429"));
        }
        if simulation.state().outage == Some(Fault::PermissionLost) && chance.bool() {
            return Err(Failure::new(FailureKind::Refused, "403"));
        }
        let (answer, answered) = oneshot::channel();
        let occurs = |chance: &mut Rng, fault| chance.f64() < simulation.rate(fault);
        let crash = occurs(chance, Fault::FunctionCrash).then(|| Trigger {
            step: chance.u64(1..=8),
            counts_all_requests: false,
            point: CrashPoint::any(chance),
        });
        let answer_fault = [Fault::AnswerLost, Fault::AnswerLate, Fault::AnswerCorrupt]
            .into_iter()
            .find(|fault| occurs(chance, *fault));
        let spawn = |number, at, answer, answer_fault| {
            let call = Call {
                simulation: simulation.clone(),
                parent: simulation.scenario.in_process.then(|| handle.clone()),
                job: self.platform.job.clone(),
                invocation: invocation.clone(),
                number,
                crash: crash.filter(|_| answer_fault != Some(Fault::CallTwice)),
                cancel: match simulation.scenario.in_process {
                    true => self.stop.clone(),
                    false => Cancel::new(),
                },
                timeout: self.timeout,
                answer_fault,
                answer,
            };
            let name = format!("call {number} ({batch})");
            simulation.scheduler.spawn(name, at, move || call.make());
        };
        let start = self.now() + Duration::from_millis(chance.u64(1..200));
        spawn(number, start, Some(answer), answer_fault);
        if occurs(chance, Fault::CallTwice) {
            simulation.inject(Fault::CallTwice);
            let later = start + Duration::from_millis(chance.u64(1..5_000));
            let number = simulation.number_call();
            spawn(number, later, None, Some(Fault::CallTwice));
        }
        self.has_called.store(true, Ordering::Relaxed);
        match answered.await {
            Ok(result) => result,
            // The answer is lost.
            Err(_) => std::future::pending().await,
        }
    }

    fn stop(&self) -> bool {
        self.stop.cancel();
        self.platform.handle.simulation().scenario.in_process
    }
}

/// A call of the function.
struct Call {
    simulation: Arc<Simulation>,
    parent: Option<Handle>,
    job: Arc<Job>,
    invocation: Invocation,
    number: u64,
    crash: Option<Trigger>,
    cancel: Cancel,
    timeout: Option<Duration>,
    answer_fault: Option<Fault>,
    answer: Option<oneshot::Sender<Result<Receipt, Failure>>>,
}

impl Call {
    /// The time after which the caller gives up.
    fn wait(&self) -> Duration {
        self.timeout.unwrap_or(NOTICE)
    }

    fn make(mut self) {
        let scheduler = self.simulation.scheduler.clone();
        let batch = self.invocation.batch.index;
        let handle = Handle::of_call(
            &self.simulation,
            (batch, self.number),
            self.parent.as_ref(),
            self.crash,
        );
        let mut result = if self.is_poisoned() {
            self.simulation.inject(Fault::PoisonRecord);
            self.simulation.mark_disturbed(batch, self.number);
            handle.die();
            Err(Failure::new(FailureKind::Crashed, "crashed by a record"))
        } else {
            self.work(&handle)
        };
        match &result {
            Ok(receipt) => scheduler.log(format_args!(
                "done: {}+{} of batch {batch}, {} more",
                receipt.offset, receipt.records, receipt.remaining
            )),
            Err(failure) => scheduler.log(format_args!("fails ({:?})", failure.kind)),
        }
        let chance = &mut rng(self.simulation.scenario.seed, "answer", self.number);
        let Some(answer) = self.answer.take() else {
            return;
        };
        if self.parent.as_ref().is_some_and(Handle::is_dead) {
            return;
        }
        let mut duration = Duration::from_millis(chance.u64(1..50));
        let lost = || Failure::new(FailureKind::Crashed, "the environment has crashed");
        let mut is_lost = false;
        if handle.is_dead() {
            is_lost = self.timeout.is_some() && chance.bool();
            result = Err(lost());
        } else if let Some(answer_fault) = self.answer_fault {
            match answer_fault {
                Fault::AnswerLost => {
                    is_lost = self.timeout.is_some();
                    result = Err(lost());
                    duration = NOTICE;
                }
                Fault::AnswerLate => duration = self.wait().mul_f64(chance.f64() * 3.0),
                Fault::AnswerCorrupt => {
                    if let Ok(receipt) = &mut result {
                        corrupt(receipt, chance);
                    }
                }
                _ => {}
            }
            self.simulation.inject(answer_fault);
            self.simulation.mark_disturbed(batch, self.number);
            scheduler.log(answer_fault);
        }
        scheduler.wait_until(scheduler.now() + duration);
        if !is_lost {
            // The caller may have timed out.
            let _ = answer.send(result);
        }
    }

    /// Whether one of the records crashes the function.
    fn is_poisoned(&self) -> bool {
        let batch = &self.invocation.batch;
        let first = batch.slices.first().map_or(0, |slice| slice.row);
        let rows = first + batch.offset..first + batch.end();
        let mut poison = self.simulation.scenario.poison.iter();
        let is_hit = poison.any(|row| rows.contains(row));
        is_hit && self.invocation.quarantine.is_none() && !self.simulation.state().is_fault_free
    }

    fn work(&self, handle: &Handle) -> Result<Receipt, Failure> {
        let run = run_dir(Arc::new(handle.clone()));
        let found = run.job()?;
        if found.as_ref() != Some(&*self.job) {
            let text = format!("job.json contains another job: {found:?}");
            return Err(Failure::new(FailureKind::Input, text));
        }
        let runner = Arc::new(HashLabels::default());
        let function = Function::new(run, (*self.job).clone(), runner)?;
        let environment = Arc::new(Host::of(function)).environment();
        let limits = CallLimits {
            cancel: self.cancel.clone(),
            deadline: None,
        };
        environment
            .with_clock(self.clock())
            .handle(&self.invocation, &limits)
    }

    /// The clock of the function. Each read advances the time by a little, and rarely by a lot.
    fn clock(&self) -> Clock {
        let Simulation { scheduler, .. } = &*self.simulation;
        let chance = &mut rng(self.simulation.scenario.seed, "clock", self.number);
        let pace = self.simulation.scenario.clock_step.as_nanos() as u64;
        let step = Duration::from_nanos(chance.u64(0..=pace));
        let sleeps = chance.f64() < self.simulation.rate(Fault::FunctionSleeps);
        let sleeps_at = sleeps.then(|| chance.u64(1..60));
        let time_asleep = *choose(chance, &[self.wait() * 2, SLEEP]);
        let (base, start) = (std::time::Instant::now(), scheduler.now());
        let looks = AtomicU64::new(0);
        let (batch, number) = (self.invocation.batch.index, self.number);
        let simulation = self.simulation.clone();
        Clock::new(move || {
            let look = 1 + looks.fetch_add(1, Ordering::Relaxed);
            let Simulation { scheduler, .. } = &*simulation;
            scheduler.set_now(scheduler.now() + step);
            if sleeps_at == Some(look) {
                simulation.inject(Fault::FunctionSleeps);
                simulation.mark_disturbed(batch, number);
                scheduler.log("is frozen");
                scheduler.wait_until(scheduler.now() + time_asleep);
            }
            base + scheduler.now().saturating_sub(start)
        })
    }
}

/// Corrupts a receipt: another range, other content or impossible numbers.
fn corrupt(receipt: &mut Receipt, chance: &mut Rng) {
    match chance.u8(..8) {
        0 => receipt.batch += 1,
        1 => receipt.records = 0,
        2 => receipt.records = u64::MAX,
        3 => receipt.failed = receipt.records + 1,
        4 => receipt.offset += 1,
        5 => receipt.part.bytes += 1,
        6 => receipt.part.checksum = "0".repeat(64),
        _ if receipt.records > 1 => {
            receipt.remaining += receipt.records - 1;
            receipt.records = 1;
            receipt.failed = receipt.failed.min(1);
        }
        _ => receipt.remaining += 1,
    }
}

fn show(simulation: &Simulation, event: &Event) {
    let scheduler = &simulation.scheduler;
    match event {
        Event::Dispatched { batch, attempt, .. } => {
            scheduler.log(format_args!("calls for batch {batch}, attempt {attempt}"));
        }
        Event::Finished { receipt, .. } => scheduler.log(format_args!(
            "has the receipt of {}+{} of batch {}",
            receipt.offset, receipt.records, receipt.batch
        )),
        Event::Failed {
            batch, kind, retry, ..
        } => scheduler.log(format_args!(
            "batch {batch} failed ({kind:?}), {}",
            if *retry { "retried" } else { "not retried" }
        )),
        _ => {}
    }
}
