//! `shoal runs` and `shoal status`: which runs there are, and how far they are.

use clap::Args;
use serde_json::json;

use super::options::heading;
use super::output::{ago, count_of, header, print, print_json, say, table};
use shoal::reports::numbers::{count, plural};
use shoal::{Result, RunStatus, find_run, remove_run};

const STATUS_EXAMPLES: &str = "\
Examples:
  shoal status reviews-ebcf50ee
  shoal status s3://bucket/shoal/runs/reviews-ebcf50ee --json";

#[derive(Debug, Args)]
#[command(after_long_help = STATUS_EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(help_heading = heading::RUN_DIR)]
    run: String,

    /// Print as JSON
    #[arg(long, help_heading = heading::OUTPUT)]
    json: bool,
}

const RUNS_EXAMPLES: &str = "\
Examples:
  shoal runs
  shoal runs --json
  shoal runs --remove reviews-ebcf50ee tweets-1a2b3c4d";

#[derive(Debug, Args)]
#[command(after_long_help = RUNS_EXAMPLES)]
pub(crate) struct RunsArgs {
    /// Remove these runs with all their parts; outputs stay
    #[arg(long, value_name = "RUN", num_args = 1.., help_heading = heading::RUN_DIR)]
    remove: Vec<String>,

    /// Print as JSON Lines
    #[arg(long, conflicts_with = "remove", help_heading = heading::OUTPUT)]
    json: bool,
}

pub(crate) fn runs(args: RunsArgs) -> Result<()> {
    for name in &args.remove {
        remove_run(&find_run(name)?)?;
        say(&format!("removed {name}"));
    }
    if !args.remove.is_empty() {
        return Ok(());
    }
    let found = shoal::runs()?;
    if args.json {
        for (name, status) in &found {
            print_json(&match status {
                Ok(status) => json!(status),
                Err(e) => json!({ "name": name, "state": "damaged", "error": e.to_string() }),
            })?;
        }
        return Ok(());
    }
    if found.is_empty() {
        say("no runs yet; `shoal run INPUT -o OUTPUT` starts one");
        return Ok(());
    }
    let mut rows = vec![header("RUN,STATE,RECORDS,FAILED,LAST,OUTPUT")];
    rows.extend(found.into_iter().map(|(name, status)| match status {
        Ok(status) => vec![
            name,
            status.state.to_owned(),
            done(&status),
            count(status.failed),
            status.idle_seconds.map(ago).unwrap_or_default(),
            status.output,
        ],
        Err(e) => {
            let mut row = vec![String::new(); 6];
            (row[0], row[1], row[5]) = (name, "damaged".into(), e.to_string());
            row
        }
    }));
    print(table(&rows))
}

fn done(status: &RunStatus) -> String {
    if status.records_done == status.records {
        count(status.records)
    } else {
        count_of(status.records_done, status.records)
    }
}

pub(crate) fn status(args: StatusArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    let status = shoal::status(&run)?;
    #[cfg(feature = "aws")]
    let platform = shoal::backend::platform_progress(&run)?;
    #[cfg(not(feature = "aws"))]
    let platform: Option<()> = None;
    if args.json {
        let mut json = json!(status);
        json["platform"] = json!(platform);
        return print_json(&json);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("run", status.name.clone()),
        row("state", status.state.to_owned()),
        row("records", done(&status)),
        row("batches", count_of(status.batches_done, status.batches)),
        row("failed", count(status.failed)),
        row("input", status.inputs.join(", ")),
        row("model", status.model.clone()),
        row("output", status.output.clone()),
        row("folder", status.path.clone()),
    ];
    rows.extend(status.idle_seconds.map(|idle| row("last event", ago(idle))));
    rows.extend(status.last_failure.map(|reason| row("failure", reason)));
    #[cfg(feature = "aws")]
    if let Some(at) = platform {
        let counts = format!(
            "{}: {} done, {} failed, {} running, {} waiting",
            at.status,
            plural(at.succeeded, "batch", "batches"),
            at.failed,
            at.running,
            at.pending
        );
        rows.push(row("platform", counts));
        rows.push(row("execution", at.execution));
    }
    if status.state == "unfinished" {
        rows.push(row("resume", format!("shoal resume {}", status.name)));
    }
    print(table(&rows))
}
