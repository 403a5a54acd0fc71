//! Python tools in virtual environments, created once and kept in the build folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Pinned packages for one virtual environment.
#[derive(Debug, Clone, Copy)]
pub struct Requirements {
    name: &'static str,
    pins: &'static str,
}

/// `cfn-lint`, which checks CloudFormation templates against AWS's schemas.
pub const CFN_LINT: Requirements = Requirements {
    name: "cfn-lint",
    pins: include_str!("../requirements/cfn-lint.txt"),
};

/// `ministack`, a local AWS emulator.
pub const MINISTACK: Requirements = Requirements {
    name: "ministack",
    pins: include_str!("../requirements/ministack.txt"),
};

/// The `bin` folder of a virtual environment with these packages. The first call creates it; concurrent calls, including
/// those in other processes, wait for it.
///
/// # Panics
/// Panics if Python 3 with `venv` is missing, or if the packages cannot be installed.
pub fn venv(requirements: Requirements) -> PathBuf {
    let root = target_tmp().join(format!("python-{}", requirements.name));
    fs::create_dir_all(&root).unwrap();
    let lock = File::create(root.join("lock")).unwrap();
    lock.lock().unwrap();
    let (venv, marker) = (root.join("venv"), root.join("pins.txt"));
    // The marker is written last, so that incomplete and outdated environments are created again.
    if fs::read_to_string(&marker).is_ok_and(|pins| pins == requirements.pins) {
        return venv.join("bin");
    }
    let pins = root.join("requirements.txt");
    fs::write(&pins, requirements.pins).unwrap();
    let _ = fs::remove_file(&marker);
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&venv));
    run(Command::new(venv.join("bin/python"))
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--no-deps", "--requirement"])
        .arg(&pins));
    fs::write(&marker, requirements.pins).unwrap();
    venv.join("bin")
}

/// The build folder for persistent test data, which Cargo calls `CARGO_TARGET_TMPDIR`.
fn target_tmp() -> PathBuf {
    // TARGET/PROFILE/deps/TEST-HASH
    let test = std::env::current_exe().unwrap();
    let deps = test.parent().unwrap();
    assert_eq!(deps.file_name(), Some("deps".as_ref()), "{test:?}");
    let target = deps.ancestors().nth(2).map(Path::to_owned);
    target.unwrap().join("tmp")
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("these tests need Python 3 with venv; {command:?}: {e}"));
    assert!(
        output.status.success(),
        "these tests need Python 3 with venv and access to the package index; {command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
