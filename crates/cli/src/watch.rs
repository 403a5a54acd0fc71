//! `shoal watch`: a run as it goes on, in the terminal.

mod screen;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyEventKind, KeyModifiers};

use super::args::watch::WatchArgs;
use shoal::cost::{History, Spent};
use shoal::job::{Receipts, RunDir};
use shoal::planning::Prices;
use shoal::reports::RunReport;
use shoal::{Error, Event, Result, find_run, report};

/// Between two looks at the run; more where a look takes long.
const EVERY: Duration = Duration::from_millis(500);

pub(super) fn watch(args: WatchArgs) -> Result<()> {
    let run = find_run(&args.run)?;
    if !std::io::stdout().is_terminal() {
        return Err(Error::Settings(
            "failed to watch: standard output is no terminal; `shoal status RUN` and `shoal report RUN` tell it there".into(),
        ));
    }
    let mut watched = Watched {
        run,
        receipts: Receipts::default(),
        prices: shoal::plan::prices(args.prices.as_deref())?,
    };
    // What cannot be read is better told before the screen is taken than after.
    let mut seen = watched.look()?;
    let mut terminal = ratatui::init();
    let end = show(&mut terminal, &mut watched, &mut seen);
    ratatui::restore();
    end
}

/// Draws until somebody has seen enough.
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

/// What was seen at a look.
struct Seen {
    report: RunReport,
    /// Records that are done, of all.
    done: u64,
    /// Calls under way, as far as events tell.
    in_flight: u64,
    /// In a word.
    state: &'static str,
    /// What the look took.
    took: Duration,
}

struct Watched {
    run: RunDir,
    /// Those that were there at earlier looks.
    receipts: Receipts,
    prices: Prices,
}

impl Watched {
    fn look(&mut self) -> Result<Seen> {
        let started = Instant::now();
        let Some(job) = self.run.job()? else {
            return Err(Error::NoSuchRun {
                name: self.run.reference(),
                reason: "its plan is not there yet; watch again in a moment".into(),
            });
        };
        let new = self.run.receipts_beyond(&self.receipts)?;
        self.receipts.merge(new);
        let events = self.run.events()?;
        let (spent, history) = (Spent::of(&self.receipts), History::of(&events));
        let bill = report::bill(&self.run, &job, &spent, &history, &self.prices)?;
        let report = report::of(&self.run, &job, &self.receipts, &events, bill)?;
        let done = self.receipts.records();
        let state = match events.last() {
            Some((_, Event::Completed { .. })) => "finished",
            Some((_, Event::Cancelled | Event::Stopped { .. })) => "stopped",
            Some((_, Event::Detached { .. })) => "left to the platform",
            None => "planned",
            _ if done == job.records => "collecting",
            _ => "working",
        };
        Ok(Seen {
            report,
            done,
            in_flight: in_flight(&events),
            state,
            took: started.elapsed(),
        })
    }
}

/// Calls that were made and not answered, of the last start.
fn in_flight(events: &[(u64, Event)]) -> u64 {
    let mut calls: u64 = 0;
    for (_, event) in events {
        match event {
            Event::Started { .. }
            | Event::Cancelled
            | Event::Stopped { .. }
            | Event::Completed { .. } => calls = 0,
            Event::Dispatched { .. } => calls += 1,
            Event::Finished { .. } | Event::Failed { .. } | Event::Superseded { .. } => {
                calls = calls.saturating_sub(1);
            }
            _ => {}
        }
    }
    calls
}
