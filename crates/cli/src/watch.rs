//! `shoal watch`: the progress of a run in the terminal.

mod screen;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};

use super::args::watch::WatchArgs;
use shoal::job::{Receipts, RunDir};
use shoal::planning::Prices;
use shoal::reports::{CallHistory, Phase, RunReport, Totals};
use shoal::{Error, Result, find_run, report};

/// The time between two looks at the run; longer where a look takes long.
const EVERY: Duration = Duration::from_millis(500);

pub(super) fn watch(args: WatchArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    if !std::io::stdout().is_terminal() {
        return Err(Error::Settings(
            "failed to watch: standard output is not a terminal; use `shoal status RUN` or `shoal report RUN` instead".into(),
        ));
    }
    let mut watched = Watched {
        run,
        receipts: Receipts::default(),
        prices: shoal::prices(args.prices.as_deref())?,
    };
    // An error is easier to read before the screen is taken over.
    let mut seen = watched.look()?;
    let mut terminal = ratatui::init();
    let end = show(&mut terminal, &mut watched, &mut seen);
    ratatui::restore();
    end
}

/// Draws until the user leaves.
fn show(
    terminal: &mut ratatui::DefaultTerminal,
    watched: &mut Watched,
    seen: &mut Seen,
) -> Result<()> {
    let failed = |e: std::io::Error| -> Error {
        shoal::job::Error::storage("draw on", "the terminal", e).into()
    };
    loop {
        terminal
            .draw(|frame| screen::draw(frame, seen))
            .map_err(failed)?;
        let wait = EVERY.max(seen.took * 10);
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left).map_err(failed)? {
                break;
            }
            match event::read().map_err(failed)? {
                Input::Key(key) if key.kind == KeyEventKind::Press => {
                    let is_break = key.modifiers.contains(KeyModifiers::CONTROL)
                        && key.code == KeyCode::Char('c');
                    if is_break || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                        return Ok(());
                    }
                }
                Input::Resize(..) => break,
                _ => {}
            }
        }
        *seen = watched.look()?;
    }
}

/// The result of a look.
struct Seen {
    report: RunReport,
    /// Calls in flight, as far as events say.
    in_flight: u64,
    phase: Phase,
    /// The duration of the look.
    took: Duration,
}

struct Watched {
    run: RunDir,
    /// The receipts of earlier looks.
    receipts: Receipts,
    prices: Prices,
}

impl Watched {
    fn look(&mut self) -> Result<Seen> {
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
        let (phase, in_flight) = (history.state().phase, history.state().running());
        let bill = report::bill(&self.run, &job, &totals, history.state(), &self.prices)?;
        let report = report::of(&self.run, &job, &self.receipts, history, bill)?;
        Ok(Seen {
            report,
            in_flight,
            phase,
            took: started.elapsed(),
        })
    }
}
