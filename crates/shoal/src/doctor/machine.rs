//! This machine: CPU, disk, folders.

use std::path::{Path, PathBuf};

use shoal_encoder::Isa;
use shoal_job::store::is_url;

use super::{Check, folder_of};
use crate::error::ExitCode;
use crate::{BackendKind, Setting, Settings, model};

/// With fewer free bytes, a run is expected to fill the disk.
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
        settings.backend.kind(),
        BackendKind::Local | BackendKind::Process
    );
    match settings.backend.concurrency() {
        Some(wanted) if is_here && wanted > cores => check
            .warning(format!(
                "a concurrency of {wanted} exceeds the cores: it takes more memory and saves no time; use {cores} or the \
                 default"
            ))
            .by(Setting::Concurrency),
        _ => check,
    }
}

fn cache(wanted: Option<&Path>) -> Check {
    let name = "cache";
    let Some(folder) = model::cache_folder(wanted) else {
        return Check::ok("machine", name, "there is no cache folder for this user")
            .warning("set HOME, or name a folder: without one, each start packs its model again")
            .by(Setting::CacheDir);
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
        .warning("name another folder: without one, each start packs its model again")
        .by(Setting::CacheDir),
    }
}

/// Whether the folder of the run can be written to, and has space for it.
pub(super) fn look_at_run_folder(settings: &Settings, checks: &mut Vec<Check>) {
    let about = "run directory";
    let folder = match folder_of(settings) {
        Ok(folder) => folder,
        Err(error) => {
            let check = Check::error(about, "folder", &error, "set HOME, or name a folder");
            return checks.push(check.by(Setting::RunDir));
        }
    };
    let name = folder.display().to_string();
    if let Err(e) = try_folder(&folder) {
        let check = Check::ok(about, name, format!("failed to write in it: {e}"));
        let check = check.failed(
            ExitCode::Storage,
            "name another folder, or change its permissions",
        );
        return checks.push(check.by(Setting::RunDir));
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
                format!("the system does not report the free space: {e}"),
            )
            .warning("make sure that there is space for a copy of the input, and for the output"),
        ),
    }
}

/// `needed` is the size of the inputs: parts and output are smaller, but copies of inputs that must be read twice are as
/// large.
fn space(free: u64, needed: u64) -> Check {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let check = Check::ok(
        "run directory",
        "disk",
        format!("{} MB free", megabytes(free)),
    );
    if free < LEAST_FREE_BYTES {
        let fix = "free some space, or name a folder on another disk";
        return check.failed(ExitCode::Storage, fix).by(Setting::RunDir);
    }
    if free < needed.saturating_mul(2) {
        let fix = format!(
            "the inputs have {} MB, and a run may need up to twice that; free some space, or name a folder on another disk",
            megabytes(needed)
        );
        return check.warning(fix).by(Setting::RunDir);
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

/// Writes a file in `folder`, or where the folder would be created, and removes it.
fn try_folder(folder: &Path) -> std::io::Result<()> {
    tempfile::NamedTempFile::new_in(existing(folder)).map(drop)
}

/// The folder itself, or its nearest ancestor that exists.
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
    fn a_disk_needs_space_for_the_inputs() {
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
    fn a_missing_folder_is_tried_where_it_would_be_created() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        try_folder(&deep).unwrap();
        assert_eq!(existing(&deep), folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(try_folder(&folder.path().join("file/below")).is_err());
    }
}
