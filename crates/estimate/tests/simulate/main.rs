//! Compares the simulator with hand-computed runs, proven bounds and closed forms.

mod bounds;
mod by_hand;
mod chance;
mod invalid;
mod second;

use shoal_estimate::simulate::{Outcome, Scenario, Span, simulate};

/// Simulates `scenario` with one batch per element of `work`.
fn run_scenario(scenario: Scenario, work: &[f64]) -> (Outcome, Vec<Span>) {
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
    (outcome.expect("the scenario is valid"), spans)
}
