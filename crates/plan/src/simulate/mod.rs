//! Playing a run before it starts: a discrete-event model of a dispatcher, a platform and its environments.
//!
//! ```text
//! start                                                                  end
//!   ├─ client ─┼─ call, there and back ─┼─ place ─┼── init ──┼── work ──┤
//!                                         cold starts only
//!                                                 ╰────── billed ───────╯
//!   ╰──────────────────── the environment is taken ─────────────────────╯
//! ```
//!
//! Batches are taken in order. What waits for another attempt, and the rest of a batch whose function ran out of time, go
//! before the next batch as soon as they are due. A call takes the lowest environment that is free, and only where none is,
//! a new one, which starts cold: list scheduling, so that Graham's bounds hold where nothing is in its way (*Bounds for
//! Certain Multiprocessing Anomalies*, 1966). The environment counts as taken from the call to the answer, as a lane of our
//! dispatcher and a child of a Distributed Map are, and stays warm after a failure.
//!
//! Not modelled: throttling by others of the same account, environments that are retired, a platform that is down, the end
//! of a run at its first lost batch, and that a child of a Distributed Map keeps its place while it waits for another
//! attempt.
//!
//! A run of a seed is the same run every time. What chance holds for an invocation depends on the seed and on which
//! invocation it is, not on when and where it runs: scenarios of one seed that differ in their environments meet the same
//! failures and stragglers, so that they differ by what was changed and not by luck (common random numbers).
//!
//! Time is `O(invocations · log environments)`; memory grows with environments and with batches that wait for another
//! attempt, not with batches.

mod chance;
mod environments;
mod invocation;
mod outcome;
mod pool;
mod queue;
mod scenario;

pub use outcome::{End, Outcome, Span};
pub use pool::{BatchPool, Sample};
pub use scenario::{ColdStart, Failures, Ramp, Scenario, ScenarioError, Stragglers};

use environments::Environments;
use invocation::invoke;
use queue::Queue;

/// Plays `scenario`. `work` tells the seconds of a batch on a warm environment; it is asked once for each batch, in order.
/// `see` is shown every invocation, in the order in which they are called.
///
/// # Errors
/// A setting makes no sense, or a batch has a time that is none.
pub fn simulate(
    scenario: &Scenario,
    work: impl FnMut(u64) -> f64,
    mut see: impl FnMut(&Span),
) -> Result<Outcome, ScenarioError> {
    scenario.check()?;
    let mut queue = Queue::new(scenario, work);
    let mut environments = Environments::new(scenario);
    let mut outcome = Outcome::begin(scenario);
    let mut now = scenario.setup_seconds;
    loop {
        environments.advance(now);
        if !environments.has_room() {
            now = environments.next_change();
            continue;
        }
        let Some(task) = queue.take(now)? else {
            match queue.next_change() {
                Some(at) => now = at,
                None => return Ok(outcome),
            }
            continue;
        };
        let (environment, cold) = environments.take();
        let (span, again) = invoke(scenario, &task, now, environment, cold);
        environments.occupy(environment, span.end);
        outcome.count(&span, task.first_start, environments.busy());
        if let Some(again) = again {
            queue.wait(again);
        }
        see(&span);
        now += scenario.client_seconds;
    }
}
