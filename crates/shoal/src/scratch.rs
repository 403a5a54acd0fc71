//! Jobs planned in a temporary run directory, to read or time their records.

use shoal_job::plan::{Request, plan};
use shoal_job::spec::Parameters;
use shoal_job::{Batch, Cancel, FunctionSpec, Job, RunDir};
use tempfile::TempDir;

use crate::inputs::Inputs;
use crate::{Result, VERSION, folders};

/// A planned job whose run directory is deleted when it is dropped.
pub(crate) struct ScratchRun {
    pub(crate) run: RunDir,
    pub(crate) job: Job,
    pub(crate) batches: Vec<Batch>,
    _folder: TempDir,
}

impl ScratchRun {
    /// Plans a job over `inputs`. `progress` gets the number of records found so far.
    pub(crate) fn plan(
        inputs: &Inputs,
        function: &FunctionSpec,
        parameters: Parameters,
        cancel: &Cancel,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        let folder = folders::temporary()?;
        let run = RunDir::create(folder.path())?;
        let request = Request {
            inputs: &inputs.names,
            spool: inputs.spool(),
            function: function.clone(),
            parameters,
            output: "-",
            version: VERSION,
            inputs_at: None,
        };
        let job = plan(&request, &run, cancel, progress)?;
        Ok(Self {
            batches: run.batches(&job)?,
            run,
            job,
            _folder: folder,
        })
    }
}
