//! `shoal export`

use std::path::Path;

use super::args::export::ExportArgs;
use super::write;
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
    let output = args.output.as_deref();
    write(output.unwrap_or(Path::new("-")), text.as_bytes())
}
