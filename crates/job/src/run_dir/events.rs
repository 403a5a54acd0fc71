//! `events.jsonl`, the event log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::objects::MOST_RECEIPT_BYTES;
use super::{EVENTS, Root, RunDir};
use crate::receipts::is_plausible;
use crate::{Error, Event, Receipts, Result, unix_ms};

/// Events of a run directory in a store are written in segments: after this time …
const SEGMENT_TIME: Duration = Duration::from_secs(5);
/// … or at this size.
const SEGMENT_BYTES: usize = 256 << 10;

/// 35,000 years.
const MOST_UNIX_MS: u64 = 1 << 50;

/// The event log of a run, open for appending.
#[derive(Debug)]
pub struct EventLog {
    run: RunDir,
    /// The log of a folder.
    file: Option<File>,
    /// Distinguishes the segments of different starts of the run.
    started: u64,
    segments: u32,
    waiting: Vec<u8>,
    since: Instant,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Timed<E = Event> {
    unix_ms: u64,
    #[serde(flatten)]
    event: E,
}

impl RunDir {
    /// Opens the event log for appending.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn event_log(&self) -> Result<EventLog> {
        let open = |root: &Path| {
            let path = root.join(EVENTS);
            let file = File::options().create(true).append(true).open(&path);
            file.map_err(Error::file("open", &path))
        };
        Ok(EventLog {
            file: self.folder().map(open).transpose()?,
            run: self.clone(),
            started: unix_ms(),
            segments: 0,
            waiting: Vec::new(),
            since: Instant::now(),
        })
    }

    /// The events recorded so far with their times in milliseconds since 1970. Incomplete lines are skipped.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn events(&self) -> Result<Vec<(u64, Event)>> {
        self.events_beside(&Receipts::default())
    }

    /// As [`events`](Self::events), sharing the memory of `receipts`.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn events_beside(&self, receipts: &Receipts) -> Result<Vec<(u64, Event)>> {
        let mut events = Vec::new();
        self.each_event(&mut |at, mut event| {
            if let Event::Finished { receipt, .. } = &mut event
                && let Some(shared) = receipts.get(receipt.batch, receipt.offset)
                && shared == receipt
            {
                *receipt = shared.clone();
            }
            events.push((at, event));
        })?;
        Ok(events)
    }

    /// Calls `visit` with each event in order and its time in milliseconds since 1970.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn each_event(&self, visit: &mut dyn FnMut(u64, Event)) -> Result<()> {
        match &self.root {
            Root::Folder(root) => {
                if let Some(file) = self.open_file(root, EVENTS)? {
                    parse(BufReader::new(file), visit);
                }
            }
            Root::Url(_) => {
                let mut names = Vec::new();
                self.each_name("events", &mut |name| names.push(format!("events/{name}")))?;
                names.sort();
                for name in names {
                    parse(&*self.get(&name)?.unwrap_or_default(), visit);
                }
            }
        }
        Ok(())
    }
}

fn parse(mut lines: impl BufRead, visit: &mut dyn FnMut(u64, Event)) {
    let mut line = Vec::new();
    loop {
        line.clear();
        // The fragments of a longer line are no events.
        let read = (&mut lines)
            .take(MOST_RECEIPT_BYTES)
            .read_until(b'\n', &mut line);
        if read.map_or(true, |read| read == 0) {
            return;
        }
        let Ok(Timed { unix_ms, event }) = serde_json::from_slice::<Timed<Event>>(&line) else {
            continue;
        };
        let is_plausible = match &event {
            Event::Finished { receipt, .. } => is_plausible(receipt),
            _ => true,
        };
        if is_plausible && unix_ms < MOST_UNIX_MS {
            visit(unix_ms, event);
        }
    }
}

impl EventLog {
    /// Appends an event with the current time. In a store it appears within a few seconds.
    ///
    /// # Errors
    /// The disk or the store refuses it.
    pub fn append(&mut self, event: &Event) -> Result<()> {
        let timed = Timed {
            unix_ms: unix_ms(),
            event,
        };
        serde_json::to_writer(&mut self.waiting, &timed).expect("an event is always JSON");
        self.waiting.push(b'\n');
        let is_time = self.file.is_some()
            || self.since.elapsed() >= SEGMENT_TIME
            || self.waiting.len() >= SEGMENT_BYTES;
        if is_time || event.is_last() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        self.since = Instant::now();
        if waiting.is_empty() {
            return Ok(());
        }
        if let Some(file) = &mut self.file {
            // One write per line, so that a killed process leaves at most one incomplete line.
            return file
                .write_all(&waiting)
                .map_err(|e| Error::storage("write", EVENTS, e));
        }
        let name = format!("events/{:013}-{:06}.jsonl", self.started, self.segments);
        self.run.replace(&name, waiting)?;
        self.segments += 1;
        Ok(())
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // The log is informative only.
        let _ = self.flush();
    }
}
