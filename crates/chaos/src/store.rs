//! The store as one process sees it: with its errors, and up to the process's death.

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
use crate::cloud::Cloud;
use crate::scenario::{Doom, Moment, rng};

/// What requests of a command are spared of what befalls those of functions: it makes some hundred in a row, and the first
/// that fails ends it.
const SPARED: f64 = 0.1;
/// An outage lets requests take this long, at most, where they come to an end.
const LONGEST_REQUEST: Duration = Duration::from_secs(300);

/// The store as a process sees it. Clones are of the same process.
#[derive(Debug, Clone)]
pub(crate) struct Handle(Arc<Process>);

#[derive(Debug)]
struct Process {
    cloud: Arc<Cloud>,
    /// The batch and the number of the call, where it is one of the function.
    call: Option<(u64, u64)>,
    is_dead: AtomicBool,
    /// The process that it is a thread of.
    above: Option<Handle>,
    crash: Option<Doom>,
    cancel: Option<(Doom, Cancel)>,
    /// Requests of everybody before it began.
    before: u64,
    requests: AtomicU64,
    faults: AtomicU64,
    chance: Mutex<Rng>,
}

/// What kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Get,
    Put,
    Delete,
    List,
}

/// What becomes of a request.
enum Fate {
    /// It is done.
    Done,
    /// It is not done, and answered by an error.
    Refused(Error),
    /// It is done, and answered by an error.
    DoneYet(Error),
    /// What is read ends in the middle.
    Torn,
    /// What is put lies there otherwise.
    TornObject(Tear),
    /// What is put is gone when it is looked at.
    LostObject,
    /// A list is not up to date.
    Stale,
}

/// How an object was torn.
#[derive(Debug, Clone, Copy)]
struct Tear {
    /// The share of it that is whole.
    whole: f64,
    /// Whether zeros follow.
    with_zeros: bool,
}

impl Tear {
    fn any(rng: &mut Rng) -> Self {
        Self {
            // Receipts differ by some digits from run to run, and tearing those off must not matter.
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
        cloud: &Arc<Cloud>,
        number: u64,
        crash: Option<Doom>,
        cancel: Option<(Doom, Cancel)>,
    ) -> Self {
        let chance = rng(cloud.scenario.seed, "command", number);
        Self::new(cloud, None, None, crash, cancel, chance)
    }

    /// The store of a call of the function, which is part of the process `above` if there is one.
    pub(crate) fn of_call(
        cloud: &Arc<Cloud>,
        (batch, number): (u64, u64),
        above: Option<&Self>,
        crash: Option<Doom>,
    ) -> Self {
        let chance = rng(cloud.scenario.seed, "call", number);
        Self::new(cloud, Some((batch, number)), above, crash, None, chance)
    }

    fn new(
        cloud: &Arc<Cloud>,
        call: Option<(u64, u64)>,
        above: Option<&Self>,
        crash: Option<Doom>,
        cancel: Option<(Doom, Cancel)>,
        chance: Rng,
    ) -> Self {
        Self(Arc::new(Process {
            cloud: cloud.clone(),
            call,
            is_dead: AtomicBool::new(false),
            above: above.cloned(),
            crash,
            cancel,
            before: cloud.requests(),
            requests: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            chance: Mutex::new(chance),
        }))
    }

    /// Whether the process is gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.is_dead.load(Ordering::Relaxed) || self.0.above.as_ref().is_some_and(Self::is_dead)
    }

    /// How many of its requests something went wrong with.
    pub(crate) fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// The process ends.
    pub(crate) fn die(&self) {
        self.0.is_dead.store(true, Ordering::Relaxed);
    }

    fn inject(&self, fault: Fault) {
        self.0.cloud.inject(fault);
        self.suffer();
    }

    /// Something goes wrong with a request.
    fn suffer(&self) {
        self.0.faults.fetch_add(1, Ordering::Relaxed);
        if let Some((batch, number)) = self.0.call {
            self.0.cloud.hurt(batch, number);
        }
    }

