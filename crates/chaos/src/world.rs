//! Virtual time, and who acts when.
//!
//! An *actor* is a thread: the user, a command, a call of the function. One of them runs at a time, and hands on at each
//! request to the store, to whoever's time has come first. So a run is the same each time that it is run, whatever the
//! machine does, and hours go by in milliseconds.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// Times that the turn may be handed on in one run, before it counts as one that never ends.
const MOST_TURNS: u64 = 400_000;
/// What one who waits for timers of its own leaves to others who do too, at a time.
const SHARE: Duration = Duration::from_millis(50);

thread_local! {
    static ACTOR: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Who waits: since when or until when, in which order, and whether for timers of its own, so that it may have something
/// to do at once or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Duration,
    order: u64,
    actor: usize,
    has_timers: bool,
}

/// A little world with its own time.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
    is_told: bool,
}

#[derive(Debug)]
struct State {
    /// The time of the actor whose turn it is.
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
    /// Known from its first wait on.
    thread: Option<Thread>,
}

impl World {
    /// A world in which only the present thread acts. `is_told` has each step printed.
    pub(crate) fn new(is_told: bool) -> Arc<Self> {
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
            is_told,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of whoever acts now.
    pub(crate) fn now(&self) -> Duration {
        self.state().now
    }

    /// Time goes by for whoever acts, and nobody else has a turn.
    pub(crate) fn work(&self, time: Duration) {
        self.state().now += time;
    }

    /// The time of whoever acts becomes `now`.
    pub(crate) fn set_now(&self, now: Duration) {
        self.state().now = now;
    }

    /// Whether the run goes on and on.
    pub(crate) fn is_endless(&self) -> bool {
        self.state().turns > MOST_TURNS
    }

    /// Has everybody come to an end soon.
    pub(crate) fn end(&self) {
        self.state().turns = MOST_TURNS + 1;
    }

    /// When the next of the others has something to do; `None` where there is nobody else.
    pub(crate) fn next_turn(&self) -> Option<Duration> {
        let state = self.state();
        let next = |waiting: &Waiting| match waiting.has_timers {
            true => waiting.at.max(state.now) + SHARE,
            false => waiting.at,
        };
        state.waiting.iter().map(next).min()
    }

    /// Others act until `at`. A thread that is no actor, but a helper of the one that acts, does not wait.
    pub(crate) fn wait_until(&self, at: Duration) {
        self.wait(at, false);
    }

    /// The same for one who waits for timers of its own.
    pub(crate) fn yield_with_timers(&self) {
        self.wait(self.now(), true);
    }

    fn wait(&self, at: Duration, has_timers: bool) {
        let Some(me) = ACTOR.get() else { return };
        let mut state = self.state();
        state.push(me, at, has_timers);
        state.hand_on();
        self.await_turn(me, state);
    }

    fn await_turn<'a>(&'a self, me: usize, mut state: MutexGuard<'a, State>) {
        while state.turn != me {
            drop(state);
            thread::park();
            state = self.state();
        }
    }

    /// A new actor, who begins at `at`.
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
        let world = self.clone();
        let thread = thread::spawn(move || {
            ACTOR.set(Some(me));
            world.await_turn(me, world.state());
            let end = catch_unwind(AssertUnwindSafe(act));
            let mut state = world.state();
            if let Err(panic) = end {
                let failure = shoal_job::wire::Failure::crashed(&*panic);
                let text = format!("{}: {failure}", state.actors[me].name);
                state.panics.push(text);
            }
            state.hand_on();
        });
        state.actors[me].thread = Some(thread.thread().clone());
        state.threads.push(thread);
    }

    /// Waits until everybody else has come to an end, and tells the time of that.
    pub(crate) fn outlive_all(&self) -> Duration {
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

    /// What actors panicked with.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.state().panics.clone()
    }

    /// A step of the one who acts: it goes into the digest of the run, and is printed where somebody reads along.
    pub(crate) fn emit(&self, step: impl Display) {
        let mut state = self.state();
        let name = &state.actors[ACTOR.get().unwrap_or(state.turn)].name;
        let line = format!("{:>12.3} s  {name:<14} {step}", state.now.as_secs_f64());
        if self.is_told {
            println!("{line}");
        }
        state.digest.update(line.as_bytes());
    }

    /// Stands for all steps so far: the same run has the same digest.
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

    /// Gives the turn to whoever's time comes first.
    fn hand_on(&mut self) {
        let next = self.waiting.pop_first();
        let next = next.expect("the user outlives all actors");
        self.now = next.at;
        self.turn = next.actor;
        if let Some(thread) = &self.actors[next.actor].thread {
            thread.unpark();
        }
    }
}
