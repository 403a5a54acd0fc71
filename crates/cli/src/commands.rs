//! What each subcommand does.

use std::io::{IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::{CollectArgs, ResumeArgs, RunArgs, RunsArgs, StatusArgs};
use super::config::speculation;
use super::progress::{Progress, say};
use super::table::{ago, table};
use super::traced::Traced;
use super::{config, print};
use shoal::error::ExitCode;
use shoal::reports::numbers::{count, duration, usd};
use shoal::{
    Auto, Cancel, EngineSettings, Error, Event, Limits, OnError, Result, ResumeOptions, RunStatus,
    Summary, find_run, remove_run,
};

pub(super) fn run(args: Box<RunArgs>) -> Result<()> {
    let mut plan = config::settings(*args)?;
    let mut traced = Traced::start(plan.otlp.as_deref())?;
    let mut progress = Progress::new(plan.quiet);
    let cancel = cancel_on_signal();
    if let Some(batch_size) = plan.auto {
        let chosen = shoal::auto(&mut plan.settings, batch_size, &cancel, &mut |event| {
            progress.apply(event);
        })?;
        if !plan.quiet {
            progress.clear();
            say(&describe(&chosen));
            progress = Progress::new(false);
        }
    }
    let mut see = |event: &Event| {
        progress.apply(event);
        traced.apply(event);
    };
    let end = shoal::run(&plan.settings, &cancel, &mut see);
    let end = match end {
        // What was planned is there already; the same call goes on from it.
        Err(Error::NeedsYes { usd, batches }) if agrees(&progress, usd, batches) => {
            plan.settings.limits.yes = true;
            plan.settings.fresh = false;
            shoal::run(&plan.settings, &cancel, &mut |event| {
                progress.apply(event);
                traced.apply(event);
            })
        }
        end => end,
    };
    progress.clear();
    traced.end(&end);
    finish(end, &progress, plan.json)
}

pub(super) fn resume(args: ResumeArgs) -> Result<()> {
    go_on(args, false)
}

pub(super) fn retry(args: ResumeArgs) -> Result<()> {
    go_on(args, true)
}

fn go_on(args: ResumeArgs, retry: bool) -> Result<()> {
    let run = find_run(&args.run)?;
    check_json(args.json, args.output.as_deref())?;
    let mut traced = Traced::start(args.otlp.as_deref())?;
    let mut progress = Progress::new(args.quiet);
    let cancel = cancel_on_signal();
    let mut options = ResumeOptions {
        output: args.output,
        backend: args.backend.map(Into::into),
        concurrency: args.concurrency,
        urls: args.url,
        detach: args.detach,
        trust: args.trust,
        machine: args.machine,
        limits: Limits {
            max_usd: args.max_cost,
            max_seconds: args.max_time.map(|time| time.0),
            yes: args.yes,
            prices: args.prices,
            speculation: speculation(args.speculation_budget),
        },
        on_error: args.on_error.map_or(OnError::Skip, Into::into),
        retry,
        engine: EngineSettings {
            precision: None,
            isa: args.isa,
            cache_dir: args.cache_dir,
        },
    };
    let end = shoal::resume(run.clone(), &options, &cancel, &mut |event| {
        progress.apply(event);
        traced.apply(event);
    });
    let end = match end {
        Err(Error::NeedsYes { usd, batches }) if agrees(&progress, usd, batches) => {
            options.limits.yes = true;
            // What was to be tried again waits already.
            options.retry = false;
            shoal::resume(run, &options, &cancel, &mut |event| {
                progress.apply(event);
                traced.apply(event);
            })
        }
        end => end,
    };
    progress.clear();
    traced.end(&end);
    finish(end, &progress, args.json)
}

pub(super) fn collect(args: CollectArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    check_json(args.json, args.output.as_deref())?;
    let mut progress = Progress::new(args.quiet);
    let end = shoal::collect(run, args.output.as_deref(), args.trust, &mut |event| {
        progress.apply(event)
    });
    finish(end, &progress, args.json)
}

/// What was chosen for a run.
fn describe(auto: &Auto) -> String {
    match auto {
        Auto::AsBefore { batch_size } => {
            format!(
                "going on in batches of {}, as the run was planned",
                count(*batch_size)
            )
        }
        Auto::Chosen { estimate, why } => {
            let cost = estimate
                .usd()
                .map_or_else(String::new, |cost| format!(" for {}", usd(cost)));
            format!(
                "batches of {}, {} at a time: {why}; expected to take {}{cost}",
                count(estimate.batch_size),
                count(estimate.concurrency),
                duration(estimate.seconds)
            )
        }
    }
}

/// Whether the user at the terminal agrees to the cost; without a terminal, nobody does.
fn agrees(progress: &Progress, cost: f64, batches: u64) -> bool {
    let (mut answers, mut screen) = (std::io::stdin(), std::io::stderr());
    if !answers.is_terminal() || !screen.is_terminal() {
        return false;
    }
    progress.clear();
    let question = format!(
        "The remaining {} batches are expected to cost {}. Continue? [y/N] ",
        count(batches),
        usd(cost)
    );
    let asked = write!(screen, "{question}").and_then(|()| screen.flush());
    // Only one line is needed.
    let mut answer = [0; 64];
    let read = asked.and_then(|()| answers.read(&mut answer)).unwrap_or(0);
    matches!(answer[..read].trim_ascii(), b"y" | b"Y" | b"yes")
}

/// The summary and the labels cannot both be on standard output.
fn check_json(json: bool, output: Option<&str>) -> Result<()> {
    if json && output == Some("-") {
        return Err(Error::Settings(
            "--json prints the summary on standard output, where -o - puts the labels; choose one"
                .into(),
        ));
    }
    Ok(())
}

fn finish(end: Result<Summary>, progress: &Progress, json: bool) -> Result<()> {
    progress.clear();
    let summary = match end {
        // That is what was asked for.
        Err(error @ Error::Detached { .. }) => {
            say(&error.to_string());
            return Ok(());
        }
        end => end?,
    };
    if json {
        return print_json(&summary);
    }
    if !progress.is_quiet() {
        say(&summary.to_string());
    }
    Ok(())
}

pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(value).expect("what we print is always JSON");
    text.push(b'\n');
    print(&text)
}

