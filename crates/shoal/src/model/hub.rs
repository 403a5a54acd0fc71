//! Models of the Hugging Face hub.

use std::path::PathBuf;

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
    use hf_hub::api::sync::{ApiBuilder, ApiError};
    use hf_hub::{Cache, Repo, RepoType};
    use shoal_encoder::Checkpoint;

    /// Files that a model may lack.
    const OPTIONAL: [&str; 6] = [
        "tokenizer.json",
        "vocab.txt",
        "tokenizer_config.json",
        "modules.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
    ];
    /// The files of a module of sentence-transformers, in a folder such as `1_Pooling`.
    const MODULE: [&str; 2] = ["config.json", "model.safetensors"];
    const WEIGHTS: &str = "model.safetensors";
    const INDEX: &str = "model.safetensors.index.json";

    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
    let error = |reason: String| Error::Hub {
        name: name.to_owned(),
        reason,
    };
    let failed = |e: ApiError| {
        // Its type belongs to a crate that is not a dependency; its text is only the status.
        let status = match &e {
            ApiError::RequestError(e) => e.to_string(),
            _ => String::new(),
        };
        error(match status.as_str() {
            "http status: 404" => format!(
                "there is no folder and no model of this name, or it lacks a file or the revision {revision} (HTTP 404)"
            ),
            "http status: 401" | "http status: 403" => format!(
                "it does not exist or is not open to you; set HF_TOKEN for private models ({status})"
            ),
            _ => format!(
                "{e}; there is no folder of this name either. Without a network, name a downloaded model folder"
            ),
        })
    };
    let cached = Cache::from_env().repo(repo.clone());
    // Only a complete folder of the cache is used.
    if let Some(folder) = cached
        .get("config.json")
        .and_then(|path| path.parent().map(PathBuf::from))
        && Checkpoint::fingerprint(&folder).is_ok()
    {
        return Ok(folder);
    }
    if is_offline() {
        return Err(error(
            "it is not in the cache, and HF_HUB_OFFLINE disables downloads".into(),
        ));
    }
    let mut builder = ApiBuilder::from_env().with_progress(false);
    // The default is the token of the hub's login.
    if let Ok(token) = std::env::var("HF_TOKEN")
        && !token.trim().is_empty()
    {
        builder = builder.with_token(Some(token.trim().to_owned()));
    }
    let api = builder.build().map_err(failed)?.repo(repo);
    let config = api.get("config.json").map_err(failed)?;
    let info = api.info().map_err(failed)?;
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
        return Err(error(format!(
            "it has no {WEIGHTS}, and shoal reads no other weights; its files are {}",
            files.join(", ")
        )));
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
        api.get(file).map_err(failed)?;
    }
    config
        .parent()
        .map(PathBuf::from)
        .ok_or_else(|| error("the cache has no folder for it".into()))
}

/// Whether the user disabled downloads, as for the hub's other clients.
#[cfg(feature = "hub")]
fn is_offline() -> bool {
    std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| matches!(value.to_lowercase().as_str(), "1" | "on" | "true" | "yes"))
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
