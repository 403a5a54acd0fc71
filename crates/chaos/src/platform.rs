//! A platform that makes calls of the function: it loses, delays, doubles and garbles answers, and takes no calls at times.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use fastrand::Rng;
use object_store::ObjectStore;
use shoal_dispatch::conformance::drive;
use shoal_dispatch::{Backend, Caller, DispatchError, FanOut, Work};
use shoal_function::Runner;
use shoal_function::{CallLimits, Clock, Function, Host};
use shoal_job::wire::{Failure, FailureKind, Invocation, Receipt};
use shoal_job::{Cancel, Event, Job, RunDir};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep, sleep_until};

use crate::Fault;
use crate::cloud::Cloud;
use crate::scenario::{Doom, Moment, choose, rng};
use crate::store::Handle;

/// Where the run lies, and what functions know it as.
pub(crate) const RUN: &str = "run";
pub(crate) const URL: &str = "chaos://store/run";
/// How long a machine sleeps.
const SLEEP: Duration = Duration::from_secs(3600);
/// What is waited for answers where there is no timeout: then the platform tells what became of a call.
const NOTICE: Duration = Duration::from_secs(30);

/// The run directory as a process sees it.
pub(crate) fn run_dir(handle: &Handle) -> RunDir {
    let store: Arc<dyn ObjectStore> = Arc::new(handle.clone());
    RunDir::on(store, RUN.into(), URL)
}

/// The platform as a command sees it.
pub(crate) struct Platform {
    pub(crate) cloud: Arc<Cloud>,
    /// The command's own process.
    pub(crate) handle: Handle,
    pub(crate) job: Arc<Job>,
    pub(crate) runner: Arc<dyn Runner>,
}

impl Backend for Platform {
    fn name(&self) -> &'static str {
        "chaos"
    }

    fn concurrency(&self) -> usize {
        self.cloud.scenario.concurrency
    }

    fn run(&self, work: &Work<'_>, emit: &mut dyn FnMut(Event)) -> Result<(), DispatchError> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // Helpers follow each other, so that their requests always come in the same order.
            .max_blocking_threads(1)
            .build()
            .expect("the system can start a runtime");
        let calls = Calls {
            platform: self,
            timeout: work.timeout.map(|timeout| timeout + work.retry.grace),
            stop: work.cancel.child(),
            base: runtime.block_on(async { Instant::now() }),
            begun: self.cloud.world.now(),
            has_called: AtomicBool::new(false),
        };
        calls.drive(&runtime, work, emit)
    }
}

/// The calls of one start of the platform.
struct Calls<'a> {
    platform: &'a Platform,
    timeout: Option<Duration>,
    /// Seen by functions that are threads of the command.
    stop: Cancel,
    /// One moment, by the runtime's clock and by the world's.
    base: Instant,
    begun: Duration,
    has_called: AtomicBool,
}

/// Why the loop pauses.
enum Pause {
    Ended(Result<(), DispatchError>),
    /// Something is to be told, or a call was made.
    Step,
    /// It is the others' turn.
    Turn,
}

impl Calls<'_> {
    /// Drives the dispatcher until its end, or the end of its process. Time goes on from timer to timer, and stops for
    /// whoever else has something to do.
    fn drive(
        &self,
        runtime: &Runtime,
        work: &Work<'_>,
        emit: &mut dyn FnMut(Event),
    ) -> Result<(), DispatchError> {
        let Platform { cloud, handle, .. } = self.platform;
        let world = &cloud.world;
        let settings = FanOut {
            concurrency: cloud.scenario.concurrency,
            ramp: cloud.scenario.ramp,
            second_attempts: !cloud.scenario.in_process,
        };
        let (events, told) = channel();
        let mut drive = pin!(drive(self, settings, work, events));
        let mut chance = rng(cloud.scenario.seed, "sleep", cloud.requests());
        loop {
            let turn = world.next_turn().expect("the user waits");
            let mut happened = Vec::new();
            let pause = runtime.block_on(async {
                let mut turn = pin!(sleep_until(self.base + turn.saturating_sub(self.begun)));
                poll_fn(|context| {
                    world.set_now(self.now());
                    let end = drive.as_mut().poll(context);
                    happened.extend(told.try_iter());
                    if let Poll::Ready(end) = end {
                        return Poll::Ready(Pause::Ended(end));
                    }
                    if self.has_called.swap(false, Ordering::Relaxed) || !happened.is_empty() {
                        return Poll::Ready(Pause::Step);
                    }
                    turn.as_mut().poll(context).map(|()| Pause::Turn)
                })
                .await
            });
            for event in happened {
                show(cloud, &event);
                emit(event);
            }
            if handle.is_dead() || world.is_endless() {
                return Err(DispatchError::Cancelled);
            }
            let now = world.now();
            match pause {
                Pause::Ended(end) => return end,
                Pause::Step => {}
                Pause::Turn => {
                    world.yield_with_timers();
                    if chance.f64() < cloud.rate(Fault::ClientSleeps) * 0.01 {
                        world.emit("its machine sleeps for an hour");
                        cloud.inject(Fault::ClientSleeps);
                        world.wait_until(now + SLEEP);
                    }
                }
            }
            // Requests of whoever is told take time, and so does sleep.
            runtime.block_on(async {
                let late = world.now().saturating_sub(self.now());
                if !late.is_zero() {
                    advance(late).await;
                }
            });
            world.set_now(runtime.block_on(async { self.now() }));
        }
    }

    /// The world's time by the runtime's clock.
    fn now(&self) -> Duration {
        self.begun + (Instant::now() - self.base)
    }

    fn is_storm(&self) -> bool {
        let now = self.now();
        let Cloud { scenario, .. } = &*self.platform.cloud;
        let mut storms = scenario.storms.iter();
        !self.platform.cloud.is_calm() && storms.any(|(from, until)| (*from..*until).contains(&now))
    }
}