    /// Takes the time of a request, and tells what becomes of it.
    fn fate(&self, request: Request, path: &Path) -> Fate {
        let Process { cloud, .. } = &*self.0;
        let mut chance = self.0.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let world = &cloud.world;
        let share = if self.0.call.is_some() { 1.0 } else { SPARED };
        let mut befalls = |fault: Fault| chance.f64() < cloud.rate(fault) * share;
        let is_slow = befalls(Fault::Slow);
        let befalling: Vec<_> = [
            Fault::StoreError,
            Fault::StoreTimeout,
            Fault::DoneYetError,
            Fault::TornRead,
            Fault::ListLag,
            Fault::TornObject,
            Fault::LostObject,
        ]
        .into_iter()
        .filter(|fault| befalls(*fault))
        .collect();
        let (tear, is_done) = (Tear::any(&mut chance), chance.bool());
        let mut takes = Duration::from_micros(chance.u64(1_000..30_000));
        if is_slow {
            takes = Duration::from_millis(chance.u64(1_000..30_000));
            self.inject(Fault::Slow);
        }
        drop(chance);
        world.wait_until(world.now() + takes);

        if world.is_endless() {
            self.die();
        }
        let number = 1 + self.0.requests.fetch_add(1, Ordering::Relaxed);
        let outage = cloud.request();
        if self.is_dead() {
            return Fate::Refused(dead());
        }
        let is_time = |doom: &Doom| match doom.of_all {
            true => cloud.requests() - self.0.before >= doom.step,
            false => number == doom.step,
        };
        if let Some((doom, cancel)) = &self.0.cancel
            && is_time(doom)
            && !cancel.is_cancelled()
        {
            world.emit("is asked to stop");
            self.inject(Fault::Cancel);
            cancel.cancel();
        }
        if let Some(doom) = self.0.crash.filter(is_time) {
            self.die();
            self.inject(match self.0.call.is_some() {
                true => Fault::FunctionCrash,
                false => Fault::ClientCrash,
            });
            world.emit(format_args!(
                "dies at {request:?} {}, {:?}",
                shown(path),
                doom.moment
            ));
            return match doom.moment {
                Moment::Before => Fate::Refused(dead()),
                Moment::Half if is_tearable(path) => Fate::TornObject(tear),
                Moment::Half => Fate::Refused(dead()),
                Moment::After => Fate::DoneYet(dead()),
            };
        }
        let is_change = matches!(request, Request::Put | Request::Delete);
        match outage {
            Some(Fault::DiskFull) if request == Request::Put => {
                self.suffer();
                let full = io::Error::from(io::ErrorKind::StorageFull);
                return Fate::Refused(generic(full));
            }
            Some(Fault::PermissionLost) => {
                self.suffer();
                return Fate::Refused(Error::PermissionDenied {
                    path: path.to_string(),
                    source: "403 Forbidden".into(),
                });
            }
            _ => {}
        }
        for fault in befalling {
            let fate = match fault {
                Fault::StoreError => Fate::Refused(generic("503 Service Unavailable")),
                Fault::StoreTimeout => {
                    // Who waits may give up before.
                    self.suffer();
                    let takes = Duration::from_millis(1000 * u64::from(is_slow) + 30_000);
                    world.wait_until(world.now() + takes.min(LONGEST_REQUEST));
                    let error = generic(io::Error::from(io::ErrorKind::TimedOut));
                    if is_done && is_change {
                        Fate::DoneYet(error)
                    } else {
                        Fate::Refused(error)
                    }
                }
                Fault::DoneYetError if is_change => {
                    Fate::DoneYet(generic("500 Internal Server Error"))
                }
                Fault::TornRead if request == Request::Get => Fate::Torn,
                Fault::ListLag if request == Request::List => Fate::Stale,
                Fault::TornObject if request == Request::Put && is_tearable(path) => {
                    Fate::TornObject(tear)
                }
                Fault::LostObject if request == Request::Put && is_tearable(path) => {
                    Fate::LostObject
                }
                _ => continue,
            };
            self.inject(fault);
            world.emit(format_args!("{request:?} {}: {fault}", shown(path)));
            return fate;
        }
        Fate::Done
    }

