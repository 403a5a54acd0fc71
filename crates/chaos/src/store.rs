//! The store of one process: injects errors, and fails all requests after the process has crashed.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use shoal_job::Cancel;

use crate::Fault;
use crate::scenario::{CrashPoint, Trigger, rng};
use crate::simulation::Simulation;

/// The fraction of the fault rates that applies to requests of commands: a command makes hundreds of requests, and the first
/// error ends it.
const COMMAND_FAULT_SHARE: f64 = 0.1;
/// The maximum time of a request.
const LONGEST_REQUEST: Duration = Duration::from_secs(300);

/// The store of one process. Clones belong to the same process.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Arc<Process>);

#[derive(Debug)]
struct Process {
    simulation: Arc<Simulation>,
    /// The batch and the call number, if the process is a call of the function.
    call: Option<(u64, u64)>,
    is_dead: AtomicBool,
    /// The process of which this one is a thread.
    parent: Option<Handle>,
    crash: Option<Trigger>,
    cancel: Option<(Trigger, Cancel)>,
    /// The number of requests of all processes before this one started.
    before: u64,
    requests: AtomicU64,
    faults: AtomicU64,
    chance: Mutex<Rng>,
}

impl Process {
    fn new(simulation: &Arc<Simulation>, kind: &str, number: u64, crash: Option<Trigger>) -> Self {
        Self {
            simulation: simulation.clone(),
            call: None,
            is_dead: AtomicBool::new(false),
            parent: None,
            crash,
            cancel: None,
            before: simulation.state().requests,
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            chance: Mutex::new(rng(simulation.scenario.seed, kind, number)),
        }
    }
}

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Get,
    Put,
    Delete,
    List,
}

/// The outcome of a request.
enum RequestOutcome {
    /// It is executed.
    Done,
    /// It is ignored and answered with an error.
    Refused(Error),
    /// It is executed and answered with an error.
    DoneWithError(Error),
    /// Reading fails in the middle.
    Torn,
    /// The written object is torn.
    TornObject(Tear),
    /// The written object is lost.
    LostObject,
    /// The list is stale.
    Stale,
}

/// How an object was torn.
#[derive(Debug, Clone, Copy)]
struct Tear {
    /// The fraction that is intact.
    whole: f64,
    /// Whether zeros follow up to the original length.
    with_zeros: bool,
}

impl Tear {
    fn any(rng: &mut Rng) -> Self {
        Self {
            // The length of receipts varies by a few digits, which must not affect the outcome.
            whole: rng.f64() * 0.8,
            with_zeros: rng.bool(),
        }
    }

    fn apply(self, payload: PutPayload) -> PutPayload {
        let mut content = Bytes::from(payload).to_vec();
        let all = content.len();
        content.truncate((all as f64 * self.whole) as usize);
        if self.with_zeros {
            content.resize(all, 0);
        }
        PutPayload::from(content)
    }
}

impl Handle {
    /// The store of a command.
    pub(crate) fn of_command(
        simulation: &Arc<Simulation>,
        number: u64,
        crash: Option<Trigger>,
        cancel: Option<(Trigger, Cancel)>,
    ) -> Self {
        let process = Process {
            cancel,
            ..Process::new(simulation, "command", number, crash)
        };
        Self(Arc::new(process))
    }

    /// The store of a call of the function, which runs in the process `parent` if there is one.
    pub(crate) fn of_call(
        simulation: &Arc<Simulation>,
        (batch, number): (u64, u64),
        parent: Option<&Self>,
        crash: Option<Trigger>,
    ) -> Self {
        let process = Process {
            call: Some((batch, number)),
            parent: parent.cloned(),
            ..Process::new(simulation, "call", number, crash)
        };
        Self(Arc::new(process))
    }

    /// The state that all processes share.
    pub(crate) fn simulation(&self) -> &Arc<Simulation> {
        &self.0.simulation
    }

