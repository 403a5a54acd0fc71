//! The cache of the Hugging Face hub on this machine, found and read as huggingface_hub 2.4 does.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use shoal_encoder::Checkpoint;

/// Most entries of the cache that a message lists.
const LISTED: usize = 5;

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The path with `~` and variables such as `$HOME` replaced.
fn expand(path: OsString) -> PathBuf {
    let Some(text) = path.to_str() else {
        return path.into();
    };
    let text = match (text.strip_prefix('~'), dirs::home_dir()) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            format!("{}{rest}", home.display())
        }
        _ => text.to_owned(),
    };
    let mut expanded = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (name, next) = braced.unwrap_or_else(|| {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            after.split_at(end.unwrap_or(after.len()))
        });
        match env::var(name) {
            Ok(value) if !name.is_empty() => expanded.push_str(&value),
            _ => expanded.push_str(&rest[before.len()..rest.len() - next.len()]),
        }
        rest = next;
    }
    expanded.push_str(rest);
    expanded.into()
}

/// The folder of all files of the hub's clients.
fn home() -> Option<PathBuf> {
    if let Some(home) = variable("HF_HOME") {
        return Some(expand(home));
    }
    let cache = match variable("XDG_CACHE_HOME") {
        Some(cache) => expand(cache),
        None => dirs::home_dir()?.join(".cache"),
    };
    Some(cache.join("huggingface"))
}

/// The folder of the cache, which may be missing.
pub(super) fn folder() -> Option<PathBuf> {
    ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]
        .into_iter()
        .find_map(|name| Some(expand(variable(name)?)))
        .or_else(|| Some(home()?.join("hub")))
}

/// The token for private models: `HF_TOKEN`, or that of the hub's login.
pub(super) fn token() -> Option<String> {
    let file = match variable("HF_TOKEN_PATH") {
        Some(path) => Some(expand(path)),
        None => home().map(|home| home.join("token")),
    };
    let texts = [
        env::var("HF_TOKEN").ok(),
        file.and_then(|file| std::fs::read_to_string(file).ok()),
    ];
    let texts = texts.into_iter().flatten();
    texts
        .map(|text| text.trim().to_owned())
        .find(|text| !text.is_empty())
}

/// A model's folder in the cache.
pub(super) struct Repo {
    folder: PathBuf,
}

impl Repo {
    /// The model `id` in the cache `folder`.
    pub(super) fn new(folder: &Path, id: &str) -> Self {
        let name = format!("models--{}", id.replace('/', "--"));
        Self {
            folder: folder.join(name),
        }
    }

    /// Its path.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder at `path`, if it is one.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let is_model = path.file_name()?.to_str()?.starts_with("models--");
        (is_model && path.join("snapshots").is_dir()).then(|| Self {
            folder: path.to_owned(),
        })
    }

    /// The snapshot to use if the user names none: that of `main`, or the only one.
    pub(super) fn only_snapshot(&self) -> Option<PathBuf> {
        if let Some(snapshot) = self.snapshot("main") {
            return Some(snapshot);
        }
        let commits = self.commits();
        let snapshots = commits
            .iter()
            .map(|commit| self.folder.join("snapshots").join(commit));
        let mut models = snapshots.filter(|snapshot| snapshot.join("config.json").is_file());
        models.next().filter(|_| models.next().is_none())
    }

    /// The snapshot of a branch, a tag or a commit. A commit may be shortened as far as it is unambiguous.
    fn snapshot(&self, revision: &str) -> Option<PathBuf> {
        /// Git's own minimum.
        const SHORTEST: usize = 4;
        let commit = std::fs::read_to_string(self.folder.join("refs").join(revision));
        let commit = commit.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
        let commits = self.commits();
        let is_short =
            commit.len() >= SHORTEST && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        let commit = commits.iter().find(|other| **other == commit).or_else(|| {
            let mut like = commits
                .iter()
                .filter(|other| is_short && other.starts_with(&*commit));
            like.next().filter(|_| like.next().is_none())
        })?;
        Some(self.folder.join("snapshots").join(commit))
    }

    fn commits(&self) -> Vec<String> {
        names(&self.folder.join("snapshots"))
    }

    /// The snapshot with all files of a model, or the reason why it cannot be used.
    pub(super) fn complete_snapshot(&self, revision: &str) -> Result<PathBuf, String> {
        if let Some(snapshot) = self.snapshot(revision) {
            return match Checkpoint::fingerprint(&snapshot) {
                Ok(_) => Ok(snapshot),
                Err(error) => Err(format!(
                    "its snapshot in the cache is incomplete (failed to {error})"
                )),
            };
        }
        let cache = self.folder.parent().unwrap_or(&self.folder);
        let models: Vec<String> = names(cache)
            .into_iter()
            .filter_map(|name| Some(name.strip_prefix("models--")?.replace("--", "/")))
            .collect();
        let place = cache.display();
        Err(if self.folder.is_dir() {
            let mut known = names(&self.folder.join("refs"));
            known.extend(self.commits());
            format!(
                "the cache {place} has it, but not the revision {revision}; it has {}",
                list(&known)
            )
        } else if !cache.is_dir() {
            format!("there is no cache {place} (HF_HUB_CACHE)")
        } else {
            format!(
                "it is not in the cache {place}, which has {}",
                list(&models)
            )
        })
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names if names.len() > LISTED => format!(
            "{} and {} more",
            names[..LISTED].join(", "),
            names.len() - LISTED
        ),
        names => names.join(", "),
    }
}
