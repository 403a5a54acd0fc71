//! Reading the plan.

use super::{JOB, Root, RunDir};
use crate::Result;
use crate::spec::{Job, LAYOUT_VERSION};
use crate::store::{Location, is_url};

impl RunDir {
    /// The plan, or `None` if planning has not finished.
    ///
    /// # Errors
    /// `job.json` cannot be read, has another layout version, or places copies of inputs where no planner does.
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
                "its layout has version {layout}; this version of shoal reads {LAYOUT_VERSION}"
            )));
        }
        let job: Job = serde_json::from_slice(&content)
            .map_err(|e| self.corrupt(format!("{JOB} is damaged: {e}")))?;
        for source in &job.sources {
            if let Some(staged) = &source.staged
                && !self.may_stage(staged)
            {
                return Err(self.corrupt(format!(
                    "{JOB} places the copy of {} at {staged:?}, outside the run directory",
                    source.uri
                )));
            }
        }
        crate::writers::check_job(&job)
            .map_err(|e| self.corrupt(format!("{JOB} has invalid columns: {e}")))?;
        Ok(Some(job))
    }

    /// Whether a planner may have put the copy of an input there: under `input/` of the run, or under `inputs/` beside the
    /// `runs/` that contains it.
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
        let is_shared = match &self.root {
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
