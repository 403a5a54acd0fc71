//! What each subcommand does.

use std::io::{IsTerminal, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::resume::{CollectArgs, ResumeArgs, RunsArgs, StatusArgs};
use super::args::run::RunArgs;
use super::hint::message;
use super::options::{arguments, merge};
use super::print;
use super::progress::{Progress, say};
use super::table::{ago, table};
use super::traced::Traced;
use shoal::error::ExitCode;
use shoal::job::RunDir;
use shoal::reports::numbers::{count, duration, usd};
use shoal::{
    Auto, BackendConfig, BackendKind, Cancel, Error, Event, Result, ResumeOptions, RunStatus,
    Summary, find_run, is_own, remove_run,
};

pub(super) fn run(args: Box<RunArgs>) -> Result<()> {
    let mut options = merge(&args.options, args.config.as_deref())?;
    let Some(output) = &options.output.output else {
        return Err(Error::Settings(
            "failed to start: name the output, for example -o labels.csv, or -o - for standard output".into(),
        ));
    };
    check_json(options.logging.json(), Some(output))?;
    let mut settings = options.settings(args.inputs)?;
    let quiet = options.logging.quiet();
    let traced = Traced::start(options.logging.otlp.as_deref())?;
    let mut progress = Progress::new(quiet);
    let cancel = cancel_on_signal();
    if options.batches.auto == Some(true) {
        let batch_size = options.batches.batch_size;
        let chosen = shoal::auto(&mut settings, batch_size, &cancel, &mut |event| {
            progress.apply(event);
        })?;
        options.batches.batch_size = Some(settings.parameters.batch_size);
        options.backend.concurrency = settings.backend.concurrency();
        if !quiet {
            progress.clear();
            say(&describe(&chosen));
            progress = Progress::new(false);
        }
    }
    settings.command = arguments(&settings.inputs, &options);
    let json = options.logging.json();
    perform(traced, progress, json, |is_agreed, emit| {
        if is_agreed {
            settings.limits.yes = true;
            // The first call planned the run; this one resumes it.
            settings.fresh = false;
        }
        shoal::run(&settings, &cancel, emit)
    })
}

/// Calls `run` and shows its progress. Where it needs consent to its cost and the user gives it, it is called again with
/// `true`.
fn perform(
    mut traced: Traced,
    mut progress: Progress,
    json: bool,
    mut run: impl FnMut(bool, &mut dyn FnMut(&Event)) -> Result<Summary>,
) -> Result<()> {
    let mut is_agreed = false;
    let end = loop {
        let end = run(is_agreed, &mut |event| {
            progress.apply(event);
            traced.apply(event);
        });
        match end {
            Err(Error::NeedsYes { usd, batches }) if !is_agreed => {
                is_agreed = agrees(&progress, usd, batches);
                if !is_agreed {
                    break end;
                }
            }
            end => break end,
        }
    };
    progress.clear();
    traced.end(&end);
    finish(end, &progress, json)
}

pub(super) fn resume(args: &ResumeArgs) -> Result<()> {
    resume_run(args, false)
}

pub(super) fn retry(args: &ResumeArgs) -> Result<()> {
    resume_run(args, true)
}

fn resume_run(args: &ResumeArgs, retry: bool) -> Result<()> {
    let run = find_run(&args.run)?;
    check_json(args.logging.json(), args.output.as_deref())?;
    let cancel = cancel_on_signal();
    let mut options = ResumeOptions {
        output: args.output.clone(),
        backend: backend(args, &run)?,
        trust: args.trust,
        limits: args.limits.limits(),
        on_error: args.limits.on_error.unwrap_or_default(),
        retry,
        engine: args.engine.settings(),
    };
    let traced = Traced::start(args.logging.otlp.as_deref())?;
    let progress = Progress::new(args.logging.quiet());
    perform(traced, progress, args.logging.json(), |is_agreed, emit| {
        if is_agreed {
            options.limits.yes = true;
            // The records to retry are open already.
            options.retry = false;
        }
        shoal::resume(run.clone(), &options, &cancel, emit)
    })
}

/// The backend that a run resumes on. Settings in the run directory of another user count only with `--trust`; `None`
/// leaves it to the library to refuse them.
fn backend(args: &ResumeArgs, run: &RunDir) -> Result<Option<BackendConfig>> {
    let last = BackendConfig::last(run)?;
    let options = &args.backend;
    if args.trust || is_own(run)? {
        return options.config(last).map(Some);
    }
    if options.backend.is_none() && last.kind() != BackendKind::Local {
        return Ok(None);
    }
    options.config(BackendConfig::default()).map(Some)
}

pub(super) fn collect(args: &CollectArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    check_json(args.json, args.output.as_deref())?;
    let mut progress = Progress::new(args.quiet);
    let end = shoal::collect(run, args.output.as_deref(), args.trust, &mut |event| {
        progress.apply(event)
    });
    finish(end, &progress, args.json)
}

/// The choice of a plan.
fn describe(auto: &Auto) -> String {
    match auto {
        Auto::AsBefore { batch_size } => {
            format!("resuming in batches of {}", count(*batch_size))
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

/// Whether the user at the terminal accepts the cost; without a terminal, no.
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
    let mut answer = [0; 64];
    let read = asked.and_then(|()| answers.read(&mut answer)).unwrap_or(0);
    matches!(answer[..read].trim_ascii(), b"y" | b"Y" | b"yes")
}

/// The summary and the results cannot both go to standard output.
fn check_json(json: bool, output: Option<&str>) -> Result<()> {
    if json && output == Some("-") {
        return Err(Error::Settings(
            "--json prints the summary on standard output, where -o - writes the results; choose one"
                .into(),
        ));
    }
    Ok(())
}

fn finish(end: Result<Summary>, progress: &Progress, json: bool) -> Result<()> {
    progress.clear();
    let summary = match end {
        // The user asked for it.
        Err(error @ Error::Detached { .. }) => {
            say(&message(&error));
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
    let mut text = serde_json::to_vec(value).expect("what is printed is always JSON");
    text.push(b'\n');
    print(&text)
}

/// Is cancelled by the first Ctrl-C or request to terminate; the second one exits at once.
pub(super) fn cancel_on_signal() -> Cancel {
    let cancel = Cancel::new();
    let seen = cancel.clone();
    on_signal(move || seen.cancel());
    cancel
}

/// Calls `ask` at the first Ctrl-C or request to terminate; the second one exits at once.
pub(super) fn on_signal(ask: impl Fn() + Send + 'static) {
    static ASKED: AtomicBool = AtomicBool::new(false);
    let installed = ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(ExitCode::Interrupted as i32);
        }
        ask();
    });
    if let Err(e) = installed {
        say(&format!("warning: Ctrl-C will stop this at once: {e}"));
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
            "{status}: {succeeded} batches done, {failed} failed, {running} running, {pending} waiting"
        );
        rows.push(row("platform", counts));
        rows.push(row("execution", execution));
    }
    if status.state == "unfinished" {
        rows.push(row("resume", format!("shoal resume {}", status.name)));
    }
    print(table(&rows).as_bytes())
}
