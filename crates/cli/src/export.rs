//! `shoal export`

use super::args::export::ExportArgs;
use super::print;
use shoal::export::{ExportSettings, export as job_file};
use shoal::{Result, find_run};

pub(super) fn export(args: ExportArgs) -> Result<()> {
    let settings = ExportSettings {
        workers: args.workers,
        image: args.image,
        cpus: args.cpus.into(),
        memory_mib: args.memory,
        model: args.model,
        identity: args.identity,
        queue: args.queue,
    };
    let text = job_file(&find_run(&args.run)?, args.platform, &settings)?;
    match args.output {
        None => print(text.as_bytes()),
        Some(path) => std::fs::write(&path, text)
            .map_err(|e| shoal::job::Error::storage("write", path.display().to_string(), e).into()),
    }
}
