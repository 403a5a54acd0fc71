//! The report of a run, from what it recorded.

use shoal_estimate::{Bill, Prices};
use shoal_job::run_dir::{COMMAND, FAILED, REPORT};
use shoal_job::{Job, Receipts, RunDir};
use shoal_report::{CallHistory, Recorded, RunReport, RunState, Totals};

use crate::backend::BackendConfig;
use crate::cost;
use crate::{Children, Error, Result};

/// The most dead letters that a page shows.
const LETTERS: usize = 100;

/// The report of `run`, finished or not, priced by `prices`.
///
/// # Errors
/// The run directory cannot be read, holds no plan, or used something that has no price.
pub fn report(run: &RunDir, prices: &Prices) -> Result<RunReport> {
    let Some(job) = run.job()? else {
        return Err(Error::NoSuchRun {
            name: run.reference(),
            reason: "its planning was interrupted; run its command again".into(),
        });
    };
    let mut receipts = run.receipts()?;
    receipts.retain_ranges_of(&run.batches(&job)?);
    let history = CallHistory::of(&run.events_beside(&receipts)?);
    let bill = bill(run, &job, &Totals::of(&receipts), history.state(), prices)?;
    of(run, &job, &receipts, history, bill)
}

/// The state of `run` by its events. It takes little memory, however long the run is.
pub(crate) fn state(run: &RunDir) -> Result<RunState> {
    let mut state = RunState::default();
    run.each_event(&mut |at, event| drop(state.apply(at, &event)))?;
    Ok(state)
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
    let recorded = cost::Recorded {
        job,
        totals,
        state,
        machine: backend.machine(),
        children: children(run)?,
    };
    recorded.bill(prices)
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
        .first_lines(FAILED, LETTERS)?
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

/// Writes the page into the run directory, and returns its location.
pub(crate) fn keep(run: &RunDir, report: &RunReport) -> Result<String> {
    run.replace(REPORT, report.html())?;
    Ok(run.object_uri(REPORT))
}

/// The kind of children of a Distributed Map.
#[cfg(feature = "aws")]
fn children(run: &RunDir) -> Result<Option<Children>> {
    let kind = shoal_aws::children(run)
        .map_err(|e| Error::from_dispatch(e, run.reference(), |_| String::new()))?;
    Ok(kind.map(|kind| match kind {
        shoal_aws::state_machine::Children::Standard => Children::Standard,
        shoal_aws::state_machine::Children::Express => Children::Express,
    }))
}

#[cfg(not(feature = "aws"))]
fn children(_: &RunDir) -> Result<Option<Children>> {
    Ok(None)
}

/// Keeps the arguments of the command that repeats the run.
pub(crate) fn keep_command(run: &RunDir, arguments: &[String]) -> Result<()> {
    let content = serde_json::to_vec(arguments).expect("words are always JSON");
    Ok(run.replace(COMMAND, content)?)
}

/// The command that repeats the run, quoted for a shell. It is kept as words, so that a run directory of another user can
/// show nothing but arguments of `shoal`.
fn command(run: &RunDir) -> Result<String> {
    let content = run.get(COMMAND)?;
    let arguments =
        content.and_then(|content| serde_json::from_slice::<Vec<String>>(&content).ok());
    Ok(match arguments {
        Some(arguments) => shell(&arguments),
        None => "# no command is recorded: the run was started by a program".into(),
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
