//! What is seen while a run goes on: a bar on a terminal, plain lines elsewhere, nothing when quiet.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use shoal::Event;
use shoal::job::wire::FailureKind;
use shoal::log;
use shoal::summary::{duration, grouped, rate_text};

/// Time between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows a run's events on standard error.
pub(super) struct Progress {
    view: View,
    records: u64,
    batches: u64,
    done: u64,
    done_before: u64,
    in_flight: u64,
    /// Batches that have not been dispatched yet.
    waiting: u64,
    failed: u64,
    /// Whether the platform has throttled calls.
    throttled: bool,
    started: Instant,
    last_line: Cell<Instant>,
}

enum View {
    Quiet,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let view = if quiet || log::is_json() {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
                .with_style(style("{spinner} {msg}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            View::Bar(bar)
        } else {
            View::Lines
        };
        let now = Instant::now();
        Self {
            view,
            records: 0,
            batches: 0,
            done: 0,
            done_before: 0,
            in_flight: 0,
            waiting: 0,
            failed: 0,
            throttled: false,
            started: now,
            last_line: Cell::new(now),
        }
    }

    /// Takes in a step of the run.
    pub(super) fn see(&mut self, event: &Event) {
        match event {
            Event::Planning { records } => {
                let text = format!("reading the input: {} records", grouped(*records));
                match &self.view {
                    View::Bar(bar) => bar.set_message(text),
                    View::Lines if self.is_time() => self.line(&text),
                    _ => {}
                }
            }
            Event::Planned { records, batches } => {
                (self.records, self.batches) = (*records, *batches);
            }
            Event::Started {
                concurrency,
                reused_batches,
                reused_records,
                ..
            } => {
                (self.done, self.done_before) = (*reused_records, *reused_records);
                self.waiting = self.batches - reused_batches;
                self.started = Instant::now();
                let mut text = format!(
                    "{} records in {} batches, {concurrency} at a time",
                    grouped(self.records),
                    grouped(self.batches),
                );
                if *reused_batches > 0 {
                    text += &format!("; {} batches are done already", grouped(*reused_batches));
                }
                self.line(&text);
                if let View::Bar(bar) = &self.view {
                    bar.set_style(style("{bar:16} {msg}"));
                    bar.set_length(self.records);
                    bar.set_position(self.done);
                    bar.set_message("starting");
                }
            }
            Event::Dispatched { attempt, .. } => {
                self.in_flight += 1;
                self.waiting -= u64::from(*attempt == 1 && self.waiting > 0);
                self.show();
            }
            Event::Finished { receipt, .. } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                self.done += receipt.records;
                self.failed += receipt.failed;
                // As long as batches wait, the next one is dispatched at once, and shows both.
                if self.waiting == 0 {
                    self.show();
                }
            }
            Event::Superseded { .. } => self.in_flight = self.in_flight.saturating_sub(1),
            Event::Failed {
                batch,
                attempt,
                reason,
                retry,
                kind,
                ..
            } => {
                self.in_flight = self.in_flight.saturating_sub(1);
                if *kind == FailureKind::Throttled {
                    // Said once: a platform that is full says so to every call.
                    if !std::mem::replace(&mut self.throttled, true) {
                        self.line(&format!(
                            "the platform takes fewer calls than are sent, going slower: {reason}"
                        ));
                    }
                } else if *retry {
                    self.line(&format!(
                        "batch {batch}: attempt {attempt} failed, trying again: {reason}"
                    ));
                }
            }
            Event::Collecting { parts, of } => {
                if let View::Bar(bar) = &self.view {
                    bar.set_message(format!(
                        "writing the output: part {} of {}",
                        grouped(*parts),
                        grouped(*of)
                    ));
                }
            }
            Event::Progressed {
                finished,
                failed,
                running,
            } => {
                self.in_flight = *running;
                let text = format!(
                    "{} batches done, {} in flight{}",
                    grouped(*finished),
                    grouped(*running),
                    if *failed > 0 {
                        format!(", {} failed", grouped(*failed))
                    } else {
                        String::new()
                    }
                );
                match &self.view {
                    View::Bar(bar) => bar.set_message(text),
                    View::Lines if self.is_time() => self.line(&text),
                    _ => {}
                }
            }
            Event::Cancelled
            | Event::Stopped { .. }
            | Event::Completed { .. }
            | Event::Detached { .. } => self.clear(),
            // What they say shows in the calls in flight.
            Event::Waiting { .. } | Event::Held { .. } | Event::Verifying { .. } => {}
        }
    }

    /// Takes the bar off the screen.
    pub(super) fn clear(&self) {
        if let View::Bar(bar) = &self.view {
            bar.finish_and_clear();
        }
    }

    /// Whether a summary is wanted at the end.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.view, View::Quiet)
    }

    fn show(&self) {
        match &self.view {
            View::Quiet => {}
            View::Bar(bar) => {
                bar.set_position(self.done);
                bar.set_message(self.text());
            }
            View::Lines => {
                if self.is_time() {
                    self.line(&self.text());
                }
            }
        }
    }

    /// Records, rate, batches in flight and time left, in less than a terminal's width.
    fn text(&self) -> String {
        let mut text = format!("{}/{} records", grouped(self.done), grouped(self.records));
        if self.failed > 0 {
            text += &format!(" ({} failed)", grouped(self.failed));
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (self.done - self.done_before) as f64 / seconds;
        if rate > 0.0 {
            text += &format!(", {}/s", rate_text(rate));
        }
        let batches = if self.in_flight == 1 {
            "batch"
        } else {
            "batches"
        };
        text += &format!(", {} {batches} in flight", self.in_flight);
        if rate > 0.0 {
            let left = self.records.saturating_sub(self.done) as f64 / rate;
            text += &format!(", {} left", duration(left));
        }
        text
    }

    /// Whether enough time has gone by for another plain line.
    fn is_time(&self) -> bool {
        let is_time = self.last_line.get().elapsed() >= LINE_INTERVAL;
        if is_time {
            self.last_line.set(Instant::now());
        }
        is_time
    }

    fn line(&self, text: &str) {
        match &self.view {
            View::Quiet => {}
            View::Bar(bar) => bar.suspend(|| say(text)),
            View::Lines => say(text),
        }
    }
}

/// A line on standard error; who does not listen does not stop a run.
pub(super) fn say(text: &str) {
    if log::is_json() {
        tracing::info!(target: "shoal", "{text}");
        return;
    }
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the template is a constant")
        .progress_chars("█▉▊▋▌▍▎▏ ")
}
