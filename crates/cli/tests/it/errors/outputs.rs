//! Outputs that cannot be written: refused before processing if possible, and never written partially.

use super::*;

#[test]
fn unwritable_outputs_are_refused_before_processing() {
    let bench = Bench::new();
    bench.write("in.csv", "text\nx\n");
    let message = run_fails(&bench, STORAGE, &["in.csv", "-o", "nowhere/out.csv"]);
    assert!(message.contains("there is no folder"), "{message}");
    assert!(!bench.path("nowhere").exists());

    bench.write("taken/precious.txt", "keep");
    let message = run_fails(
        &bench,
        USAGE,
        &["in.csv", "-o", "taken/", "--format", "csv"],
    );
    assert!(message.contains("precious.txt"), "{message}");
    assert_eq!(bench.text("taken/precious.txt"), "keep");

    for (output, words) in [
        ("out", "does not end in .csv, .jsonl, .parquet or .arrow"),
        ("out.txt", "does not end in .csv"),
        ("folder/", "choose csv"),
        ("s3://bucket/out.csv", "only local outputs"),
    ] {
        let message = run_fails(&bench, USAGE, &["in.csv", "-o", output]);
        assert!(message.contains(words), "{output}: {message}");
    }
    let message = run_fails(
        &bench,
        USAGE,
        &["in.csv", "-o", "out.csv", "--format", "jsonl"],
    );
    assert!(message.contains("jsonl was requested"), "{message}");
    for same in ["in.csv", "./in.csv", "home/../in.csv"] {
        std::fs::create_dir_all(bench.path("home")).unwrap();
        let message = run_fails(&bench, USAGE, &["in.csv", "-o", same]);
        assert!(message.contains("would replace the input"), "{message}");
    }
    assert_eq!(bench.text("in.csv"), "text\nx\n");
    // The input is the output folder of an earlier run, to which this run writes too.
    bench.ok([
        "run",
        "in.csv",
        "-o",
        "parts/",
        "--format",
        "csv",
        "--model",
        tiny(),
    ]);
    let args = [
        "parts/*.csv",
        "-o",
        "parts",
        "--format",
        "csv",
        "--text-column",
        "label",
    ];
    let message = run_fails(&bench, USAGE, &args);
    assert!(message.contains("would replace the input"), "{message}");
}

/// An existing file is replaced, but not a device or a pipe. A link remains a link.
#[test]
#[cfg(unix)]
fn devices_and_links_are_not_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let bench = Bench::new();
    bench.write("in.csv", "id,text\n1,x\n");
    let made = std::process::Command::new("mkfifo")
        .arg(bench.path("pipe.csv"))
        .status()
        .unwrap();
    assert!(made.success());
    symlink("pipe.csv", bench.path("link to pipe.csv")).unwrap();
    for output in ["pipe.csv", "link to pipe.csv"] {
        let message = run_fails(&bench, USAGE, &["in.csv", "-o", output]);
        assert!(message.contains("a device or a pipe"), "{message}");
    }
    let kind = std::fs::symlink_metadata(bench.path("pipe.csv"))
        .unwrap()
        .file_type();
    assert!(kind.is_fifo());

    bench.write("elsewhere/real.csv", "old\n");
    symlink("elsewhere/real.csv", bench.path("link.csv")).unwrap();
    std::fs::create_dir(bench.path("elsewhere/parts")).unwrap();
    symlink("elsewhere/parts", bench.path("parts")).unwrap();
    for output in ["link.csv", "parts/", "parts"] {
        let format = ["--format", "csv", "--model", tiny()];
        bench.ok([&["run", "in.csv", "-o", output], &format[..]].concat());
    }
    for link in ["link.csv", "parts"] {
        assert!(bench.path(link).is_symlink(), "{link}");
    }
    assert!(bench.text("elsewhere/real.csv").starts_with("id,label"));
    assert!(
        bench
            .text("elsewhere/parts/part-00000000.csv")
            .starts_with("id,label")
    );
    // A link to the input is the input.
    symlink("in.csv", bench.path("other name.csv")).unwrap();
    let message = run_fails(&bench, USAGE, &["in.csv", "-o", "other name.csv"]);
    assert!(message.contains("would replace the input"), "{message}");
}

/// `/dev/full` is always full.
#[test]
#[cfg(target_os = "linux")]
fn a_full_device_is_an_error() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(20));
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let output = bench
        .shoal(["run", "in.jsonl", "-o", "-", "--model", tiny()])
        .stdout(full())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("no space left on the device"), "{message}");
    let output = bench
        .shoal(["runs", "--json"])
        .stdout(full())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
}

/// A limit on the size of files simulates a full disk: the same writes fail, with another reason.
#[test]
#[cfg(unix)]
fn a_full_disk_leaves_no_partial_output() {
    let bench = Bench::new();
    // About 130 KiB of labels in parts of 3 KiB, under a limit that only the output exceeds.
    bench.write("in.jsonl", jsonl(5000));
    let args = "run in.jsonl -o out.csv --run-dir run --batch-size 100 --quiet --model";
    let run = |limit: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" {args} \"$1\"");
        let shoal = bench.shoal::<&str>([]);
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &script])
            .arg(shoal.get_program())
            .arg(tiny())
            .current_dir(bench.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", bench.path("home"));
        command.output().unwrap()
    };
    bench.write("out.csv", "the output of an earlier run\n");
    // Depending on the shell, a block has 512 or 1,024 bytes.
    let output = run("96");
    assert_eq!(output.status.code(), Some(STORAGE), "{}", describe(&output));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("out.csv"), "{message}");
    assert_eq!(bench.text("out.csv"), "the output of an earlier run\n");
    assert_eq!(temporaries(&bench.path("")), [] as [PathBuf; 0]);
    // With free space, the same command completes the run.
    let output = run("unlimited");
    assert!(output.status.success(), "{}", describe(&output));
    assert_eq!(bench.text("out.csv").lines().count(), 5001);
}
