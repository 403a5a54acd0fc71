//! What a run took and cost, read back from what it recorded.

use shoal_estimate::{Bill, Prices};
use shoal_job::run_dir::{COMMAND, FAILED, REPORT};
use shoal_job::{Event, Job, Receipts, RunDir};
use shoal_report::{Recorded, RunReport};

use crate::backend::BackendConfig;
use crate::cost::{self, History, Spent};
use crate::{Children, Error, Result};

/// Dead letters that a page shows.
const LETTERS: usize = 100;

/// The report of `run`, finished or not, priced by `prices`.
///
/// # Errors
/// The run directory cannot be read, holds no plan, or used something that has no price.
pub fn report(run: &RunDir, prices: &Prices) -> Result<RunReport> {
    let Some(job) = run.job()? else {
        return Err(Error::NoSuchRun {
            name: run.reference(),
            reason: "its planning was cut short; run the command that started it again".into(),
        });
    };
    let mut receipts = run.receipts()?;
    receipts.retain_ranges_of(&run.batches(&job)?);
    let events = run.events_beside(&receipts)?;
    let (spent, history) = (Spent::of(&receipts), History::of(&events));
    let bill = bill(run, &job, &spent, &history, prices)?;
    of(run, &job, &receipts, &events, bill)
}

/// What `run` has cost so far, by what its receipts and events say; `None` where nothing that it used has a price.
pub fn bill(
    run: &RunDir,
    job: &Job,
    spent: &Spent,
    history: &History,
    prices: &Prices,
) -> Result<Option<Bill>> {
    let backend = BackendConfig::last(run)?;
    let recorded = cost::Recorded {
        job,
        spent,
        history,
        machine: backend.machine(),
        children: children(run)?,
    };
    recorded.bill(prices)
}

/// The report of a run of which all this is known.
pub fn of(
    run: &RunDir,
    job: &Job,
    receipts: &Receipts,
    events: &[(u64, Event)],
    bill: Option<Bill>,
) -> Result<RunReport> {
    let letters: Vec<_> = run
        .first_lines(FAILED, LETTERS)?
        .iter()
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    // Before the run is collected its dead letters lie batch by batch; the receipts count them all.
    let total = receipts.values().map(|receipt| receipt.failed).sum();
    Ok(RunReport::of(&Recorded {
        job,
        run: &run.reference(),
        receipts,
        events,
        dead_letters: &letters,
        dead_letters_total: total,
        bill,
        command: command(run)?,
    }))
}

/// Writes the page into the run directory, and tells where it is.
pub(crate) fn keep(run: &RunDir, report: &RunReport) -> Result<String> {
    run.replace(REPORT, report.html())?;
    Ok(run.object_uri(REPORT))
}

/// How a Distributed Map ran its children, where one did.
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
    let arguments = content.and_then(|content| serde_json::from_slice::<Vec<String>>(&content).ok());
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
