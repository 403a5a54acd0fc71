//! Simulation of a run: a discrete-event model of a dispatcher, a platform and its environments.
//!
//! ```text
//! start                                                                  end
//!   ├─ client ─┼── call (round trip) ───┼─ place ─┼── init ──┼── work ──┤
//!                                         cold starts only
//!                                                 ╰────── billed ───────╯
//!   ╰──────────────────── the environment is busy ──────────────────────╯
//! ```
//!
//! Batches start in order. Retries, and the remainders of batches whose function ran out of time,
//! start before the next batch once they are due. A call uses the free environment with the lowest
//! number or, if none is free, a new one, which starts cold. This is list scheduling, so Graham's
//! bounds hold in the absence of the other effects (*Bounds for Certain Multiprocessing Anomalies*,
//! 1966). An environment is busy from the call to the response, like a slot of the dispatcher or a
//! child of a Distributed Map, and stays warm after a failure.
//!
//! A batch whose call takes too long may be called a second time while the first call continues
//! ([`Speculation`]). The simulation applies this rule with only the information that a dispatcher
//! has at that moment. It assumes that slowness is a property of the environment and not of the
//! batch: the second attempt of a slow batch is as likely to be slow as any other.
//!
//! Not modelled: throttling caused by other users of the account, retired environments, platform
//! outages, runs that end at their first lost batch, and children of a Distributed Map that keep
//! their slot while they wait for a retry.
//!
//! A simulation with the same seed always has the same result. The random events of an invocation
//! depend on the seed and the invocation, not on when and where it runs. Scenarios with the same
//! seed and different numbers of environments therefore have the same failures and stragglers, and
//! differ only by the changed settings (common random numbers).
//!
//! The run time is `O(invocations · log environments)`. Memory grows with the number of
//! environments and of batches that wait for a retry, not with the number of batches. With
//! speculation, once every batch has been called, each change of the median response time by one
//! percent adds a pass over the active calls.

mod chance;
mod environments;
mod invocation;
mod outcome;
mod pool;
mod queue;
mod scenario;
mod second;
mod task;

pub use outcome::{End, Outcome, Span};
pub use pool::{BatchPool, Sample};
pub use scenario::{ColdStart, Failures, Ramp, Scenario, ScenarioError, Speculation, Stragglers};

use environments::Environments;
use invocation::invoke;
use queue::Queue;
use second::SecondAttempts;

/// Simulates `scenario`. `work` returns the seconds of a batch on a warm environment and is called
/// once per batch, in order. `observe` receives every invocation, in the order of the calls.
///
/// # Errors
/// A setting is out of range, the time of a batch is invalid, or the time limit splits a batch into
/// too many invocations.
pub fn simulate(
    scenario: &Scenario,
    work: impl FnMut(u64) -> f64,
    mut observe: impl FnMut(&Span),
) -> Result<Outcome, ScenarioError> {
    scenario.check()?;
    let mut queue = Queue::new(scenario, work);
    let mut environments = Environments::new(scenario);
    let mut outcome = Outcome {
        seconds: scenario.setup_seconds,
        ..Outcome::default()
    };
    let mut second = scenario
        .speculation
        .map(|settings| SecondAttempts::new(settings, scenario));
    let mut now = scenario.setup_seconds;
    loop {
        environments.advance(now, |environment| {
            if let Some(second) = &mut second {
                second.end(environment, &mut queue, &mut outcome);
            }
        });
        if !environments.has_room() {
            now = environments.next_change();
            continue;
        }
        let task = match (queue.take(now)?, &mut second) {
            (Some(task), _) => task,
            // Each call is handled when it begins, so if no task is left, the run is over.
            (None, None) => match queue.next_change() {
                Some(at) => {
                    now = at;
                    continue;
                }
                None => return Ok(outcome),
            },
            (None, Some(second)) if second.is_over() => return Ok(outcome),
            (None, Some(second)) => {
                let mut next_overdue = f64::INFINITY;
                let mut task = None;
                if !queue.has_unstarted() {
                    task = second.take(now, environments.is_next_cold());
                    next_overdue = second.next_change();
                }
                let Some(task) = task else {
                    let next_task = queue.next_change().unwrap_or(f64::INFINITY);
                    now = environments.next_change().min(next_task).min(next_overdue);
                    continue;
                };
                task
            }
        };
        let (environment, cold) = environments.take();
        let (span, follow_up) = invoke(scenario, &task, now, environment, cold);
        environments.occupy(environment, span.end);
        outcome.count(&span, environments.busy());
        if let Some(second) = &mut second {
            second.begin(task, span, follow_up);
        } else if let Some(follow_up) = follow_up {
            queue.push(follow_up);
        } else {
            outcome.end_batch(task.first_start, span.end, span.end_kind == End::Lost);
        }
        observe(&span);
        now += scenario.client_seconds;
    }
}
