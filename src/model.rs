//! From what the user calls a model to an opened one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shoal_encoder::Model;
use shoal_job::spec::ModelSpec;

use crate::{Error, Result, bundled};

/// A model found, but not yet opened.
#[derive(Debug)]
pub(crate) enum Source {
    Bundled,
    Folder { reference: String, path: PathBuf },
}

impl Source {
    /// Finds the model that `reference` names: none for the bundled one, a folder, or a name on the Hugging Face hub.
    pub(crate) fn find(reference: Option<&str>) -> Result<Self> {
        let Some(reference) = reference.filter(|reference| *reference != bundled::NAME) else {
            return Ok(Self::Bundled);
        };
        if reference.is_empty() {
            return Err(Error::Settings(
                "failed to find the model: its name is empty".into(),
            ));
        }
        let path = Path::new(reference);
        if path.exists() || !is_hub_name(reference) {
            let path = std::path::absolute(path)
                .map_err(|e| shoal_job::Error::storage("find model", reference, e))?;
            return Ok(Self::Folder {
                reference: path.display().to_string(),
                path,
            });
        }
        let path = hub(reference)?;
        Ok(Self::Folder {
            reference: reference.to_owned(),
            path,
        })
    }

    /// Its name in `job.json`, from which [`find`](Self::find) finds it again.
    fn reference(&self) -> &str {
        match self {
            Self::Bundled => bundled::NAME,
            Self::Folder { reference, .. } => reference,
        }
    }

    /// Opens it, and tells what a job has to know of it. `max_tokens` lowers the model's own limit.
    pub(crate) fn open(&self, max_tokens: Option<usize>) -> Result<(Arc<Model>, ModelSpec)> {
        let (model, fingerprint) = match self {
            Self::Bundled => (bundled::open()?, bundled::fingerprint()),
            Self::Folder { path, .. } => (Model::open(path)?, shoal_encoder::Checkpoint::fingerprint(path)?),
        };
        let limit = model.max_tokens();
        if let Some(wanted) = max_tokens
            && !(2..=limit).contains(&wanted)
        {
            return Err(Error::Settings(format!(
                "--max-tokens {wanted} is out of range: this model takes 2 to {limit} tokens, two of them its own marks"
            )));
        }
        let spec = ModelSpec {
            reference: self.reference().to_owned(),
            fingerprint,
            labels: model.labels().to_vec(),
            max_tokens: max_tokens.unwrap_or(limit),
        };
        Ok((Arc::new(model), spec))
    }
}

/// Whether `text` has the form of a name on the hub: `name` or `owner/name`, perhaps with `@revision`.
fn is_hub_name(text: &str) -> bool {
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
fn hub(name: &str) -> Result<PathBuf> {
    Err(Error::Hub {
        name: name.to_owned(),
        reason: "there is no such folder, and this shoal was built without the hub".into(),
    })
}

/// The folder in the hub's cache that holds the model; files that are not there yet are fetched.
#[cfg(feature = "hub")]
fn hub(name: &str) -> Result<PathBuf> {
    use hf_hub::api::sync::{ApiBuilder, ApiError};
    use hf_hub::{Cache, Repo, RepoType};

    /// Read where they are there.
    const OPTIONAL: [&str; 3] = ["tokenizer.json", "vocab.txt", "tokenizer_config.json"];
    const WEIGHTS: &str = "model.safetensors";
    const INDEX: &str = "model.safetensors.index.json";

    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    let repo = Repo::with_revision(id.to_owned(), RepoType::Model, revision.to_owned());
    let error = |reason: String| Error::Hub {
        name: name.to_owned(),
        reason,
    };
    let failed = |e: ApiError| {
        // The type behind is of a crate that we do not name; it says this of an answer, and nothing more.
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
                "{e}; there is no folder of this name either. Without a network, give the path of a downloaded model folder"
            ),
        })
    };
    let cached = Cache::from_env().repo(repo.clone());
    if let Some(folder) = cached
        .get("config.json")
        .and_then(|path| path.parent().map(PathBuf::from))
        && has_model(&folder)
    {
        return Ok(folder);
    }
    if is_offline() {
        return Err(error(
            "it is not in the cache, and HF_HUB_OFFLINE forbids the network".into(),
        ));
    }
    let mut builder = ApiBuilder::from_env().with_progress(false);
    // Without one, the token of the hub's own login is taken, if there is one.
    if let Ok(token) = std::env::var("HF_TOKEN")
        && !token.trim().is_empty()
    {
        builder = builder.with_token(Some(token.trim().to_owned()));
    }
    let api = builder.build().map_err(failed)?.repo(repo);
    let config = api.get("config.json").map_err(failed)?;
    let info = api.info().map_err(failed)?;
    let files: Vec<_> = info
        .siblings
        .iter()
        .map(|file| file.rfilename.as_str())
        .collect();
    for file in OPTIONAL.into_iter().filter(|file| files.contains(file)) {
        api.get(file).map_err(failed)?;
    }
    if files.contains(&WEIGHTS) {
        api.get(WEIGHTS).map_err(failed)?;
    } else if files.contains(&INDEX) {
        api.get(INDEX).map_err(failed)?;
        let is_shard = |file: &&&str| file.ends_with(".safetensors") && !file.contains('/');
        for file in files.iter().filter(is_shard) {
            api.get(file).map_err(failed)?;
        }
    } else {
        return Err(error(format!(
            "it has no {WEIGHTS}, and shoal reads no other weights; its files are {}",
            files.join(", ")
        )));
    }
    config
        .parent()
        .map(PathBuf::from)
        .ok_or_else(|| error("the cache has no folder for it".into()))
}

/// Whether the user forbids the network, as the hub's other clients read it.
#[cfg(feature = "hub")]
fn is_offline() -> bool {
    std::env::var("HF_HUB_OFFLINE")
        .is_ok_and(|value| matches!(value.to_lowercase().as_str(), "1" | "on" | "true" | "yes"))
}

/// Whether a folder of the cache was filled to its end: weights are fetched last.
#[cfg(feature = "hub")]
fn has_model(folder: &Path) -> bool {
    shoal_encoder::Checkpoint::fingerprint(folder).is_ok()
}

#[cfg(test)]
mod tests {
    use shoal_encoder::ModelError;

    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        assert!(is_hub_name(
            "distilbert-base-uncased-finetuned-sst-2-english"
        ));
        assert!(is_hub_name("owner/model.v2@main"));
        assert!(!is_hub_name("./my-distilbert"));
        assert!(!is_hub_name("/models/a"));
        assert!(!is_hub_name("a/b/c"));
        assert!(!is_hub_name(""));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let source = Source::find(Some("./nowhere")).unwrap();
        let Err(error) = source.open(None) else {
            panic!("opened")
        };
        assert!(
            matches!(error, Error::Model(ModelError::NotFound { .. })),
            "{error}"
        );
    }

    #[test]
    fn the_token_limit_must_fit_the_model() {
        let Err(error) = Source::Bundled.open(Some(513)) else {
            panic!("opened")
        };
        assert!(error.to_string().contains("2 to 512"), "{error}");
    }
}
