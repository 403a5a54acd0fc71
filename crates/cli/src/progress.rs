//! The progress of a run: a line that is redrawn on a terminal, lines elsewhere, nothing with `--quiet`.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::output::{count_of, say};
use super::status_line;
use shoal::Event;
use shoal::function::running;
use shoal::job::unix_ms;
use shoal::job::wire::FailureKind;
use shoal::log;
use shoal::reports::RunState;
use shoal::reports::numbers::{count, duration, number, plural, plural_of};
use shoal::reports::text::printable_line;

/// Time between two drawings, and between two lines.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Shows the events of a run on standard error.
pub(crate) struct Progress {
    view: View,
    shown: Arc<Mutex<Shown>>,
    /// What was said about the input. A command may start several runs.
    notes: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    Quiet,
    Lines,
    Bar,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let view = if quiet || log::is_json() {
            View::Quiet
        } else if std::io::stderr().is_terminal() {
            View::Bar
        } else {
            View::Lines
        };
        let shown = Arc::new(Mutex::new(Shown::new(Instant::now())));
        if view != View::Quiet {
            let weak = Arc::downgrade(&shown);
            // Without the thread, the run works as well.
            let _ = thread::Builder::new()
                .name("progress".into())
                .spawn(move || show(view, &weak));
        }
        Self {
            view,
            shown,
            notes: BTreeSet::new(),
        }
    }

    /// Takes the next event of the run.
    pub(crate) fn apply(&mut self, event: &Event) {
        let mut shown = lock(&self.shown);
        let _ = shown.state.apply(unix_ms(), event);
        let line = shown.take(event);
        let notes = match event {
            Event::Planned { notes, .. } => notes.as_slice(),
            _ => &[],
        };
        drop(shown);
        if self.view == View::Quiet {
            return;
        }
        for note in notes {
            if self.notes.insert(note.clone()) {
                say(&format!("note: {}", printable_line(note)));
            }
        }
        if let Some(line) = line {
            say(&line);
        }
    }

    /// Removes the line from the screen.
    pub(crate) fn clear(&self) {
        lock(&self.shown).doing = Doing::Nothing;
        status_line::clear();
    }

    /// Whether the user wants no summary at the end.
    pub(crate) fn is_quiet(&self) -> bool {
        self.view == View::Quiet
    }
}

fn lock(shown: &Mutex<Shown>) -> MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Draws or prints the progress until its owner is gone.
fn show(view: View, shown: &Weak<Mutex<Shown>>) {
    let pause = match view {
        View::Bar => DRAW_INTERVAL,
        _ => LINE_INTERVAL,
    };
    let mut last = String::new();
    loop {
        thread::sleep(pause);
        let Some(shown) = shown.upgrade() else {
            return;
        };
        let mut shown = lock(&shown);
        let width = match view {
            View::Bar => status_line::width(),
            _ => usize::MAX,
        };
        let Some(line) = shown.line(width, unix_ms(), Instant::now()) else {
            continue;
        };
        // While it is locked, nobody clears the line.
        match view {
            View::Bar => status_line::draw(&line),
            _ if line != last => say(&line),
            _ => {}
        }
        last = line;
    }
}

/// What is shown.
struct Shown {
    state: RunState,
    doing: Doing,
    began: Instant,
    /// The most records that were shown: estimates must not make the number fall.
    most: u64,
}

enum Doing {
    Nothing,
    Reading {
        records: u64,
    },
    Processing,
    /// A platform that fans out by itself.
    Waiting {
        finished: u64,
        failed: u64,
        running: u64,
    },
    Writing {
        parts: u64,
        of: u64,
    },
}

impl Shown {
    fn new(began: Instant) -> Self {
        Self {
            state: RunState::default(),
            doing: Doing::Nothing,
            began,
            most: 0,
        }
    }

