//! Checks whether a run directory supports all operations, with an object that is deleted afterwards.

use std::future::Future;
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::RunDir;
use crate::{Error, Result, unix_ms};

/// The object that is written, read and deleted.
const NAME: &str = "probe";
/// Time limit of one operation, shorter than that of a run.
const PATIENCE: Duration = Duration::from_secs(20);

/// An operation that a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Writing objects.
    Write,
    /// A create-only put must not overwrite an existing object.
    CreateOnly,
    /// Reading objects back unchanged.
    Read,
    /// Listing objects.
    List,
    /// Deleting objects, to start over or remove a run.
    Delete,
}

impl Need {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::CreateOnly => "create-only put",
            Self::Read => "read",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }

    fn action(self) -> &'static str {
        match self {
            Self::CreateOnly => "write",
            other => other.name(),
        }
    }
}

/// The results of a probe.
#[derive(Debug)]
#[non_exhaustive]
pub struct Probe {
    /// The operations tried, in order. If writing fails, no other is tried.
    pub steps: Vec<(Need, Result<()>)>,
    /// Seconds by which the store's clock is ahead of this machine's, if known, with a resolution of one second.
    pub clock_ahead: Option<f64>,
}

impl RunDir {
    /// Tries all operations that a run needs.
    pub fn probe(&self) -> Probe {
        let path = NAME.into();
        let content = b"shoal\n".as_slice();
        let create = async || {
            let options = PutOptions::from(PutMode::Create);
            let content = PutPayload::from_static(content);
            match self.store.put_opts(&path, content, options).await {
                Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
                created => created.map(|_| true),
            }
        };
        let before = unix_ms() as f64 / 1e3;
        // An object left by an interrupted probe shows that writing works, too.
        let written = self.attempt(Need::Write, async { create().await.map(|_| None) });
        let after = unix_ms() as f64 / 1e3;
        let is_written = written.1.is_ok();
        let mut probe = Probe {
            steps: vec![written],
            clock_ahead: None,
        };
        if !is_written {
            return probe;
        }
        probe.steps.push(self.attempt(Need::CreateOnly, async {
            let overwrote = create().await?;
            Ok(overwrote.then_some("a create-only put overwrote an existing object"))
        }));
        let read = self.attempt(Need::Read, async {
            let found = self.store.get(&path).await?;
            let modified = found.meta.last_modified.timestamp();
            // 0 stands for an unknown time.
            probe.clock_ahead = (modified != 0).then(|| ahead(modified as f64, before, after));
            let is_same = found.bytes().await? == content;
            Ok((!is_same).then_some("it differs from what was written"))
        });
        probe.steps.push(read);
        probe.steps.push(self.attempt(Need::List, async {
            let mut objects = self.store.list(None);
            while let Some(object) = objects.try_next().await? {
                if object.location == path {
                    return Ok(None);
                }
            }
            Ok(Some("the written object is missing"))
        }));
        let delete = async { self.store.delete(&path).await.map(|()| None) };
        probe.steps.push(self.attempt(Need::Delete, delete));
        probe
    }

    /// Waits for a step, which returns what is wrong with its result.
    fn attempt(
        &self,
        need: Need,
        step: impl Future<Output = object_store::Result<Option<&'static str>>>,
    ) -> (Need, Result<()>) {
        let failed = |reason| Err(Error::storage(need.action(), self.object_uri(NAME), reason));
        // The timer must be created within the runtime.
        let step = async { tokio::time::timeout(PATIENCE, step).await };
        let end = match self.block_on(NAME, step) {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(reason))) => failed(reason.to_owned()),
            Ok(Err(e)) => Err(self.error(need.action(), NAME, e)),
            Err(_) => failed(format!("no response within {} s", PATIENCE.as_secs())),
        };
        (need, end)
    }
}

/// Seconds by which a clock is ahead that showed `there`, in whole seconds, between our `before` and `after`; 0 if it may be
/// right.
fn ahead(there: f64, before: f64, after: f64) -> f64 {
    if there > after {
        there - after
    } else if there + 1.0 < before {
        there + 1.0 - before
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures_util::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutResult,
    };

    use super::*;

    /// A store that ignores create-only puts.
    #[derive(Debug)]
    struct Careless(InMemory);

    impl std::fmt::Display for Careless {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("careless")
        }
    }

    #[async_trait]
    impl ObjectStore for Careless {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            _options: PutOptions,
        ) -> object_store::Result<PutResult> {
            self.0.put(location, payload).await
        }

        async fn put_multipart_opts(
            &self,
            location: &Path,
            options: PutMultipartOptions,
        ) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(location, options).await
        }

        async fn get_opts(
            &self,
            location: &Path,
            options: GetOptions,
        ) -> object_store::Result<GetResult> {
            self.0.get_opts(location, options).await
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, object_store::Result<Path>>,
        ) -> BoxStream<'static, object_store::Result<Path>> {
            self.0.delete_stream(locations)
        }

        fn list(
            &self,
            prefix: Option<&Path>,
        ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.0.list(prefix)
        }

        async fn list_with_delimiter(
            &self,
            prefix: Option<&Path>,
        ) -> object_store::Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }

        async fn copy_opts(
            &self,
            from: &Path,
            to: &Path,
            options: CopyOptions,
        ) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    fn failed(probe: &Probe) -> Vec<Need> {
        let failed = probe.steps.iter().filter(|(_, end)| end.is_err());
        failed.map(|(need, _)| *need).collect()
    }

    #[test]
    fn a_store_that_does_what_is_needed_is_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for run in [
            RunDir::open(folder.path()).unwrap(),
            RunDir::on(store, "runs/x".into(), "memory:///runs/x"),
        ] {
            let probe = run.probe();
            assert_eq!(probe.steps.len(), 5);
            assert_eq!(failed(&probe), []);
            assert_eq!(probe.clock_ahead, Some(0.0));
            assert_eq!(run.get(NAME).unwrap(), None);
        }
    }

    #[test]
    fn a_store_that_writes_over_objects_is_found_out() {
        let store: Arc<dyn ObjectStore> = Arc::new(Careless(InMemory::new()));
        let probe = RunDir::on(store, "runs/x".into(), "memory:///runs/x").probe();
        assert_eq!(failed(&probe), [Need::CreateOnly]);
        let error = probe.steps[1].1.as_ref().unwrap_err().to_string();
        assert!(error.contains("overwrote"), "{error}");
    }

    #[test]
    fn clocks_are_compared_to_the_second() {
        // 100.9 is told as 100.
        for (there, expected) in [(100.0, 0.0), (101.0, 0.0), (102.0, 0.9), (90.0, -9.5)] {
            let found = ahead(there, 100.5, 101.1);
            assert!((found - expected).abs() < 1e-9, "{there}: {found}");
        }
    }
}
