//! `job.json`: reading the plan of a run.

use super::{JOB, Root, RunDir};
use crate::Result;
use crate::spec::{Job, LAYOUT_VERSION};
use crate::store::{Location, is_url};

impl RunDir {
    /// The plan, `None` where planning has not come to its end.
    ///
    /// # Errors
    /// `job.json` cannot be read, is not of this version of shoal, or has copies of its inputs elsewhere than a plan puts
    /// them.
    pub fn job(&self) -> Result<Option<Job>> {
        let Some(content) = self.get(JOB)? else {
            return Ok(None);
        };
        #[derive(serde::Deserialize)]
        struct Version {
            layout: u32,
        }
        let layout = serde_json::from_slice::<Version>(&content)
            .map_err(|e| self.corrupt(format!("{JOB} is damaged: {e}")))?
            .layout;
        if layout != LAYOUT_VERSION {
            return Err(self.corrupt(format!(
                "its layout has version {layout}, this shoal reads version {LAYOUT_VERSION}"
            )));
        }
        let job: Job = serde_json::from_slice(&content)
            .map_err(|e| self.corrupt(format!("{JOB} is damaged: {e}")))?;
        for source in &job.sources {
            if let Some(staged) = &source.staged
                && !self.may_stage(staged)
            {
                return Err(self.corrupt(format!(
                    "{JOB} says that the copy of {} is {staged:?}, where no plan puts one",
                    source.uri
                )));
            }
        }
        crate::writers::check_job(&job)
            .map_err(|e| self.corrupt(format!("{JOB} has columns that no plan has: {e}")))?;
        Ok(Some(job))
    }

    /// Whether a plan may have put the copy of an input there: under `input/`, or under the `inputs/` of the store whose
    /// `runs/` the run lies in.
    fn may_stage(&self, staged: &str) -> bool {
        let is_plain = |name: &str| {
            !name.starts_with('.')
                && !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        };
        if !is_url(staged) {
            return staged.strip_prefix("input/").is_some_and(is_plain);
        }
        let Some((folder, name)) = staged.rsplit_once('/') else {
            return false;
        };
        let is_shared = match &self.place {
            Root::Url(url) => url
                .rsplit_once("/runs/")
                .is_some_and(|(store, _)| folder.strip_suffix("/inputs") == Some(store)),
            Root::Folder(root) => {
                let shared = root.ancestors().nth(2).map(|store| store.join("inputs"));
                let folder = match Location::parse(folder) {
                    Ok(Location::Local(folder)) => folder.canonicalize().ok(),
                    _ => None,
                };
                folder.is_some() && folder == shared
            }
        };
        is_shared && is_plain(name)
    }
}