    /// Takes an event that the state has taken. Returns a line to print, if there is one.
    fn take(&mut self, event: &Event) -> Option<String> {
        let state = &self.state;
        match event {
            Event::Planning { records } => self.doing = Doing::Reading { records: *records },
            Event::Started {
                concurrency,
                reused_batches,
                ..
            } => {
                let mut line = format!(
                    "{} in {}, {concurrency} at a time",
                    plural(state.records, "record", "records"),
                    plural(state.batches, "batch", "batches"),
                );
                if *reused_batches > 0 {
                    let reused = plural(*reused_batches, "batch is", "batches are");
                    line += &format!("; {reused} finished already");
                }
                self.most = 0;
                self.doing = Doing::Processing;
                return Some(line);
            }
            // Said once: a throttling platform says so for every call.
            Event::Failed {
                kind: FailureKind::Throttled,
                reason,
                ..
            } if state.throttled_calls == 1 => {
                return Some(format!(
                    "the platform accepts fewer calls than are made, slowing down: {reason}"
                ));
            }
            Event::Failed { .. } => return retry_line(event),
            Event::Progressed {
                finished,
                failed,
                running,
            } => {
                self.doing = Doing::Waiting {
                    finished: *finished,
                    failed: *failed,
                    running: *running,
                }
            }
            Event::Collecting { parts, of } => {
                self.doing = Doing::Writing {
                    parts: *parts,
                    of: *of,
                }
            }
            Event::Cancelled
            | Event::Stopped { .. }
            | Event::Completed { .. }
            | Event::Detached { .. } => self.doing = Doing::Nothing,
            _ => {}
        }
        None
    }

    /// The progress in less than `width` columns, if there is something to show.
    fn line(&mut self, width: usize, unix_ms: u64, now: Instant) -> Option<String> {
        let elapsed = now.duration_since(self.began).as_secs();
        let elapsed = time(elapsed);
        match self.doing {
            Doing::Nothing => None,
            Doing::Reading { records } => Some(fit(
                &[
                    (0, "reading the input".into()),
                    (1, plural(records, "record", "records")),
                    (2, elapsed),
                ],
                width,
            )),
            Doing::Writing { parts, of } => Some(fit(
                &[
                    (0, "writing the output".into()),
                    (1, format!("part {}", count_of(parts, of))),
                    (2, elapsed),
                ],
                width,
            )),
            Doing::Waiting {
                finished,
                failed,
                running,
            } => {
                let mut facts = vec![(
                    0,
                    plural_of(finished, self.state.batches, "batch", "batches"),
                )];
                if failed > 0 {
                    facts.push((1, format!("{} failed", count(failed))));
                }
                facts.extend([(2, format!("{} in flight", count(running))), (1, elapsed)]);
                let share = finished as f64 / self.state.batches.max(1) as f64;
                Some(with_bar(share, &facts, width))
            }
            Doing::Processing => Some(self.processing(elapsed, width, unix_ms)),
        }
    }

    /// Percent, records, rate, batches in flight, time and time left.
    fn processing(&mut self, elapsed: String, width: usize, unix_ms: u64) -> String {
        let state = &self.state;
        // Calls of this process count exactly, those elsewhere by the time that others took.
        let inside = match running::records() {
            0 => state.records_running(unix_ms),
            records => records,
        };
        let done = (state.records_done() + inside).min(state.records);
        self.most = self.most.max(done);
        let done = self.most;
        let share = done as f64 / state.records.max(1) as f64;
        let mut facts = vec![
            (0, format!("{:.0} %", (100.0 * share).floor())),
            (3, plural_of(done, state.records, "record", "records")),
        ];
        if state.answered.failed > 0 {
            facts.push((4, format!("{} failed", count(state.answered.failed))));
        }
        let inside = done.saturating_sub(state.records_done());
        let rate = state.records_per_second(unix_ms, inside);
        let rate = rate.filter(|rate| *rate > 0.0);
        facts.extend(rate.map(|rate| (5, format!("{}/s", number(rate)))));
        let batches = plural(state.running(), "batch", "batches");
        facts.push((6, format!("{batches} in flight")));
        facts.push((1, elapsed));
        if let Some(rate) = rate {
            let left = state.records.saturating_sub(done) as f64 / rate;
            facts.push((2, format!("{} left", time(left.ceil() as u64))));
        }
        with_bar(share, &facts, width)
    }
}

/// A time in whole seconds.
fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => duration(seconds as f64),
    }
}

