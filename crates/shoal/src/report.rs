//! The report of a run, from what it recorded.

use shoal_estimate::{Bill, Prices};
use shoal_job::run_dir::{COMMAND, FAILED};
use shoal_job::{Job, Receipts, RunDir};
use shoal_report::{CallHistory, Recorded, RunReport, RunState, Totals};

use crate::Result;
use crate::backend::BackendConfig;
use crate::cost;
use crate::platform::Children;
use crate::runs::planned_job;

/// The highest number of dead letters on a page.
const MAX_LETTERS: usize = 100;

/// The report of `run`, finished or not, priced by `prices`.
///
/// # Errors
/// The run directory cannot be read, holds no plan, or used something that has no price.
pub fn report(run: &RunDir, prices: &Prices) -> Result<RunReport> {
    let job = planned_job(run)?;
    let mut receipts = run.receipts()?;
    receipts.retain_ranges_of(&run.batches(&job)?);
    let history = CallHistory::of(&run.events_beside(&receipts)?);
    let bill = bill(run, &job, &Totals::of(&receipts), history.state(), prices)?;
    of(run, &job, &receipts, history, bill)
}

/// The cost of `run` so far; `None` where nothing that it used has a price.
pub fn bill(
    run: &RunDir,
    job: &Job,
    totals: &Totals,
    state: &RunState,
    prices: &Prices,
) -> Result<Option<Bill>> {
    let backend = BackendConfig::last(run)?;
    let machine = backend.settings().machine();
    cost::bill(job, totals, state, machine, children(run)?, prices)
}

/// The report of a run from its receipts, history and bill.
pub fn of(
    run: &RunDir,
    job: &Job,
    receipts: &Receipts,
    history: CallHistory,
    bill: Option<Bill>,
) -> Result<RunReport> {
    let letters: Vec<_> = run
        .first_lines(FAILED, MAX_LETTERS)?
        .iter()
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    // Before the run is collected, each batch has its own dead letters; the receipts count them all.
    let total = receipts.values().map(|receipt| receipt.failed).sum();
    Ok(RunReport::of(Recorded {
        job,
        run: &run.reference(),
        receipts,
        history,
        dead_letters: &letters,
        dead_letters_total: total,
        bill,
        command: command(run)?,
    }))
}

/// The execution type of a Distributed Map.
#[cfg(feature = "aws")]
fn children(run: &RunDir) -> Result<Option<Children>> {
    let children = shoal_aws::children(run)?;
    Ok(Children::ALL
        .into_iter()
        .find(|kind| Some((*kind).into()) == children))
}

#[cfg(not(feature = "aws"))]
fn children(_: &RunDir) -> Result<Option<Children>> {
    Ok(None)
}

/// The command that repeats the run, quoted for a shell. Words are stored, so that a run directory of another user can only
/// contain arguments of `shoal`.
fn command(run: &RunDir) -> Result<String> {
    let arguments: Option<Vec<String>> = run
        .get(COMMAND)?
        .and_then(|content| serde_json::from_slice(&content).ok());
    Ok(match arguments.unwrap_or_default() {
        arguments if !arguments.is_empty() => shell(&arguments),
        _ => "# no command is recorded: the run was started by a program".into(),
    })
}

/// `shoal` with `arguments`, quoted for a shell.
pub fn shell(arguments: &[String]) -> String {
    let words = arguments.iter().map(|word| quoted(word));
    let words: Vec<_> = std::iter::once("shoal".to_owned()).chain(words).collect();
    words.join(" ")
}

/// A word, quoted for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("a/b-c.csv"), "a/b-c.csv");
        assert_eq!(quoted("it's a $file"), r"'it'\''s a $file'");
        assert_eq!(quoted(""), "''");
        let arguments = ["run", "a b.csv"].map(String::from);
        assert_eq!(shell(&arguments), "shoal run 'a b.csv'");
    }
}