/// A wish to stop that the first Ctrl-C, or request to terminate, makes; the second one does not wait.
pub(super) fn cancel_on_signal() -> Cancel {
    let cancel = Cancel::new();
    let seen = cancel.clone();
    on_signal(move || seen.cancel());
    cancel
}

/// Calls `ask` at the first Ctrl-C, or request to terminate; the second one does not wait.
pub(super) fn on_signal(ask: impl Fn() + Send + 'static) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let installed = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(ExitCode::Interrupted as i32);
        }
        ask();
    });
    if let Err(e) = installed {
        say(&format!("warning: Ctrl-C will not stop this gently: {e}"));
    }
}

pub(super) fn runs(args: RunsArgs) -> Result<()> {
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
            match status {
                Ok(status) => print_json(status)?,
                Err(e) => print_json(
                    &serde_json::json!({ "name": name, "state": "damaged", "error": e.to_string() }),
                )?,
            }
        }
        return Ok(());
    }
    if found.is_empty() {
        say("no runs yet; `shoal run INPUT -o OUTPUT` starts one");
        return Ok(());
    }
    let mut rows = vec![
        ["RUN", "STATE", "RECORDS", "FAILED", "LAST", "OUTPUT"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(found.into_iter().map(|(name, status)| match status {
        Ok(status) => vec![
            name,
            status.state.to_owned(),
            done(&status),
            count(status.failed),
            status.idle_seconds.map(ago).unwrap_or_default(),
            status.output,
        ],
        Err(e) => vec![
            name,
            "damaged".into(),
            String::new(),
            String::new(),
            String::new(),
            e.to_string(),
        ],
    }));
    print(table(&rows).as_bytes())
}

fn done(status: &RunStatus) -> String {
    if status.records_done == status.records {
        count(status.records)
    } else {
        format!(
            "{} of {}",
            count(status.records_done),
            count(status.records)
        )
    }
}

pub(super) fn status(args: StatusArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    let status = shoal::status(&run)?;
    #[cfg(feature = "aws")]
    let platform = shoal::backend::platform_progress(&run)?;
    #[cfg(not(feature = "aws"))]
    let platform: Option<()> = None;
    if args.json {
        let mut json = serde_json::to_value(&status).expect("a status is always JSON");
        json["platform"] = serde_json::to_value(&platform).expect("progress is always JSON");
        return print_json(&json);
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("run", status.name.clone()),
        row("state", status.state.to_owned()),
        row("records", done(&status)),
        row(
            "batches",
            format!(
                "{} of {}",
                count(status.batches_done),
                count(status.batches)
            ),
        ),
        row("failed", count(status.failed)),
        row("input", status.inputs.join(", ")),
        row("model", status.model.clone()),
        row("output", status.output.clone()),
        row("folder", status.path.clone()),
    ];
    rows.extend(status.idle_seconds.map(|idle| row("last event", ago(idle))));
    rows.extend(
        status
            .last_failure
            .clone()
            .map(|reason| row("failure", reason)),
    );
    #[cfg(feature = "aws")]
    if let Some(shoal_aws::Progress {
        execution,
        status,
        succeeded,
        failed,
        running,
        pending,
    }) = platform
    {
        let counts = format!(
            "{status}: {succeeded} batches done, {failed} failed, {running} at work, {pending} waiting"
        );
        rows.push(row("platform", counts));
        rows.push(row("execution", execution));
    }
    if status.state == "unfinished" {
        rows.push(row("go on", format!("shoal resume {}", status.name)));
    }
    print(table(&rows).as_bytes())
}