impl Caller for Calls<'_> {
    async fn call(&self, _: usize, invocation: &Invocation) -> Result<Receipt, Failure> {
        let Platform { cloud, handle, .. } = self.platform;
        let number = cloud.number_call();
        let batch = invocation.batch.index;
        let chance = &mut rng(cloud.scenario.seed, "platform", number);
        if self.is_storm() || chance.f64() < cloud.rate(Fault::Throttled) {
            cloud.inject(Fault::Throttled);
            sleep(Duration::from_millis(chance.u64(1..80))).await;
            return Err(Failure::new(FailureKind::Throttled, "429"));
        }
        if cloud.outage() == Some(Fault::PermissionLost) && chance.bool() {
            return Err(Failure::new(FailureKind::Refused, "403"));
        }
        let (answer, answered) = oneshot::channel();
        let befalls = |chance: &mut Rng, fault| chance.f64() < cloud.rate(fault);
        let crash = befalls(chance, Fault::FunctionCrash).then(|| Doom {
            step: chance.u64(1..=8),
            of_all: false,
            moment: Moment::any(chance),
        });
        let fate = [Fault::AnswerLost, Fault::AnswerLate, Fault::AnswerCorrupt]
            .into_iter()
            .find(|fault| befalls(chance, *fault));
        let wait = self.timeout.unwrap_or(NOTICE);
        let call = |number, answer, fate| Call {
            cloud: cloud.clone(),
            above: cloud.scenario.in_process.then(|| handle.clone()),
            job: self.platform.job.clone(),
            runner: self.platform.runner.clone(),
            invocation: invocation.clone(),
            number,
            crash: crash.filter(|_| fate != Some(Fault::CallTwice)),
            cancel: match cloud.scenario.in_process {
                true => self.stop.clone(),
                false => Cancel::new(),
            },
            has_timeout: self.timeout.is_some(),
            wait,
            fate,
            answer,
        };
        let name = |number| format!("call {number} ({batch})");
        let start = self.now() + Duration::from_millis(chance.u64(1..200));
        let first = call(number, Some(answer), fate);
        cloud.world.spawn(name(number), start, move || first.make());
        if befalls(chance, Fault::CallTwice) {
            cloud.inject(Fault::CallTwice);
            let number = cloud.number_call();
            let second = call(number, None, Some(Fault::CallTwice));
            let later = start + Duration::from_millis(chance.u64(1..5_000));
            cloud
                .world
                .spawn(name(number), later, move || second.make());
        }
        self.has_called.store(true, Ordering::Relaxed);
        match answered.await {
            Ok(result) => result,
            // Whoever waits may wait for ever.
            Err(_) => std::future::pending().await,
        }
    }

    fn stop(&self) -> bool {
        self.stop.cancel();
        self.platform.cloud.scenario.in_process
    }
}

/// A call of the function.
struct Call {
    cloud: Arc<Cloud>,
    above: Option<Handle>,
    job: Arc<Job>,
    runner: Arc<dyn Runner>,
    invocation: Invocation,
    number: u64,
    crash: Option<Doom>,
    cancel: Cancel,
    has_timeout: bool,
    wait: Duration,
    fate: Option<Fault>,
    answer: Option<oneshot::Sender<Result<Receipt, Failure>>>,
}

