//! Downloads from the Hugging Face hub to its cache, in the layout of huggingface_hub 2.4: a file's content is in `blobs`,
//! and a link in the snapshot of its commit.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use shoal_job::error::cause;
use shoal_job::http::header::{ETAG, HeaderMap, LOCATION, RANGE};
use shoal_job::http::{self, Client, Response, StatusCode, Url, describe};
use shoal_job::waits::waiting_for;
use tokio::runtime::Runtime;

/// The longest silence of a server that is asked for something.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The highest number of redirects for one file.
const MAX_REDIRECTS: usize = 10;

/// A model on the hub.
pub(super) struct HubClient<'a> {
    runtime: Runtime,
    client: Client,
    endpoint: Url,
    token: Option<String>,
    id: &'a str,
    revision: &'a str,
    /// The model's folder in the cache.
    folder: PathBuf,
}

/// A download that failed.
pub(super) struct Failed {
    /// The hub's answer, if there was one.
    pub(super) status: Option<u16>,
    pub(super) reason: String,
}

impl From<String> for Failed {
    fn from(reason: String) -> Self {
        let status = None;
        Self { status, reason }
    }
}

type Result<T> = std::result::Result<T, Failed>;

#[derive(Deserialize)]
struct Info {
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// A URL in messages. Its query may be a key.
fn without_key(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

impl<'a> HubClient<'a> {
    /// A client for the model `id` with the cache's `folder` of it. The hub is `HF_ENDPOINT`, by default huggingface.co.
    pub(super) fn new(
        id: &'a str,
        revision: &'a str,
        folder: PathBuf,
        token: Option<String>,
    ) -> Result<Self> {
        let endpoint = std::env::var("HF_ENDPOINT").ok();
        let endpoint = endpoint.filter(|text| !text.is_empty());
        let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".into());
        Ok(Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|e| format!("failed to start a runtime: {e}"))?,
            client: http::client()
                .read_timeout(READ_TIMEOUT)
                .build()
                .map_err(|e| describe(&e))?,
            endpoint: Url::parse(&endpoint)
                .map_err(|e| format!("HF_ENDPOINT is {endpoint}, which is not a URL: {e}"))?,
            token,
            id,
            revision,
            folder,
        })
    }

