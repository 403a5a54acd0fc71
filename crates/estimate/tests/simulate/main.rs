//! The simulator against runs played by hand, bounds that are theorems, and closed forms.

mod bounds;
mod by_hand;
mod chance;
mod nonsense;
mod second;

use shoal_estimate::simulate::{Outcome, Scenario, Span, simulate};

/// Plays `scenario` with a batch for each of these times.
fn play(scenario: Scenario, work: &[f64]) -> (Outcome, Vec<Span>) {
    let scenario = Scenario {
        batches: work.len() as u64,
        ..scenario
    };
    let mut spans = Vec::new();
    let outcome = simulate(
        &scenario,
        |batch| work[batch as usize],
        |span| spans.push(*span),
    );
    (outcome.expect("the scenario makes sense"), spans)
}
