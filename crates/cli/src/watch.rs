//! `shoal watch`: the progress of a run in the terminal.

mod screen;

use std::io::IsTerminal;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};

use super::options::{PriceOptions, heading};
use super::waits;
use shoal::job::{Receipts, RunDir, unix_ms};
use shoal::planning::Prices;
use shoal::reports::{CallHistory, Phase, RunReport, Totals};
use shoal::{Error, Result, find_run, report};

/// How often keys and new states are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// The time between two updates; longer if an update takes long.
const EVERY: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  shoal watch reviews-ebcf50ee
  shoal watch s3://bucket/shoal/runs/reviews-ebcf50ee";

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct WatchArgs {
    /// Name of a run, or path or URL of its directory
    #[arg(help_heading = heading::RUN_DIR)]
    run: String,

    #[command(flatten)]
    prices: PriceOptions,
}

pub(crate) fn watch(args: WatchArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    if !std::io::stdout().is_terminal() {
        return Err(Error::Settings(
            "failed to watch: standard output is not a terminal; use `shoal status RUN` or `shoal report RUN` instead".into(),
        ));
    }
    let mut watched = Watched {
        run,
        receipts: Receipts::default(),
        prices: shoal::prices(args.prices.prices.as_deref())?,
    };
    // Errors are shown before the screen is switched.
    let first = watched.snapshot()?;
    let (send, snapshots) = mpsc::sync_channel(0);
    // A store that does not answer must not stop the screen.
    let update = move || {
        loop {
            let snapshot = watched.snapshot();
            let pause = snapshot
                .as_ref()
                .map_or(EVERY, |new| EVERY.max(new.took * 10));
            if send.send(snapshot).is_err() {
                return;
            }
            thread::sleep(pause);
        }
    };
    let failed = |e| Error::from(shoal::job::Error::storage("start", "a thread", e));
    thread::Builder::new().spawn(update).map_err(failed)?;
    waits::stop();
    let mut terminal = ratatui::init();
    let end = show(&mut terminal, first, &snapshots);
    ratatui::restore();
    end
}

/// Draws until the user leaves.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    mut snapshot: Snapshot,
    snapshots: &mpsc::Receiver<Result<Snapshot>>,
) -> Result<()> {
    let failed = |e: std::io::Error| -> Error {
        shoal::job::Error::storage("draw on", "the terminal", e).into()
    };
    loop {
        let wait = waits::long();
        terminal
            .draw(|frame| screen::draw(frame, &snapshot, wait.as_ref()))
            .map_err(failed)?;
        if event::poll(LOOK).map_err(failed)?
            && let Input::Key(key) = event::read().map_err(failed)?
            && key.kind == KeyEventKind::Press
        {
            let is_break =
                key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            if is_break || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(());
            }
        }
        match snapshots.try_recv() {
            Ok(new) => snapshot = new?,
            Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected) => {}
        }
    }
}

/// The run at one moment.
struct Snapshot {
    report: RunReport,
    /// Calls in flight, according to the events.
    in_flight: u64,
    /// Records that they have probably processed.
    inside: u64,
    phase: Phase,
    /// The duration of the update.
    took: Duration,
}

struct Watched {
    run: RunDir,
    /// The receipts of earlier updates.
    receipts: Receipts,
    prices: Prices,
}

impl Watched {
    fn snapshot(&mut self) -> Result<Snapshot> {
        let started = Instant::now();
        let Some(job) = self.run.job()? else {
            return Err(Error::NoSuchRun {
                name: self.run.reference(),
                reason: "it is not planned yet; try again in a moment".into(),
            });
        };
        let new = self.run.receipts_beyond(&self.receipts)?;
        self.receipts.merge(new);
        let history = CallHistory::of(&self.run.events_beside(&self.receipts)?);
        let totals = Totals::of(&self.receipts);
        let state = history.state();
        let (phase, in_flight) = (state.phase, state.running());
        let inside = state.records_running(unix_ms());
        let bill = report::bill(&self.run, &job, &totals, history.state(), &self.prices)?;
        let report = report::of(&self.run, &job, &self.receipts, history, bill)?;
        Ok(Snapshot {
            report,
            in_flight,
            inside,
            phase,
            took: started.elapsed(),
        })
    }
}
