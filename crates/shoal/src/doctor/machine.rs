//! This machine: CPU, disk, folders.

use std::path::{Path, PathBuf};

use shoal_encoder::Isa;
use shoal_job::store::is_url;

use super::{Check, folder_of};
use crate::error::ExitCode;
use crate::{BackendKind, Settings, model};

/// Below this many free bytes, nothing worth a run can be written.
const LEAST_FREE_BYTES: u64 = 100_000_000;

pub(super) fn look(settings: &Settings, checks: &mut Vec<Check>) {
    checks.push(instructions());
    checks.push(cores(settings));
    checks.push(cache(settings.model.engine.cache_dir.as_deref()));
}

fn instructions() -> Check {
    let best = Isa::best().name();
    let all: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    let check = Check::ok(
        "machine",
        "instruction set",
        format!("{best}, of {}", all.join(", ")),
    );
    if best == "portable" {
        return check
            .warning("use a CPU with AVX2 or AVX-512: here the engine is many times slower");
    }
    check
}

fn cores(settings: &Settings) -> Check {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let check = Check::ok("machine", "cores", cores.to_string());
    let is_here = matches!(
        settings.place.backend,
        BackendKind::Local | BackendKind::Process
    );
    match settings.place.concurrency {
        Some(wanted) if is_here && wanted > cores => check.warning(format!(
            "--concurrency {wanted} is more than the cores: it takes memory and no less time; leave it out, or say {cores}"
        )),
        _ => check,
    }
}

fn cache(wanted: Option<&Path>) -> Check {
    let name = "cache";
    let Some(folder) = model::cache_folder(wanted) else {
        return Check::ok("machine", name, "there is no cache folder for this user").warning(
            "set HOME, or name a folder by --cache-dir: each start packs its model again",
        );
    };
    match try_folder(&folder) {
        Ok(()) => Check::ok(
            "machine",
            name,
            format!("{} can be written", folder.display()),
        ),
        Err(e) => Check::ok(
            "machine",
            name,
            format!("failed to write in {}: {e}", folder.display()),
        )
        .warning(
            "name another folder by --cache-dir: without one, each start packs its model again",
        ),
    }
}

/// Whether the folder in which the run would lie can be written, and has space for it.
pub(super) fn look_at_run_folder(settings: &Settings, checks: &mut Vec<Check>) {
    let about = "run directory";
    let folder = match folder_of(settings) {
        Ok(folder) => folder,
        Err(error) => {
            checks.push(Check::error(
                about,
                "folder",
                &error,
                "set HOME, or name a folder by --run-dir",
            ));
            return;
        }
    };
    let name = folder.display().to_string();
    if let Err(e) = try_folder(&folder) {
        let check = Check::ok(about, name, format!("failed to write in it: {e}"));
        checks.push(check.failed(
            ExitCode::Storage,
            "name another folder by --run-dir, or change its permissions",
        ));
        return;
    }
    checks.push(Check::ok(about, name, "can be written"));
    let there = existing(&folder);
    let needed = local_bytes(settings);
    match fs4::available_space(&there) {
        Ok(free) => checks.push(space(free, needed)),
        Err(e) => checks.push(
            Check::ok(
                about,
                "disk",
                format!("the system does not tell the free space: {e}"),
            )
            .warning("see that there is space for the input once more, and for the output"),
        ),
    }
}

/// `needed` is the size of the inputs: parts and output hold less, but copies of inputs that must be read twice as much.
fn space(free: u64, needed: u64) -> Check {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let check = Check::ok(
        "run directory",
        "disk",
        format!("{} MB free", megabytes(free)),
    );
    if free < LEAST_FREE_BYTES {
        return check.failed(
            ExitCode::Storage,
            "free some space, or name a folder on another disk by --run-dir",
        );
    }
    if free < needed.saturating_mul(2) {
        return check.warning(format!(
            "the inputs have {} MB, and a run may need up to twice that; free some space, or name a folder on another disk \
             by --run-dir",
            megabytes(needed)
        ));
    }
    check
}

fn local_bytes(settings: &Settings) -> u64 {
    let files = settings.inputs.iter().filter(|input| !is_url(input));
    files
        .filter_map(|input| std::fs::metadata(input).ok())
        .map(|meta| meta.len())
        .sum()
}

/// Writes a file in `folder`, or where the folder would be made, and takes it away again.
fn try_folder(folder: &Path) -> std::io::Result<()> {
    tempfile::NamedTempFile::new_in(existing(folder)).map(drop)
}

/// The folder itself, or the nearest one above it that is there.
fn existing(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut all = absolute.ancestors();
    let found = all.find(|folder| folder.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Finding;

    #[test]
    fn a_disk_must_have_room_for_the_inputs() {
        let mb = |megabytes: u64| megabytes * 1_000_000;
        for (free, needed, expected) in [
            (mb(500), mb(100), Finding::Ok),
            (mb(500), mb(300), Finding::Warning),
            (mb(99), 0, Finding::Failed),
            (u64::MAX, u64::MAX, Finding::Ok),
        ] {
            assert_eq!(space(free, needed).finding, expected, "{free} {needed}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_tried_where_it_would_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        try_folder(&deep).unwrap();
        assert_eq!(existing(&deep), folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(try_folder(&folder.path().join("file/below")).is_err());
    }
}