    /// Does what is asked, or what becomes of it.
    async fn answer<T>(
        &self,
        request: Request,
        path: &Path,
        act: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let result = match self.fate(request, path) {
            Fate::Refused(error) => Err(error),
            Fate::DoneYet(error) => {
                self.emit(request, path, &act.await);
                Err(error)
            }
            _ => act.await,
        };
        self.emit(request, path, &result);
        result
    }

    fn emit<T>(&self, request: Request, path: &Path, result: &Result<T>) {
        let cloud = &self.0.cloud;
        if result.is_ok() {
            match request {
                Request::Put => cloud.change(path, true),
                Request::Delete => cloud.change(path, false),
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
        cloud
            .world
            .emit(format_args!("{request:?} {}: {end}", shown(path)));
    }
}

/// What a crash of the machine may tear: what functions put.
fn is_tearable(path: &Path) -> bool {
    let folder = path.parts().nth(1);
    folder.is_some_and(|folder| ["parts", "failed", "receipts"].contains(&folder.as_ref()))
}

/// A path without what differs each time.
fn shown(path: &Path) -> String {
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
    generic("the process is gone")
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
        let objects = &self.0.cloud.objects;
        let result = match self.fate(Request::Put, path) {
            Fate::Refused(error) => Err(error),
            Fate::DoneYet(error) => {
                let done = objects.put_opts(path, payload, options).await;
                self.emit(Request::Put, path, &done);
                Err(error)
            }
            Fate::TornObject(tear) => {
                let done = objects.put_opts(path, tear.apply(payload), options).await;
                if self.is_dead() { Err(dead()) } else { done }
            }
            Fate::LostObject => {
                let done = objects.put_opts(path, payload, options).await;
                if done.is_ok() {
                    objects.delete(path).await?;
                }
                done
            }
            _ => objects.put_opts(path, payload, options).await,
        };
        self.emit(Request::Put, path, &result);
        result
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let act = self.0.cloud.objects.put_multipart_opts(path, options);
        self.answer(Request::Put, path, act).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let act = self.0.cloud.objects.get_opts(path, options);
        let result = match self.fate(Request::Get, path) {
            Fate::Refused(error) | Fate::DoneYet(error) => Err(error),
            Fate::Torn if is_head => Err(generic(io::Error::from(io::ErrorKind::ConnectionReset))),
            Fate::Torn => match act.await {
                Ok(found) => Ok(torn(found).await?),
                missing => missing,
            },
            _ => act.await,
        };
        self.emit(Request::Get, path, &result);
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
                    let objects = handle.0.cloud.objects.clone();
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
            let fate = handle.fate(Request::List, &prefix);
            let cloud = &handle.0.cloud;
            let mut found: Vec<ObjectMeta> = match fate {
                Fate::Refused(error) | Fate::DoneYet(error) => return Err(error),
                _ => cloud.objects.list(Some(&prefix)).try_collect().await?,
            };
            if matches!(fate, Fate::Stale) {
                let (put, deleted) = cloud.lately(&prefix);
                found.retain(|meta| !put.contains(&meta.location));
                let example = ObjectMeta {
                    location: prefix.clone(),
                    last_modified: Default::default(),
                    size: 1,
                    e_tag: None,
                    version: None,
                };
                found.extend(deleted.into_iter().map(|location| ObjectMeta {
                    location,
                    ..example.clone()
                }));
            }
            // A folder of the disk lists in any order.
            found.sort_by(|one, other| one.location.cmp(&other.location));
            handle.emit(Request::List, &prefix, &Ok(()));
            Ok(stream::iter(found.into_iter().map(Ok)))
        };
        stream::once(found).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let act = self.0.cloud.objects.list_with_delimiter(prefix);
        self.answer(Request::List, &path, act).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let act = self.0.cloud.objects.copy_opts(from, to, options);
        self.answer(Request::Put, to, act).await
    }
}

/// The first half of an object, and the end of the connection.
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
