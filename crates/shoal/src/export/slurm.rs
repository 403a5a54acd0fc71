//! An array script of Slurm.

use shoal_job::RunDir;

use super::{ExportSettings, arguments, name};

pub(super) fn script(run: &RunDir, settings: &ExportSettings) -> String {
    let command: Vec<_> = arguments(run, settings).iter().map(|a| quote(a)).collect();
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

/// A word of a shell, whatever is in it.
fn quote(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
