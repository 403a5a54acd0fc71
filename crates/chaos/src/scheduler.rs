//! Virtual time and a deterministic scheduler of threads.
//!
//! An *actor* is a thread: the user, a command or a call of the function. Only one actor runs at a time. At each request to
//! the store it yields to the actor with the earliest wake-up time. A run is therefore the same each time, on any machine,
//! and simulates hours in milliseconds.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// The number of turns after which a run counts as stuck.
const MAX_TURNS: u64 = 400_000;
/// The time for which an actor with its own timers lets another such actor run.
const SHARE: Duration = Duration::from_millis(50);

thread_local! {
    static ACTOR: Cell<Option<usize>> = const { Cell::new(None) };
}

/// A waiting actor. An actor with its own timers may be ready at any time from `at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Duration,
    order: u64,
    actor: usize,
    has_timers: bool,
}

/// Runs one actor at a time, in virtual time.
#[derive(Debug)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
    verbose: bool,
}

#[derive(Debug)]
struct State {
    /// The time of the running actor.
    now: Duration,
    turn: usize,
    turns: u64,
    waiting: BTreeSet<Waiting>,
    actors: Vec<Actor>,
    threads: Vec<JoinHandle<()>>,
    digest: blake3::Hasher,
    panics: Vec<String>,
}

#[derive(Debug)]
struct Actor {
    name: String,
    /// Set when the thread has started.
    thread: Option<Thread>,
}

impl Scheduler {
    /// Creates a scheduler with the current thread as its only actor. If `verbose` is set, it prints every step.
    pub(crate) fn new(verbose: bool) -> Arc<Self> {
        ACTOR.set(Some(0));
        let user = Actor {
            name: "user".into(),
            thread: Some(thread::current()),
        };
        Arc::new(Self {
            state: Mutex::new(State {
                now: Duration::ZERO,
                turn: 0,
                turns: 0,
                waiting: BTreeSet::new(),
                actors: vec![user],
                threads: Vec::new(),
                digest: blake3::Hasher::new(),
                panics: Vec::new(),
            }),
            verbose,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current time.
    pub(crate) fn now(&self) -> Duration {
        self.state().now
    }

    /// Sets the time without yielding.
    pub(crate) fn set_now(&self, now: Duration) {
        self.state().now = now;
    }

    /// Whether the run has exceeded its maximum number of turns.
    pub(crate) fn is_stuck(&self) -> bool {
        self.state().turns > MAX_TURNS
    }

    /// Makes all actors stop soon.
    pub(crate) fn abort(&self) {
        self.state().turns = MAX_TURNS + 1;
    }

    /// The earliest time at which another actor may be ready; `None` if no other actor is waiting.
    pub(crate) fn next_turn(&self) -> Option<Duration> {
        let state = self.state();
        let next = |waiting: &Waiting| match waiting.has_timers {
            true => waiting.at.max(state.now) + SHARE,
            false => waiting.at,
        };
        state.waiting.iter().map(next).min()
    }

    /// Yields until `at`. A helper thread of the running actor does not wait.
    pub(crate) fn wait_until(&self, at: Duration) {
        self.wait(at, false);
    }

    /// Yields once; for an actor with its own timers.
    pub(crate) fn yield_with_timers(&self) {
        self.wait(self.now(), true);
    }

    fn wait(&self, at: Duration, has_timers: bool) {
        let Some(me) = ACTOR.get() else { return };
        let mut state = self.state();
        state.push(me, at, has_timers);
        state.yield_turn();
        self.await_turn(me, state);
    }

    fn await_turn<'a>(&'a self, me: usize, mut state: MutexGuard<'a, State>) {
        while state.turn != me {
            drop(state);
            thread::park();
            state = self.state();
        }
    }

    /// Starts a new actor at the time `at`.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: String,
        at: Duration,
        act: impl FnOnce() + Send + 'static,
    ) {
        let mut state = self.state();
        let me = state.actors.len();
        state.actors.push(Actor { name, thread: None });
        state.push(me, at, false);
        let scheduler = self.clone();
        let thread = thread::spawn(move || {
            ACTOR.set(Some(me));
            scheduler.await_turn(me, scheduler.state());
            let end = catch_unwind(AssertUnwindSafe(act));
            let mut state = scheduler.state();
            if let Err(panic) = end {
                let failure = shoal_job::wire::Failure::crashed(&*panic);
                let text = format!("{}: {failure}", state.actors[me].name);
                state.panics.push(text);
            }
            state.yield_turn();
        });
        state.actors[me].thread = Some(thread.thread().clone());
        state.threads.push(thread);
    }

    /// Waits until all other actors have ended, and returns the time.
    pub(crate) fn wait_for_all(&self) -> Duration {
        loop {
            let next = self.state().waiting.last().map(|waiting| waiting.at);
            match next {
                Some(at) => self.wait_until(at),
                None => break,
            }
        }
        let threads = std::mem::take(&mut self.state().threads);
        for thread in threads {
            thread.join().expect("panics of actors are caught");
        }
        self.now()
    }

    /// The panics of actors.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.state().panics.clone()
    }

    /// Logs a step of the running actor: adds it to the digest of the run, and prints it if `verbose` is set.
    pub(crate) fn log(&self, step: impl Display) {
        let mut state = self.state();
        let name = &state.actors[ACTOR.get().unwrap_or(state.turn)].name;
        let line = format!("{:>12.3} s  {name:<14} {step}", state.now.as_secs_f64());
        if self.verbose {
            println!("{line}");
        }
        state.digest.update(line.as_bytes());
    }

    /// A hash of all steps so far.
    pub(crate) fn digest(&self) -> String {
        self.state().digest.finalize().to_hex()[..16].to_owned()
    }
}

impl State {
    fn push(&mut self, actor: usize, at: Duration, has_timers: bool) {
        self.turns += 1;
        self.waiting.insert(Waiting {
            at,
            order: self.turns,
            actor,
            has_timers,
        });
    }

    /// Gives the turn to the waiting actor with the earliest time.
    fn yield_turn(&mut self) {
        let next = self.waiting.pop_first();
        let next = next.expect("the user outlives all actors");
        self.now = next.at;
        self.turn = next.actor;
        if let Some(thread) = &self.actors[next.actor].thread {
            thread.unpark();
        }
    }
}