/// Facts behind a bar, where there is space for one.
fn with_bar(share: f64, facts: &[(u8, String)], width: usize) -> String {
    let cells = match width {
        usize::MAX | 0..40 => return fit(facts, width),
        40..80 => 8,
        _ => 16,
    };
    let facts = fit(facts, width - cells - 1);
    format!("{} {facts}", bar(share, cells))
}

/// A bar of this many cells.
fn bar(share: f64, cells: usize) -> String {
    let eighths = (share.clamp(0.0, 1.0) * (8 * cells) as f64) as usize;
    let mut bar = "█".repeat(eighths / 8);
    if eighths < 8 * cells {
        bar.push([' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8]);
    }
    let empty = cells - bar.chars().count();
    bar + &" ".repeat(empty)
}

/// The facts in less than `width` columns: those with the highest numbers are left out first.
fn fit(facts: &[(u8, String)], width: usize) -> String {
    let least = facts.iter().map(|(rank, _)| *rank);
    let mut most = least.max().unwrap_or(0);
    loop {
        let shown = facts.iter().filter(|(rank, _)| *rank <= most);
        let shown: Vec<_> = shown.map(|(_, fact)| fact.as_str()).collect();
        let line = shown.join(", ");
        if line.chars().count() < width {
            return line;
        }
        if most == 0 {
            return line.chars().take(width.saturating_sub(1)).collect();
        }
        most -= 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn processing(records: u64) -> (Shown, Instant) {
        let began = Instant::now();
        let mut shown = Shown::new(began);
        for event in [
            Event::Planned {
                records,
                batches: 4,
                notes: Vec::new(),
            },
            Event::Started {
                backend: "local".into(),
                concurrency: 2,
                reused_batches: 0,
                reused_records: 0,
            },
        ] {
            let _ = shown.state.apply(1_000, &event);
            let _ = shown.take(&event);
        }
        (shown, began)
    }

    #[test]
    fn the_line_fits_every_width_and_keeps_percent_and_time() {
        let (mut shown, began) = processing(1_234_567);
        shown.most = 555_555;
        let now = began + Duration::from_secs(75);
        for width in 1..200 {
            let line = shown.line(width, 76_000, now).unwrap();
            assert!(line.chars().count() < width, "{width}: {line:?}");
        }
        for (width, expected) in [
            (20, "44 %, 1 min 15 s"),
            (40, "███▌     44 %, 1 min 15 s"),
            (
                120,
                "███████▏         44 %, 555,555 of 1,234,567 records, 7,407/s, 0 batches in flight, 1 min 15 s, 1 min 32 s left",
            ),
        ] {
            assert_eq!(shown.line(width, 76_000, now).unwrap(), expected);
        }
    }

    #[test]
    fn one_record_is_singular() {
        let (mut shown, began) = processing(1);
        let line = shown.line(usize::MAX, 1_000, began).unwrap();
        assert_eq!(line, "0 %, 0 of 1 record, 0 batches in flight, 0 s");
        let _ = shown.take(&Event::Planning { records: 1 });
        let line = shown.line(usize::MAX, 1_000, began).unwrap();
        assert_eq!(line, "reading the input, 1 record, 0 s");
    }

    #[test]
    fn records_inside_running_batches_count_and_never_fall() {
        let (mut shown, began) = processing(100);
        let inside = running::Processed::default();
        inside.set(20);
        let line = shown.line(usize::MAX, 3_000, began).unwrap();
        assert!(
            line.starts_with("20 %, 20 of 100 records, 10.0/s")
                || line.starts_with("20 %, 20 of 100 records, 10/s"),
            "{line}"
        );
        drop(inside);
        let line = shown.line(usize::MAX, 3_000, began).unwrap();
        assert!(line.starts_with("20 %"), "{line}");
    }

    #[test]
    fn bars_have_their_width() {
        for eighths in 0..=64 {
            let bar = bar(f64::from(eighths) / 64.0, 8);
            assert_eq!(bar.chars().count(), 8, "{bar:?}");
        }
        assert_eq!(bar(0.0, 2), "  ");
        assert_eq!(bar(1.0, 2), "██");
    }
}
