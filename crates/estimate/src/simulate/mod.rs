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
//! A batch whose call takes too long may be called for a second time while the first call goes on ([`Speculation`]). The rule is
//! played with what a dispatcher knows at that moment; that the second attempt of a slow batch is as likely to be slow as any is
//! taken to be so: what makes a batch slow is then the place, not the batch.
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
//! attempt, not with batches. Second attempts add a pass over the calls under way each time the median of the answered ones has
//! moved by a percent, once no batch is left that was never called.

mod chance;
mod environments;
mod invocation;
mod outcome;
mod pool;
mod queue;
mod scenario;
mod second;

pub use outcome::{End, Outcome, Span};
pub use pool::{BatchPool, Sample};
pub use scenario::{ColdStart, Failures, Ramp, Scenario, ScenarioError, Speculation, Stragglers};

use environments::Environments;
use invocation::invoke;
use queue::Queue;
use second::SecondAttempts;

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
            // How each call ends is known when it begins, so that nothing is left to come.
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
                if !queue.has_fresh() {
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
        let (span, again) = invoke(scenario, &task, now, environment, cold);
        environments.occupy(environment, span.end);
        outcome.count(&span, environments.busy());
        if let Some(second) = &mut second {
            second.begin(task, span, again);
        } else if let Some(again) = again {
            queue.wait(again);
        } else {
            outcome.end_batch(task.first_start, span.end, span.end_kind == End::Lost);
        }
        see(&span);
        now += scenario.client_seconds;
    }
}