impl Call {
    fn make(mut self) {
        let world = self.cloud.world.clone();
        let batch = self.invocation.batch.index;
        let handle = Handle::of_call(
            &self.cloud,
            (batch, self.number),
            self.above.as_ref(),
            self.crash,
        );
        let mut result = if self.is_poisoned() {
            self.cloud.inject(Fault::PoisonRecord);
            self.cloud.hurt(batch, self.number);
            handle.die();
            Err(Failure::new(FailureKind::Crashed, "killed by a record"))
        } else {
            self.work(&handle)
        };
        match &result {
            Ok(receipt) => world.emit(format_args!(
                "done: {}+{} of batch {batch}, {} more",
                receipt.offset, receipt.records, receipt.remaining
            )),
            Err(failure) => world.emit(format_args!("fails ({:?})", failure.kind)),
        }
        let chance = &mut rng(self.cloud.scenario.seed, "answer", self.number);
        let Some(answer) = self.answer.take() else {
            return;
        };
        if self.above.as_ref().is_some_and(Handle::is_dead) {
            return;
        }
        let mut takes = Duration::from_millis(chance.u64(1..50));
        let lost = || Failure::new(FailureKind::Crashed, "the environment is gone");
        let mut is_lost = false;
        if handle.is_dead() {
            is_lost = self.has_timeout && chance.bool();
            result = Err(lost());
        } else if let Some(fate) = self.fate {
            match fate {
                Fault::AnswerLost => {
                    is_lost = self.has_timeout;
                    result = Err(lost());
                    takes = NOTICE;
                }
                Fault::AnswerLate => takes = self.wait.mul_f64(chance.f64() * 3.0),
                Fault::AnswerCorrupt => {
                    if let Ok(receipt) = &mut result {
                        corrupt(receipt, chance);
                    }
                }
                _ => {}
            }
            self.cloud.inject(fate);
            self.cloud.hurt(batch, self.number);
            world.emit(fate);
        }
        world.wait_until(world.now() + takes);
        if !is_lost {
            // Who asked may have stopped waiting.
            let _ = answer.send(result);
        }
    }

    /// Whether one of the records is such that no function survives it.
    fn is_poisoned(&self) -> bool {
        let batch = &self.invocation.batch;
        let first = batch.slices.first().map_or(0, |slice| slice.row);
        let rows = first + batch.offset..first + batch.end();
        let mut poison = self.cloud.scenario.poison.iter();
        let is_there = poison.any(|row| rows.contains(row));
        is_there && self.invocation.quarantine.is_none() && !self.cloud.is_calm()
    }

    fn work(&self, handle: &Handle) -> Result<Receipt, Failure> {
        let run = run_dir(handle);
        let found = run.job()?;
        if found.as_ref() != Some(&*self.job) {
            let text = format!("job.json holds another job: {found:?}");
            return Err(Failure::new(FailureKind::Input, text));
        }
        let function = Function::new(run, (*self.job).clone(), self.runner.clone())?;
        let environment = Arc::new(Host::of(function)).environment();
        let limits = CallLimits {
            cancel: self.cancel.clone(),
            deadline: None,
        };
        environment
            .with_clock(self.clock())
            .handle(&self.invocation, &limits)
    }

    /// The clock that the function looks at: while it looks, time goes by, for once in a while much of it.
    fn clock(&self) -> Clock {
        let Cloud { world, .. } = &*self.cloud;
        let chance = &mut rng(self.cloud.scenario.seed, "clock", self.number);
        let pace = self.cloud.scenario.pace.as_nanos() as u64;
        let step = Duration::from_nanos(chance.u64(0..=pace));
        let sleeps = chance.f64() < self.cloud.rate(Fault::FunctionSleeps);
        let sleeps_at = sleeps.then(|| chance.u64(1..60));
        let time_asleep = *choose(chance, &[self.wait * 2, SLEEP]);
        let (base, start) = (std::time::Instant::now(), world.now());
        let looks = AtomicU64::new(0);
        let (batch, number) = (self.invocation.batch.index, self.number);
        let cloud = self.cloud.clone();
        Clock::new(move || {
            let look = 1 + looks.fetch_add(1, Ordering::Relaxed);
            let Cloud { world, .. } = &*cloud;
            world.work(step);
            if sleeps_at == Some(look) {
                cloud.inject(Fault::FunctionSleeps);
                cloud.hurt(batch, number);
                world.emit("is frozen");
                world.wait_until(world.now() + time_asleep);
            }
            base + world.now().saturating_sub(start)
        })
    }
}

/// Makes another receipt of it: of another piece, of other content, or of what cannot be.
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

fn show(cloud: &Cloud, event: &Event) {
    let world = &cloud.world;
    match event {
        Event::Dispatched { batch, attempt, .. } => {
            world.emit(format_args!("calls for batch {batch}, attempt {attempt}"));
        }
        Event::Finished { receipt, .. } => world.emit(format_args!(
            "has the receipt of {}+{} of batch {}",
            receipt.offset, receipt.records, receipt.batch
        )),
        Event::Failed {
            batch, kind, retry, ..
        } => world.emit(format_args!(
            "batch {batch} failed ({kind:?}), {}",
            if *retry { "goes on" } else { "for good" }
        )),
        _ => {}
    }
}
