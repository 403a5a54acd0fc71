//! `events.jsonl`: what happened, for reports.

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

/// Events of a store's run directory are put there together when this much time has gone by …
const SEGMENT_TIME: Duration = Duration::from_secs(5);
/// … or there is this much of them.
const SEGMENT_BYTES: usize = 256 << 10;

/// 35,000 years.
const MOST_UNIX_MS: u64 = 1 << 50;

/// The log of a run, open for appending.
#[derive(Debug)]
pub struct EventLog(Log);

#[derive(Debug)]
enum Log {
    File(File),
    Segments {
        run: RunDir,
        /// Tells this log's segments from those of other starts of the run.
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
    /// The log of the run, for appending.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn event_log(&self) -> Result<EventLog> {
        let Root::Folder(root) = &self.place else {
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

    /// The events recorded so far with their times in milliseconds since 1970. A torn last line is passed over.
    ///
    /// # Errors
    /// They are there but cannot be read.
    pub fn events(&self) -> Result<Vec<(u64, Event)>> {
        self.events_beside(&Receipts::default())
    }

    /// The same; a receipt that is among `receipts` is not held in memory twice.
    ///
    /// # Errors
    /// They are there but cannot be read.
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

    /// Hands each event with its time in milliseconds since 1970 to `see`, in the order in which they were recorded.
    ///
    /// # Errors
    /// They are there but cannot be read.
    pub fn each_event(&self, see: &mut dyn FnMut(u64, Event)) -> Result<()> {
        match &self.place {
            Root::Folder(root) => {
                let path = root.join(EVENTS);
                match File::open(&path) {
                    Ok(file) => parse(BufReader::new(file), see),
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
                    parse(segment.as_ref(), see);
                }
            }
        }
        Ok(())
    }
}

fn parse(mut lines: impl BufRead, see: &mut dyn FnMut(u64, Event)) {
    let mut line = Vec::new();
    loop {
        line.clear();
        // What is longer is no event, and neither are the pieces of it.
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
            see(unix_ms, event);
        }
    }
}

/// Puts the one of `receipts` in the place of `receipt` that is the same.
fn share(receipt: &mut Arc<Receipt>, receipts: &Receipts) {
    let Some(known) = receipts.shared(receipt.batch, receipt.offset) else {
        return;
    };
    if known == receipt {
        *receipt = known.clone();
    }
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

impl EventLog {
    /// Appends an event with the present time. In a store it appears with those of the next few seconds.
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
            // One write per line: lines of a process that is killed are whole, or the last one is torn.
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
        // The log explains a run; nothing is lost with its last seconds.
        let _ = self.flush();
    }
}
