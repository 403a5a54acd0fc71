//! Checks of this machine: CPU, disk, folders.

use std::path::{Path, PathBuf};

use shoal_encoder::Isa;
use shoal_job::store::is_url;

use super::Check;
use crate::error::ExitCode;
use crate::machine::cores;
use crate::{Setting, Settings, folders, model};

/// With fewer free bytes, a run is expected to fill the disk.
const LEAST_FREE_BYTES: u64 = 100_000_000;
const MACHINE: &str = "machine";
const RUN_DIR: &str = "run directory";

pub(super) fn diagnose(settings: &Settings, checks: &mut Vec<Check>) {
    checks.push(check_instructions());
    checks.push(check_cores(settings));
    checks.push(check_cache(settings.model.engine.cache_dir.as_deref()));
}

fn check_instructions() -> Check {
    let best = Isa::best().name();
    let all: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    let found = format!("{best}, of {}", all.join(", "));
    let check = Check::ok(MACHINE, "instruction set", found);
    if best == "portable" {
        return check
            .warning("use a CPU with AVX2 or AVX-512: here the engine is many times slower");
    }
    check
}

fn check_cores(settings: &Settings) -> Check {
    let cores = cores();
    let check = Check::ok(MACHINE, "cores", cores.to_string());
    match settings.backend.concurrency() {
        Some(count) if settings.backend.settings().uses_local_cores() && count > cores => check
            .warning(format!(
                "a concurrency of {count} exceeds the cores: it takes more memory and saves no time; use {cores} or the \
                 default"
            ))
            .by(Setting::Concurrency),
        _ => check,
    }
}

fn check_cache(folder: Option<&Path>) -> Check {
    let Some(folder) = model::cache_folder(folder) else {
        return Check::ok(MACHINE, "cache", "this user has no cache folder")
            .warning("set HOME, or name a folder: without one, each start packs its model again")
            .by(Setting::CacheDir);
    };
    let name = folder.display();
    match try_folder(&folder) {
        Ok(()) => Check::ok(MACHINE, "cache", format!("{name} can be written")),
        Err(e) => Check::ok(MACHINE, "cache", format!("failed to write in {name}: {e}"))
            .warning("name another folder: without one, each start packs its model again")
            .by(Setting::CacheDir),
    }
}

/// Checks whether the run's folder can be written and has enough space.
pub(super) fn diagnose_run_folder(settings: &Settings, checks: &mut Vec<Check>) {
    let folder = match &settings.run_dir {
        Some(folder) => Ok(folder.clone()),
        None => folders::runs(),
    };
    let folder = match folder {
        Ok(folder) => folder,
        Err(error) => {
            let check = Check::error(RUN_DIR, "folder", &error, "set HOME, or name a folder");
            return checks.push(check.by(Setting::RunDir));
        }
    };
    let name = folder.display().to_string();
    if let Err(e) = try_folder(&folder) {
        let check = Check::ok(RUN_DIR, name, format!("failed to write in it: {e}"));
        let fix = "name another folder, or change its permissions";
        return checks.push(check.failed(ExitCode::Storage, fix).by(Setting::RunDir));
    }
    checks.push(Check::ok(RUN_DIR, name, "can be written"));
    checks.push(match fs4::available_space(existing(&folder)) {
        Ok(free) => space(free, local_bytes(settings)),
        Err(e) => {
            let found = format!("the system does not report the free space: {e}");
            let fix = "make sure that there is space for a copy of the input, and for the output";
            Check::ok(RUN_DIR, "disk", found).warning(fix)
        }
    });
}

/// `needed` is the size of the inputs: copies of inputs are as large, parts and output are smaller.
fn space(free: u64, needed: u64) -> Check {
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    let check = Check::ok(RUN_DIR, "disk", format!("{} MB free", megabytes(free)));
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

/// The folder or its nearest existing ancestor.
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
