//! The script of a Slurm job array.

use shoal_job::RunDir;

use super::{ExportSettings, arguments, name};
use crate::report::quoted;

pub(super) fn script(run: &RunDir, settings: &ExportSettings) -> String {
    let command: Vec<_> = arguments(run, settings).iter().map(|a| quoted(a)).collect();
    format!(
        "#!/bin/sh\n\
         # Submit with sbatch; then `shoal resume` waits for the workers and collects.\n\
         # A single worker can be submitted again: sbatch --array=N.\n\
         #SBATCH --job-name={name}\n\
         #SBATCH --array=0-{last}\n\
         #SBATCH --ntasks=1\n\
         #SBATCH --cpus-per-task={cpus}\n\
         #SBATCH --mem={memory}M\n\
         #SBATCH --requeue\n\
         set -eu\n\
         exec shoal {command} --index \"$SLURM_ARRAY_TASK_ID\"\n",
        name = name(run),
        last = settings.workers - 1,
        cpus = settings.cpus,
        memory = settings.memory_mib,
        command = command.join(" "),
    )
}