    /// Whether the process has crashed.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.is_dead.load(Ordering::Relaxed) || self.0.parent.as_ref().is_some_and(Self::is_dead)
    }

    /// The number of its requests that a fault affected.
    pub(crate) fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// Crashes the process.
    pub(crate) fn die(&self) {
        self.0.is_dead.store(true, Ordering::Relaxed);
    }

    fn inject(&self, fault: Fault) {
        self.0.simulation.inject(fault);
        self.count_fault();
    }

    /// Records that a fault affected a request.
    fn count_fault(&self) {
        self.0.faults.fetch_add(1, Ordering::Relaxed);
        if let Some((batch, number)) = self.0.call {
            self.0.simulation.mark_disturbed(batch, number);
        }
    }

    /// Waits for the time of a request and returns its outcome.
    fn outcome(&self, request: Request, path: &Path) -> RequestOutcome {
        let Process { simulation, .. } = &*self.0;
        let mut chance = self.0.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let scheduler = &simulation.scheduler;
        let share = if self.0.call.is_some() {
            1.0
        } else {
            COMMAND_FAULT_SHARE
        };
        let mut occurs = |fault: Fault| chance.f64() < simulation.rate(fault) * share;
        let is_slow = occurs(Fault::Slow);
        let occurring: Vec<_> = [
            Fault::StoreError,
            Fault::StoreTimeout,
            Fault::ErrorAfterSuccess,
            Fault::TornRead,
            Fault::ListLag,
            Fault::TornObject,
            Fault::LostObject,
        ]
        .into_iter()
        .filter(|fault| occurs(*fault))
        .collect();
        let (tear, is_done) = (Tear::any(&mut chance), chance.bool());
        let mut duration = Duration::from_micros(chance.u64(1_000..30_000));
        if is_slow {
            duration = Duration::from_millis(chance.u64(1_000..30_000));
            self.inject(Fault::Slow);
        }
        drop(chance);
        scheduler.wait_until(scheduler.now() + duration);

        if scheduler.is_stuck() {
            self.die();
        }
        let number = 1 + self.0.requests.fetch_add(1, Ordering::Relaxed);
        let outage = simulation.request();
        if self.is_dead() {
            return RequestOutcome::Refused(dead());
        }
        let is_time = |trigger: &Trigger| match trigger.counts_all_requests {
            true => simulation.state().requests - self.0.before >= trigger.step,
            false => number == trigger.step,
        };
        if let Some((trigger, cancel)) = &self.0.cancel
            && is_time(trigger)
            && !cancel.is_cancelled()
        {
            scheduler.log("is cancelled");
            self.inject(Fault::Cancel);
            cancel.cancel();
        }
        if let Some(trigger) = self.0.crash.filter(is_time) {
            self.die();
            self.inject(match self.0.call.is_some() {
                true => Fault::FunctionCrash,
                false => Fault::ClientCrash,
            });
            scheduler.log(format_args!(
                "crashes at {request:?} {}, {:?}",
                display_path(path),
                trigger.point
            ));
            return match trigger.point {
                CrashPoint::Before => RequestOutcome::Refused(dead()),
                CrashPoint::Half if is_tearable(path) => RequestOutcome::TornObject(tear),
                CrashPoint::Half => RequestOutcome::Refused(dead()),
                CrashPoint::After => RequestOutcome::DoneWithError(dead()),
            };
        }
        let is_change = matches!(request, Request::Put | Request::Delete);
        match outage {
            Some(Fault::DiskFull) if request == Request::Put => {
                self.count_fault();
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return RequestOutcome::Refused(generic(full));
            }
            Some(Fault::PermissionLost) => {
                self.count_fault();
                return RequestOutcome::Refused(Error::PermissionDenied {
                    path: path.to_string(),
                    source: "403 Forbidden".into(),
                });
            }
            _ => {}
        }
        for fault in occurring {
            let outcome = match fault {
                Fault::StoreError => RequestOutcome::Refused(generic("503 Service Unavailable")),
                Fault::StoreTimeout => {
                    // The client may time out earlier.
                    self.count_fault();
                    let duration = Duration::from_millis(1000 * u64::from(is_slow) + 30_000);
                    scheduler.wait_until(scheduler.now() + duration.min(LONGEST_REQUEST));
                    let error = generic(io::Error::from(io::ErrorKind::TimedOut));
                    if is_done && is_change {
                        RequestOutcome::DoneWithError(error)
                    } else {
                        RequestOutcome::Refused(error)
                    }
                }
                Fault::ErrorAfterSuccess if is_change => {
                    RequestOutcome::DoneWithError(generic("500 Internal Server Error"))
                }
                Fault::TornRead if request == Request::Get => RequestOutcome::Torn,
                Fault::ListLag if request == Request::List => RequestOutcome::Stale,
                Fault::TornObject if request == Request::Put && is_tearable(path) => {
                    RequestOutcome::TornObject(tear)
                }
                Fault::LostObject if request == Request::Put && is_tearable(path) => {
                    RequestOutcome::LostObject
                }
                _ => continue,
            };
            self.inject(fault);
            scheduler.log(format_args!("{request:?} {}: {fault}", display_path(path)));
            return outcome;
        }
        RequestOutcome::Done
    }

    /// Answers a request according to its outcome.
    async fn answer<T>(
        &self,
        request: Request,
        path: &Path,
        act: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let result = match self.outcome(request, path) {
            RequestOutcome::Refused(error) => Err(error),
            RequestOutcome::DoneWithError(error) => {
                self.log(request, path, &act.await);
                Err(error)
            }
            _ => act.await,
        };
        self.log(request, path, &result);
        result
    }

    fn log<T>(&self, request: Request, path: &Path, result: &Result<T>) {
        let simulation = &self.0.simulation;
        if result.is_ok() {
            match request {
                Request::Put => simulation.change(path, true),
                Request::Delete => simulation.change(path, false),
                Request::Get | Request::List => {}
            }
        }
        let end = match result {
            Ok(_) => "ok",
            Err(Error::NotFound { .. }) => "not found",
            Err(Error::AlreadyExists { .. }) => "exists",
            Err(Error::PermissionDenied { .. }) => "permission denied",
            Err(_) => "error",
        };
        simulation
            .scheduler
            .log(format_args!("{request:?} {}: {end}", display_path(path)));
    }
}

