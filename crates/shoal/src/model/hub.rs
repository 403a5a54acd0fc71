//! Models of the Hugging Face hub.

use std::path::PathBuf;

#[cfg(feature = "hub")]
use shoal_job::waits::Waiting;

#[cfg(feature = "hub")]
use super::hub_cache;
use crate::{Error, Result};

/// Whether `text` has the form `name` or `owner/name`, optionally with `@revision`.
pub(super) fn is_hub_name(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or_default();
    let parts: Vec<_> = name.split('/').collect();
    parts.len() <= 2
        && parts.iter().all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        })
}

#[cfg(not(feature = "hub"))]
pub(super) fn hub(name: &str) -> Result<PathBuf> {
    Err(Error::Hub {
        name: name.to_owned(),
        reason: "there is no such folder, and this build of shoal does not include the hub".into(),
    })
}

/// The model's folder in the hub's cache. Missing files are downloaded.
#[cfg(feature = "hub")]
pub(super) fn hub(name: &str) -> Result<PathBuf> {
    let error = |reason: String| Error::Hub {
        name: name.to_owned(),
        reason,
    };
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    let Some(folder) = hub_cache::folder() else {
        return Err(error(
            "there is no folder for the cache of the Hugging Face hub; set HF_HUB_CACHE or HOME"
                .into(),
        ));
    };
    let repo = hub_cache::Repo::new(&folder, id);
    let not_cached = match repo.complete_snapshot(revision) {
        Ok(snapshot) => return Ok(snapshot),
        Err(reason) => reason,
    };
    if is_offline() {
        return Err(error(format!(
            "there is no folder of this name, {not_cached}, and HF_HUB_OFFLINE disables downloads"
        )));
    }
    download(id, revision, &folder, &not_cached).map_err(error)
}

/// Downloads the files of a model to the cache, and returns their folder, or the reason why this failed. `not_cached` says
/// what the cache has instead.
#[cfg(feature = "hub")]
fn download(
    id: &str,
    revision: &str,
    cache: &std::path::Path,
    not_cached: &str,
) -> std::result::Result<PathBuf, String> {
    use hf_hub::api::sync::{ApiBuilder, ApiError};
    use hf_hub::{Cache, Repo, RepoType};
    use shoal_job::waits::waiting_for;

    /// Files that a model may lack.
    const OPTIONAL: [&str; 8] = [
        "tokenizer.json",
        "vocab.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ];
    /// The files of a module of sentence-transformers, in a folder such as `1_Pooling`.
    const MODULE: [&str; 2] = ["config.json", "model.safetensors"];
    const WEIGHTS: &str = "model.safetensors";
    const INDEX: &str = "model.safetensors.index.json";

    let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
    let failed = |e: ApiError| {
        // Its type belongs to a crate that is not a dependency; its text is only the status.
        let status = match &e {
            ApiError::RequestError(e) => e.to_string(),
            _ => String::new(),
        };
        match status.as_str() {
            "http status: 404" => format!(
                "there is no folder and no model of this name, or it lacks a file or the revision {revision} (HTTP 404)"
            ),
            "http status: 401" | "http status: 403" => format!(
                "it does not exist or is not open to you; set HF_TOKEN for private models ({status})"
            ),
            _ => format!(
                "{e}; there is no folder of this name either, and {not_cached}. Without a network, name a downloaded model \
                 folder"
            ),
        }
    };
    let api = ApiBuilder::from_env()
        .with_progress(false)
        .with_cache_dir(cache.to_owned())
        .with_token(hub_cache::token());
    let api = api.build().map_err(failed)?.repo(repo.clone());
    let cached = Cache::new(cache.to_owned()).repo(repo);
    let get = |file: &str| match cached.get(file) {
        Some(path) => Ok(path),
        None => {
            let waiting = waiting_for(api.url(file));
            api.download_with_progress(file, Download::new(&waiting))
                .map_err(failed)
        }
    };
    let config = get("config.json")?;
    let info = {
        let _waiting = waiting_for(format!("the list of files of {id} on the hub"));
        api.info().map_err(failed)?
    };
    let siblings = info.siblings.iter();
    let files: Vec<_> = siblings.map(|file| file.rfilename.as_str()).collect();
    let is_of_module = |file: &str| {
        file.split_once('/').is_some_and(|(folder, file)| {
            folder.starts_with(|first: char| first.is_ascii_digit()) && MODULE.contains(&file)
        })
    };
    let is_shard = |file: &str| file.ends_with(".safetensors") && !file.contains('/');
    let is_sharded = !files.contains(&WEIGHTS);
    if is_sharded && !files.contains(&INDEX) {
        return Err(format!(
            "it has no {WEIGHTS}, and shoal reads no other weights; its files are {}",
            files.join(", ")
        ));
    }
    let is_weights = |file: &str| match is_sharded {
        true => file == INDEX || is_shard(file),
        false => file == WEIGHTS,
    };
    let others = files
        .iter()
        .filter(|file| OPTIONAL.contains(file) || is_of_module(file));
    // Weights are last: they show that the folder is complete.
    for file in others.chain(files.iter().filter(|file| is_weights(file))) {
        get(file)?;
    }
    config
        .parent()
        .map(PathBuf::from)
        .ok_or_else(|| "the cache has no folder for it".into())
}

/// A download, whose progress its wait shows.
#[cfg(feature = "hub")]
struct Download<'a> {
    waiting: &'a Waiting,
    received: u64,
    bytes: u64,
}

#[cfg(feature = "hub")]
impl<'a> Download<'a> {
    fn new(waiting: &'a Waiting) -> Self {
        Self {
            waiting,
            received: 0,
            bytes: 0,
        }
    }
}

#[cfg(feature = "hub")]
impl hf_hub::api::Progress for Download<'_> {
    fn init(&mut self, size: usize, _file: &str) {
        self.bytes = size as u64;
    }

    fn update(&mut self, size: usize) {
        self.received += size as u64;
        self.waiting.received(self.received, self.bytes);
    }

    fn finish(&mut self) {}
}

/// Whether the user disabled downloads, as for the hub's other clients.
#[cfg(feature = "hub")]
fn is_offline() -> bool {
    let value = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    value.is_some_and(|value| matches!(value.to_lowercase().as_str(), "1" | "on" | "true" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::is_hub_name;

    #[test]
    fn names_of_the_hub_differ_from_paths() {
        assert!(is_hub_name(
            "distilbert-base-uncased-finetuned-sst-2-english"
        ));
        assert!(is_hub_name("owner/model.v2@main"));
        assert!(!is_hub_name("./my-distilbert"));
        assert!(!is_hub_name("/models/a"));
        assert!(!is_hub_name("a/b/c"));
        assert!(!is_hub_name(""));
    }
}
