//! Blocking access to files and object stores.
//!
//! A small background runtime drives the asynchronous stores. Call these functions from ordinary threads: inside an async
//! task they panic.

#[cfg(feature = "aws-login")]
pub mod aws_login;
mod objects;
mod requests;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::buffered::BufWriter;
use object_store::local::LocalFileSystem;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};
use url::Url;

pub(crate) use requests::block_on;

use crate::http::choose_cryptography;
use crate::spec::Identity;
use crate::{Error, Result};

/// The runtime that drives object stores.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("shoal-store")
            .enable_all()
            .build()
            .expect("the system can start two threads")
    })
}

/// The location of an input.
#[derive(Debug, Clone)]
pub enum Location {
    /// A local file or folder.
    Local(PathBuf),
    /// An object of a store.
    Remote(Object),
}

/// An object of a store.
#[derive(Debug, Clone)]
pub struct Object {
    url: Arc<str>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: object_store::path::Path,
}

/// The options of a store from its usual variables (`AWS_REGION`, …). Variables without these prefixes are ignored, because
/// stores also accept names as short as `token`.
fn store_options(url: &Url) -> Vec<(String, String)> {
    const PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];
    let mut options: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap_or_default();
    if url.scheme() == "http" || endpoint.starts_with("http://") {
        options.push(("allow_http".into(), "true".into()));
    }
    options
}

/// The store behind a URL, and the path in it.
fn open_store(url: &Url) -> object_store::Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
    choose_cryptography();
    #[cfg(feature = "aws-login")]
    if let Some(found) = aws_login::open(url)? {
        return Ok(found);
    }
    requests::open(url, store_options(url))
}

/// Whether `text` is a URL of an object store rather than a path.
pub fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.len() > 1
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'+')
    })
}

/// The URL of `text`. The key of an object stands in it as it is, as in the tools of its store; `lang=pt%2FBR` is a name that
/// Spark writes. Other URLs are percent-encoded.
fn parse_url(text: &str) -> Result<Url, url::ParseError> {
    let is_encoded = ["http://", "https://", "file://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    match is_encoded {
        true => Url::parse(text),
        false => Url::parse(
            &text
                .replace('%', "%25")
                .replace('?', "%3F")
                .replace('#', "%23"),
        ),
    }
}

impl Location {
    /// An object of `store`.
    pub(crate) fn remote(
        url: String,
        store: Arc<dyn ObjectStore>,
        path: object_store::path::Path,
    ) -> Self {
        let url = url.into();
        Self::Remote(Object { url, store, path })
    }

    /// The location of a path or URL.
    ///
    /// # Errors
    /// The URL is malformed, or its scheme has no store.
    pub fn parse(text: &str) -> Result<Self> {
        if !is_url(text) {
            return Ok(Self::Local(PathBuf::from(text)));
        }
        let wrong = |reason: String| Error::input(text, reason);
        let url = parse_url(text).map_err(|e| wrong(format!("the URL is malformed: {e}")))?;
        if url.scheme() == "file" {
            return url
                .to_file_path()
                .map(Self::Local)
                .map_err(|()| wrong("the URL is not a local path".into()));
        }
        if url.query().is_some() {
            return Err(wrong("URLs with a query (?…) are not supported".into()));
        }
        let (store, path) = open_store(&url).map_err(|e| {
            wrong(format!(
                "{e}; known schemes are s3, gs, az, http, https and file"
            ))
        })?;
        Ok(Self::remote(text.to_owned(), store, path))
    }

    /// The objects whose URL matches the pattern `text`, sorted.
    pub(crate) fn glob(text: &str) -> Result<Vec<Self>> {
        let Self::Remote(object) = Self::parse(text)? else {
            unreachable!("only URLs of object stores are globbed here");
        };
        let path = object.path.as_ref();
        let pattern = glob::Pattern::new(path)
            .map_err(|e| Error::input(text, format!("the pattern is malformed: {e}")))?;
        let fixed = path.split(['*', '?', '[']).next().unwrap_or("");
        let folder = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
        let prefix = object_store::path::Path::parse(folder)
            .map_err(|e| Error::input(text, format!("the pattern is malformed: {e}")))?;
        let base = text.strip_suffix(path).unwrap_or(text);
        let found = object.store.list(Some(&prefix));
        let found = found.map_ok(|meta| meta.location).try_collect();
        let mut paths: Vec<_> =
            block_on(&object.url, found).map_err(|e| Error::storage("list", text, e))?;
        paths.retain(|path| pattern.matches(path.as_ref()));
        paths.sort();
        Ok(paths
            .into_iter()
            .map(|path| Self::remote(format!("{base}{path}"), object.store.clone(), path))
            .collect())
    }

    /// A writer that creates or replaces the file or object.
    pub fn writer(&self) -> ObjectWriter {
        match self {
            Self::Local(path) => {
                let path = object_store::path::Path::from_absolute_path(path)
                    .unwrap_or_else(|_| path.to_string_lossy().as_ref().into());
                ObjectWriter::new(Arc::new(LocalFileSystem::new()), path, self.uri().into())
            }
            Self::Remote(object) => object.writer(),
        }
    }

