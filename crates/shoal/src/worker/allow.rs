//! The run directories that a worker accepts.

use std::path::{Path, PathBuf};

use shoal_job::store::{Location, is_url};

use crate::{Error, Result, Setting};

/// Folders and prefixes of stores that contain the accepted run directories.
#[derive(Debug, Clone, Default)]
pub struct Allow {
    folders: Vec<PathBuf>,
    /// Without a slash at the end.
    urls: Vec<String>,
    /// Everything is allowed.
    all: bool,
}

impl Allow {
    /// Any run directory.
    pub fn all() -> Self {
        Self {
            all: true,
            ..Self::default()
        }
    }

    /// Run directories at or below these paths and URLs.
    ///
    /// # Errors
    /// A path does not exist, or a URL is not normalized.
    pub fn below<S: AsRef<str>>(prefixes: &[S]) -> Result<Self> {
        let mut allow = Self::default();
        for prefix in prefixes.iter().map(AsRef::as_ref) {
            let wrong =
                |reason: &str| Error::setting(Setting::Allow, format!("{prefix}: {reason}"));
            match folder(prefix) {
                Some(path) => {
                    let path = path.canonicalize().map_err(|e| wrong(&e.to_string()))?;
                    allow.folders.push(path);
                }
                None if is_plain(prefix) => {
                    allow.urls.push(prefix.trim_end_matches('/').to_owned());
                }
                None => {
                    return Err(wrong(
                        "write the URL without ., .., encoded characters and queries",
                    ));
                }
            }
        }
        Ok(allow)
    }

    /// Whether `run`, a path or a URL, is accepted.
    pub fn allows(&self, run: &str) -> bool {
        if self.all {
            return true;
        }
        match folder(run) {
            // Links and `..` are resolved first.
            Some(path) => path
                .canonicalize()
                .is_ok_and(|path| self.folders.iter().any(|folder| path.starts_with(folder))),
            None => {
                is_plain(run)
                    && self.urls.iter().any(|prefix| {
                        run.strip_prefix(prefix.as_str())
                            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                    })
            }
        }
    }
}

/// The local path of `text`, unless it is the URL of a store.
fn folder(text: &str) -> Option<PathBuf> {
    if !is_url(text) {
        return Some(Path::new(text).to_owned());
    }
    match Location::parse(text) {
        Ok(Location::Local(path)) => Some(path),
        _ => None,
    }
}

/// Whether a URL is normalized, so that resolving and decoding it cannot lead elsewhere.
fn is_plain(url: &str) -> bool {
    let decoded = url
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "\\");
    !decoded.contains(['\\', '?', '#'])
        && !decoded.contains(|c: char| c.is_control() || c.is_whitespace())
        && !decoded
            .split('/')
            .any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_below_a_prefix_or_not() {
        let allow = Allow::below(&["s3://bucket/shoal/", "gs://other"]).unwrap();
        for run in [
            "s3://bucket/shoal",
            "s3://bucket/shoal/runs/a..b",
            "gs://other/x",
        ] {
            assert!(allow.allows(run), "{run}");
        }
        for run in [
            "s3://bucket/shoals/x",
            "s3://bucket/shoal/../x",
            "s3://bucket/shoal/./x",
            "s3://bucket/shoal/%2E./x",
            "s3://bucket/shoal/%2e%2E%2fx",
            "s3://bucket/shoal/.\t./x",
            "s3://bucket/shoal/..\\x",
            "s3://bucket/shoal?x",
            "gs://other@evil/x",
            "gs://otherwise/x",
            "az://bucket/shoal/x",
            "/etc",
            "",
        ] {
            assert!(!allow.allows(run), "{run:?}");
        }
        assert!(Allow::below(&["s3://bucket/../x"]).is_err());
    }

    #[test]
    fn folders_count_as_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for name in ["mine/run", "mine-too/run", "other"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let allow = Allow::below(&[at("mine")]).unwrap();
        assert!(allow.allows(&at("mine")) && allow.allows(&at("mine/run")));
        assert!(allow.allows(&format!("file://{}", at("mine/run"))));
        for run in [
            at("mine-too/run"),
            at("mine/../other"),
            at("mine/missing"),
            format!("file://{}", at("mine/../other")),
            format!("file://{}", at("mine/%2e%2e/other")),
            "s3://bucket/x".to_owned(),
        ] {
            assert!(!allow.allows(&run), "{run}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("other"), at("mine/link")).unwrap();
            assert!(!allow.allows(&at("mine/link")));
        }
        assert!(Allow::below(&[at("nowhere")]).is_err());
        assert!(Allow::all().allows("s3://anywhere/at/all"));
    }
}
