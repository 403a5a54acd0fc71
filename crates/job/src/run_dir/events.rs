//! `events.jsonl`, the event log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::TryStreamExt;

use super::objects::MOST_RECEIPT_BYTES;
use super::{EVENTS, Root, RunDir};
use crate::receipts::is_plausible;
use crate::store::runtime;
use crate::wire::Receipt;
use crate::{Error, Event, Receipts, Result};

/// Events of a run directory in a store are written in segments: after this time …
const SEGMENT_TIME: Duration = Duration::from_secs(5);
/// … or at this size.
const SEGMENT_BYTES: usize = 256 << 10;

/// 35,000 years.
const MOST_UNIX_MS: u64 = 1 << 50;

/// The event log of a run, open for appending.
#[derive(Debug)]
pub struct EventLog(Log);

#[derive(Debug)]
enum Log {
    File(File),
    Segments {
        run: RunDir,
        /// Distinguishes the segments of different starts of the run.
        started: u64,
        number: u32,
        waiting: Vec<u8>,
        since: Instant,
    },
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
        let Root::Folder(root) = &self.root else {
            return Ok(EventLog(Log::Segments {
                run: self.clone(),
                started: unix_ms(),
                number: 0,
                waiting: Vec::new(),
                since: Instant::now(),
            }));
        };
        let path = root.join(EVENTS);
        File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map(|file| EventLog(Log::File(file)))
            .map_err(|e| Error::storage("open", path.display().to_string(), e))
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
            if let Event::Finished { receipt, .. } = &mut event {
                share(receipt, receipts);
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
                let path = root.join(EVENTS);
                match File::open(&path) {
                    Ok(file) => parse(BufReader::new(file), visit),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::storage("read", path.display().to_string(), e)),
                }
            }
            Root::Url(_) => {
                let folder = object_store::path::Path::from("events");
                let mut paths = runtime()
                    .block_on(
                        self.store
                            .list(Some(&folder))
                            .map_ok(|meta| meta.location)
                            .try_collect::<Vec<_>>(),
                    )
                    .map_err(|e| self.error("list", "events", e))?;
                paths.sort();
                for path in paths {
                    let segment = self.get(path.as_ref())?.unwrap_or_default();
                    parse(segment.as_ref(), visit);
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

/// Replaces `receipt` by its equal among `receipts`.
fn share(receipt: &mut Arc<Receipt>, receipts: &Receipts) {
    if let Some(shared) = receipts.shared(receipt.batch, receipt.offset)
        && shared == receipt
    {
        *receipt = shared.clone();
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
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
        let mut line = serde_json::to_vec(&timed).expect("an event is always JSON");
        line.push(b'\n');
        match &mut self.0 {
            // One write per line, so that a killed process leaves at most one incomplete line.
            Log::File(file) => file
                .write_all(&line)
                .map_err(|e| Error::storage("write", EVENTS, e)),
            Log::Segments { waiting, since, .. } => {
                waiting.append(&mut line);
                let is_time = since.elapsed() >= SEGMENT_TIME || waiting.len() >= SEGMENT_BYTES;
                if is_time || event.is_last() {
                    self.flush()?;
                }
                Ok(())
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        let Log::Segments {
            run,
            started,
            number,
            waiting,
            since,
        } = &mut self.0
        else {
            return Ok(());
        };
        if !waiting.is_empty() {
            let name = format!("events/{started:013}-{number:06}.jsonl");
            run.replace(&name, std::mem::take(waiting))?;
            *number += 1;
        }
        *since = Instant::now();
        Ok(())
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // The log is informative only.
        let _ = self.flush();
    }
}
