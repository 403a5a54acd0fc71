//! The progress of a run: a bar on a terminal, plain lines elsewhere, nothing with `--quiet`.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::output::{bar_style, count_of, say};
use shoal::Event;
use shoal::job::unix_ms;
use shoal::job::wire::FailureKind;
use shoal::log;
use shoal::reports::RunState;
use shoal::reports::numbers::{count, duration, number, plural};
use shoal::reports::text::printable_line;

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the events of a run on standard error.
pub(crate) struct Progress {
    view: View,
    state: RunState,
    /// What was said about the input. A command may start several runs.
    notes: BTreeSet<String>,
    last_line: Cell<Instant>,
}

enum View {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let view = if quiet || log::is_json() {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
                .with_style(bar_style("{spinner} {msg}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            View::Bar(bar)
        } else {
            View::Lines
        };
        Self {
            view,
            state: RunState::default(),
            notes: BTreeSet::new(),
            last_line: Cell::new(Instant::now()),
        }
    }

    /// Takes the next event of the run.
    pub(crate) fn apply(&mut self, event: &Event) {
        let _ = self.state.apply(unix_ms(), event);
        if let Event::Planned { notes, .. } = event {
            for note in notes {
                if self.notes.insert(note.clone()) {
                    self.line(&format!("note: {}", printable_line(note)));
                }
            }
        }
        let state = &self.state;
        match event {
            Event::Planning { records } => {
                self.show(|| format!("reading the input: {} records", count(*records)));
            }
            Event::Started {
                concurrency,
                reused_batches,
                ..
            } => {
                let mut text = format!(
                    "{} in {}, {concurrency} at a time",
                    plural(state.records, "record", "records"),
                    plural(state.batches, "batch", "batches"),
                );
                if *reused_batches > 0 {
                    let reused = plural(*reused_batches, "batch is", "batches are");
                    text += &format!("; {reused} finished already");
                }
                self.line(&text);
                if let View::Bar(bar) = &self.view {
                    bar.set_style(bar_style("{bar:16} {msg}"));
                    bar.set_length(state.records);
                    bar.set_position(state.records_done());
                    bar.set_message("starting");
                }
            }
            Event::Dispatched { .. } => self.show(|| self.text()),
            // While batches wait, the next call follows at once and shows both.
            Event::Finished { .. } if state.batches_waiting() == 0 => self.show(|| self.text()),
            // Shown once: a throttling platform says so for every call.
            Event::Failed {
                kind: FailureKind::Throttled,
                reason,
                ..
            } if state.throttled_calls == 1 => self.line(&format!(
                "the platform accepts fewer calls than are made, slowing down: {reason}"
            )),
            Event::Failed { .. } => {
                if let Some(line) = retry_line(event) {
                    self.line(&line);
                }
            }
            Event::Collecting { parts, of } => {
                if let View::Bar(bar) = &self.view {
                    let parts = count_of(*parts, *of);
                    bar.set_message(format!("writing the output: part {parts}"));
                }
            }
            Event::Progressed {
                finished,
                failed,
                running,
            } => self.show(|| {
                let mut text = format!(
                    "{} finished, {} in flight",
                    plural(*finished, "batch", "batches"),
                    count(*running)
                );
                if *failed > 0 {
                    text += &format!(", {} failed", count(*failed));
                }
                text
            }),
            Event::Cancelled
            | Event::Stopped { .. }
            | Event::Completed { .. }
            | Event::Detached { .. } => self.clear(),
            _ => {}
        }
    }

    /// Removes the bar from the screen.
    pub(crate) fn clear(&self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    /// Whether the user wants no summary at the end.
    pub(crate) fn is_quiet(&self) -> bool {
        matches!(self.view, View::Quiet)
    }

    fn show(&self, text: impl FnOnce() -> String) {
        match &self.view {
            View::Quiet => {}
            View::Bar(bar) => {
                bar.set_position(self.state.records_done());
                bar.set_message(text());
            }
            View::Lines => {
                if self.last_line.get().elapsed() >= LINE_INTERVAL {
                    self.last_line.set(Instant::now());
                    self.line(&text());
                }
            }
        }
    }

    /// Records, rate, batches in flight and time left, in less than the width of a terminal.
    fn text(&self) -> String {
        let state = &self.state;
        let done = state.records_done();
        let mut text = format!("{}/{} records", count(done), count(state.records));
        if state.answered.failed > 0 {
            text += &format!(" ({} failed)", count(state.answered.failed));
        }
        let rate = state.records_per_second(unix_ms()).unwrap_or(0.0);
        if rate > 0.0 {
            text += &format!(", {}/s", number(rate));
        }
        text += &format!(
            ", {} in flight",
            plural(state.running(), "batch", "batches")
        );
        if rate > 0.0 {
            let left = state.records.saturating_sub(done) as f64 / rate;
            text += &format!(", {} left", duration(left));
        }
        text
    }

    fn line(&self, text: &str) {
        match &self.view {
            View::Quiet => {}
            View::Bar(bar) => bar.suspend(|| say(text)),
            View::Lines => say(text),
        }
    }
}

/// The line about a failed attempt that is followed by another one.
pub(crate) fn retry_line(event: &Event) -> Option<String> {
    match event {
        Event::Failed {
            batch,
            attempt,
            reason,
            retry: true,
            kind,
            ..
        } if *kind != FailureKind::Throttled => Some(format!(
            "batch {batch}: attempt {attempt} failed, trying again: {reason}"
        )),
        _ => None,
    }
}