    /// The location as messages show it.
    pub fn uri(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Remote(object) => object.url.to_string(),
        }
    }

    /// The path, without the address of the store.
    pub(crate) fn path(&self) -> Cow<'_, str> {
        match self {
            Self::Local(path) => path.to_string_lossy(),
            Self::Remote(object) => object.path.as_ref().into(),
        }
    }

    /// Its identity, without a digest.
    ///
    /// # Errors
    /// There is no such file or object, or it may not be read.
    pub fn meta(&self) -> Result<Identity> {
        match self {
            Self::Local(path) => {
                let meta = path.metadata().map_err(|e| unreadable(path, e))?;
                let modified = meta
                    .modified()
                    .ok()
                    .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                    .map(|since| since.as_nanos().to_string());
                Ok(Identity {
                    bytes: meta.len(),
                    modified,
                    ..Identity::default()
                })
            }
            Self::Remote(object) => {
                let meta = block_on(&object.url, object.store.head(&object.path))
                    .map_err(|e| object.unreadable(e))?;
                Ok(Identity {
                    bytes: meta.size,
                    // 0 stands for an unknown time.
                    modified: (meta.last_modified.timestamp() != 0)
                        .then(|| meta.last_modified.to_rfc3339()),
                    etag: meta.e_tag,
                    digest: None,
                })
            }
        }
    }

    /// A reader of the bytes of `range`, or of all bytes.
    ///
    /// # Errors
    /// There is no such file or object, or it may not be read.
    pub fn open(&self, range: Option<Range<u64>>) -> Result<Box<dyn Read + Send>> {
        match self {
            Self::Local(path) => {
                let mut file = File::open(path).map_err(|e| unreadable(path, e))?;
                match range {
                    None => Ok(Box::new(file)),
                    Some(range) => {
                        file.seek(SeekFrom::Start(range.start))
                            .map_err(|e| unreadable(path, e))?;
                        Ok(Box::new(file.take(range.end - range.start)))
                    }
                }
            }
            Self::Remote(object) => {
                let options = GetOptions {
                    range: range.map(GetRange::Bounded),
                    ..GetOptions::default()
                };
                let get = object.store.get_opts(&object.path, options);
                let result = block_on(&object.url, get).map_err(|e| object.unreadable(e))?;
                Ok(Box::new(StreamReader {
                    url: object.url.clone(),
                    stream: result.into_stream(),
                    rest: Bytes::new(),
                }))
            }
        }
    }
}

impl Object {
    /// Whether the object exists.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn exists(&self) -> Result<bool> {
        match block_on(&self.url, self.store.head(&self.path)) {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(Error::storage("read", &*self.url, e)),
        }
    }

    fn writer(&self) -> ObjectWriter {
        ObjectWriter::new(self.store.clone(), self.path.clone(), self.url.clone())
    }

    fn unreadable(&self, error: object_store::Error) -> Error {
        match error {
            object_store::Error::NotFound { .. } => {
                Error::input(&*self.url, "there is no such object")
            }
            other => Error::storage("read", &*self.url, other),
        }
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    let place = path.display().to_string();
    match error.kind() {
        io::ErrorKind::NotFound => Error::input(place, "there is no such file"),
        io::ErrorKind::IsADirectory => Error::input(place, "it is a folder"),
        _ => Error::storage("read", place, error),
    }
}

/// A reader of a stream of chunks.
struct StreamReader {
    url: Arc<str>,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    rest: Bytes,
}

impl Read for StreamReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match block_on(&self.url, self.stream.next()) {
                None => return Ok(0),
                Some(chunk) => self.rest = chunk.map_err(io::Error::other)?,
            }
        }
        let taken = self.rest.split_to(out.len().min(self.rest.len()));
        out[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// A writer of one object, which appears at [`finish`](ObjectWriter::finish) or not at all.
pub struct ObjectWriter {
    inner: BufWriter,
    /// As messages show it.
    uri: Arc<str>,
}

impl ObjectWriter {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        path: object_store::path::Path,
        uri: Arc<str>,
    ) -> Self {
        Self {
            inner: BufWriter::new(store, path),
            uri,
        }
    }

    /// Completes the object.
    ///
    /// # Errors
    /// The store refuses it.
    pub fn finish(mut self) -> io::Result<()> {
        block_on(&self.uri, self.inner.shutdown())
    }
}

impl Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        block_on(&self.uri, self.inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        // Bytes become visible at `finish` only.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_drives_and_paths_are_not_urls() {
        assert!(is_url("s3://bucket/key"));
        assert!(is_url("https://host/file.csv"));
        assert!(!is_url("C://data.csv"));
        assert!(!is_url("data/a:b.csv"));
        assert!(!is_url("-"));
    }

    #[test]
    fn files_are_read_in_ranges() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a #1%.txt");
        std::fs::write(&path, "0123456789").unwrap();
        let location = Location::parse(path.to_str().unwrap()).unwrap();
        assert_eq!(location.meta().unwrap().bytes, 10);
        let mut text = String::new();
        location
            .open(Some(3..6))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "345");
    }

    #[test]
    fn missing_files_and_unknown_schemes_are_named() {
        let error = Location::parse("/nowhere/x.csv")
            .unwrap()
            .meta()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to read input /nowhere/x.csv: there is no such file"
        );
        let error = Location::parse("ftp://host/x.csv").unwrap_err();
        assert!(error.to_string().contains("known schemes"), "{error}");
    }

    #[test]
    fn objects_of_a_memory_store_are_read_in_ranges() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let path = object_store::path::Path::from("data/x.jsonl");
        let mut writer = ObjectWriter::new(store.clone(), path.clone(), "memory".into());
        writer.write_all(b"hello, world").unwrap();
        writer.finish().unwrap();
        let location = Location::remote("memory:///data/x.jsonl".into(), store, path);
        assert_eq!(location.meta().unwrap().bytes, 12);
        let mut text = String::new();
        location
            .open(Some(7..12))
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "world");
    }
}