    /// The names of the model's files, with `/` between folders.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let mut url = self.endpoint.clone();
        let mut path = url.path_segments_mut().map_err(|()| self.no_base())?;
        path.pop_if_empty().extend(["api", "models"]);
        path.extend(self.id.split('/'))
            .extend(["revision", self.revision]);
        drop(path);
        let answer = self.get(url, 0, false)?.1;
        let info: Info = self.json(answer)?;
        Ok(info
            .siblings
            .into_iter()
            .map(|file| file.rfilename)
            .collect())
    }

    /// The path of a file in the cache, to which it is downloaded if it is missing.
    pub(super) fn file(&self, name: &str) -> Result<PathBuf> {
        let mut url = self.endpoint.clone();
        let mut path = url.path_segments_mut().map_err(|()| self.no_base())?;
        path.pop_if_empty().extend(self.id.split('/'));
        path.extend(["resolve", self.revision])
            .extend(name.split('/'));
        drop(path);
        let (at, answer) = self.get(url, 0, true)?;
        let header = |names: &[&str]| {
            let found = names.iter().find_map(|name| answer.headers().get(*name));
            let text = found.and_then(|value| value.to_str().ok());
            // The text becomes the name of a file.
            let text = text.map(|text| text.trim_start_matches("W/").replace('"', ""));
            text.filter(|text| !text.is_empty() && !text.contains(['/', '\\', '.']))
                .ok_or_else(|| {
                    format!(
                        "{} was answered without a usable {}",
                        without_key(&at),
                        names[0]
                    )
                })
        };
        let commit = header(&["x-repo-commit"])?;
        let tag = header(&["x-linked-etag", ETAG.as_str()])?;
        let link = self.folder.join("snapshots").join(&commit).join(name);
        if !link.exists() {
            let blob = self.folder.join("blobs").join(&tag);
            self.fetch(at, answer, &blob)?;
            let up = "../".repeat(2 + name.matches('/').count());
            place(&Path::new(&up).join("blobs").join(&tag), &blob, &link)
                .map_err(at_path(&link))?;
        }
        let refs = self.folder.join("refs").join(self.revision);
        create_parent(&refs)
            .and_then(|()| fs::write(&refs, commit))
            .map_err(at_path(&refs))?;
        Ok(link)
    }

    /// Writes the content of an answer, or of the place to which it redirects, to `blob`. Continues an interrupted download.
    fn fetch(&self, at: Url, mut answer: Response, blob: &Path) -> Result<()> {
        create_parent(blob).map_err(at_path(blob))?;
        let lock = blob.with_extension("lock");
        let lock = File::create(&lock).map_err(at_path(&lock))?;
        // Another process may download the same file.
        lock.lock().map_err(at_path(blob))?;
        if blob.exists() {
            return Ok(());
        }
        let part = blob.with_extension("part");
        let mut start = 0;
        if let Some(target) = redirect(&at, &answer) {
            start = fs::metadata(&part).map_or(0, |part| part.len());
            let found = self.get(target.clone(), start, false);
            answer = match found {
                // The part is not the start of this file.
                Err(e) if start > 0 && e.status == Some(416) => self.get(target, 0, false)?.1,
                found => found?.1,
            };
        }
        let is_rest = start > 0 && answer.status() == StatusCode::PARTIAL_CONTENT;
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .append(is_rest)
            .truncate(!is_rest)
            .open(&part)
            .map_err(at_path(&part))?;
        let waiting = waiting_for(without_key(&at));
        let mut received = if is_rest { start } else { 0 };
        let bytes = answer.content_length().map(|rest| received + rest);
        while let Some(chunk) = self
            .runtime
            .block_on(answer.chunk())
            .map_err(|e| format!("{}: {}", without_key(&at), describe(&e)))?
        {
            file.write_all(&chunk).map_err(at_path(&part))?;
            received += chunk.len() as u64;
            waiting.received(received, bytes.unwrap_or(received));
        }
        fs::rename(&part, blob).map_err(at_path(blob))?;
        Ok(())
    }

    /// The answer to a request for the bytes from `start` of `url`, and the URL that gave it after redirects. If `stops`, a
    /// redirect that describes the file is such an answer.
    fn get(&self, mut url: Url, start: u64, stops: bool) -> Result<(Url, Response)> {
        let first = url.clone();
        for _ in 0..MAX_REDIRECTS {
            let mut request = self.client.get(url.clone());
            // The token is for the hub only.
            if let Some(token) = &self.token
                && url.origin() == first.origin()
                && url.origin() == self.endpoint.origin()
            {
                request = request.bearer_auth(token);
            }
            if start > 0 {
                request = request.header(RANGE, format!("bytes={start}-"));
            }
            let _waiting = waiting_for(without_key(&url));
            let answer = self.runtime.block_on(async { request.send().await });
            let answer = answer.map_err(|e| format!("{}: {}", without_key(&url), describe(&e)))?;
            match redirect(&url, &answer) {
                Some(_) if stops && describes_file(answer.headers()) => return Ok((url, answer)),
                Some(target) => url = target,
                None if answer.status().is_success() => return Ok((url, answer)),
                None => {
                    let status = answer.status();
                    return Err(Failed {
                        status: Some(status.as_u16()),
                        reason: format!("{} was answered with HTTP {status}", without_key(&url)),
                    });
                }
            }
        }
        Err(format!("{first} redirects more than {MAX_REDIRECTS} times").into())
    }

    fn json<T: DeserializeOwned>(&self, answer: Response) -> Result<T> {
        let url = answer.url().clone();
        let body = self.runtime.block_on(answer.bytes());
        let body = body.map_err(|e| format!("{}: {}", without_key(&url), describe(&e)))?;
        let read = serde_json::from_slice(&body);
        Ok(read.map_err(|e| format!("the answer of {url} cannot be read: {e}"))?)
    }

    fn no_base(&self) -> String {
        format!("HF_ENDPOINT is {}, which cannot have paths", self.endpoint)
    }
}

/// Where a redirect from `url` leads.
fn redirect(url: &Url, answer: &Response) -> Option<Url> {
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    answer
        .status()
        .is_redirection()
        .then(|| url.join(location).ok())?
}

/// Whether an answer names the commit and the version of a file.
fn describes_file(headers: &HeaderMap) -> bool {
    headers.contains_key("x-repo-commit") && headers.contains_key("x-linked-etag")
}

/// Makes `link` a link to `target`, or moves `blob` there if the system has no links.
fn place(target: &Path, blob: &Path, link: &Path) -> std::io::Result<()> {
    create_parent(link)?;
    // A link to nothing, whose blob was removed.
    if link.symlink_metadata().is_ok() {
        fs::remove_file(link)?;
    }
    #[cfg(unix)]
    {
        let _ = blob;
        std::os::unix::fs::symlink(target, link)
    }
    #[cfg(not(unix))]
    {
        let _ = target;
        fs::rename(blob, link)
    }
}

fn create_parent(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn at_path(path: &Path) -> impl Fn(std::io::Error) -> Failed + '_ {
    move |e| format!("{}: {}", path.display(), cause(&e)).into()
}