/// Whether a crash of the machine may tear this object: only objects that functions write.
fn is_tearable(path: &Path) -> bool {
    let folder = path.parts().nth(1);
    folder.is_some_and(|folder| ["parts", "failed", "receipts"].contains(&folder.as_ref()))
}

/// A path without parts that vary between runs.
fn display_path(path: &Path) -> String {
    let path = path.as_ref();
    match path.split_once("events/") {
        Some((head, _)) => format!("{head}events/…"),
        None => path.to_owned(),
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: "chaos",
        source: source.into(),
    }
}

fn dead() -> Error {
    generic("the process has crashed")
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("chaos")
    }
}

#[async_trait]
impl ObjectStore for Handle {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let objects = &self.0.simulation.objects;
        let result = match self.outcome(Request::Put, path) {
            RequestOutcome::Refused(error) => Err(error),
            RequestOutcome::DoneWithError(error) => {
                let done = objects.put_opts(path, payload, options).await;
                self.log(Request::Put, path, &done);
                Err(error)
            }
            RequestOutcome::TornObject(tear) => {
                let done = objects.put_opts(path, tear.apply(payload), options).await;
                if self.is_dead() { Err(dead()) } else { done }
            }
            RequestOutcome::LostObject => {
                let done = objects.put_opts(path, payload, options).await;
                if done.is_ok() {
                    objects.delete(path).await?;
                }
                done
            }
            _ => objects.put_opts(path, payload, options).await,
        };
        self.log(Request::Put, path, &result);
        result
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let act = self.0.simulation.objects.put_multipart_opts(path, options);
        self.answer(Request::Put, path, act).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let act = self.0.simulation.objects.get_opts(path, options);
        let result = match self.outcome(Request::Get, path) {
            RequestOutcome::Refused(error) | RequestOutcome::DoneWithError(error) => Err(error),
            RequestOutcome::Torn if is_head => {
                Err(generic(io::Error::from(io::ErrorKind::ConnectionReset)))
            }
            RequestOutcome::Torn => match act.await {
                Ok(found) => Ok(torn(found).await?),
                missing => missing,
            },
            _ => act.await,
        };
        self.log(Request::Get, path, &result);
        result
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let handle = self.clone();
        paths
            .and_then(move |path| {
                let handle = handle.clone();
                async move {
                    let objects = handle.0.simulation.objects.clone();
                    let act = objects.delete(&path);
                    handle.answer(Request::Delete, &path, act).await?;
                    Ok(path)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let handle = self.clone();
        let prefix = prefix.cloned().unwrap_or_default();
        let found = async move {
            let outcome = handle.outcome(Request::List, &prefix);
            let simulation = &handle.0.simulation;
            let mut found: Vec<ObjectMeta> = match outcome {
                RequestOutcome::Refused(error) | RequestOutcome::DoneWithError(error) => {
                    return Err(error);
                }
                _ => simulation.objects.list(Some(&prefix)).try_collect().await?,
            };
            if matches!(outcome, RequestOutcome::Stale) {
                let (put, deleted) = simulation.recent_changes(&prefix);
                found.retain(|meta| !put.contains(&meta.location));
                found.extend(deleted.into_iter().map(|location| ObjectMeta {
                    location,
                    last_modified: Default::default(),
                    size: 1,
                    e_tag: None,
                    version: None,
                }));
            }
            // A local folder has no defined order.
            found.sort_by(|one, other| one.location.cmp(&other.location));
            handle.log(Request::List, &prefix, &Ok(()));
            Ok(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(found).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let act = self.0.simulation.objects.list_with_delimiter(prefix);
        self.answer(Request::List, &path, act).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let act = self.0.simulation.objects.copy_opts(from, to, options);
        self.answer(Request::Put, to, act).await
    }
}

/// The first half of an object, followed by a connection error.
async fn torn(found: GetResult) -> Result<GetResult> {
    let (meta, range) = (found.meta.clone(), found.range.clone());
    let (attributes, extensions) = (found.attributes.clone(), found.extensions.clone());
    let content = found.bytes().await?;
    let half = content.slice(..content.len() / 2);
    let reset = generic(io::Error::from(io::ErrorKind::ConnectionReset));
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream::iter([Ok(half), Err(reset)]).boxed()),
        meta,
        range,
        attributes,
        extensions,
    })
}
