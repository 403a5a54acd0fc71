//! What the command owes to the operating system: signals, permissions, and file names.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Bench, ManyBatches, describe, jsonl, signal, tiny, wait_for_receipts};

const USAGE: i32 = 2;
const INTERRUPTED: i32 = 130;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

/// The command as a child of a shell that ignores a signal, as `nohup` does, or has another umask.
fn after(prelude: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{prelude}; exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.current_dir(command.get_current_dir().unwrap());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell.stdin(Stdio::null());
    shell
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let job = ManyBatches::new(400, 5);
    for (ignored, sent) in [("HUP", "HUP"), ("TERM", "TERM"), ("INT", "INT")] {
        let name = format!("ignored-{ignored}");
        let command = job.run(&name, &["--concurrency", "1"]);
        let mut command = after(&format!("trap '' {ignored}"), &command);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        wait_for_receipts(&mut child, &job.bench.path(&name));
        signal(sent, &child);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{ignored}: {}", describe(&output));
        job.check(&name);
    }
    // A signal that is not ignored stops the run, which resumes.
    for (ignored, sent) in [("", "HUP"), ("HUP", "TERM")] {
        let name = format!("stopped-{sent}");
        let command = job.run(&name, &["--concurrency", "1"]);
        let prelude = match ignored {
            "" => ":".to_owned(),
            ignored => format!("trap '' {ignored}"),
        };
        let mut child = after(&prelude, &command)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_receipts(&mut child, &job.bench.path(&name));
        signal(sent, &child);
        assert_eq!(child.wait().unwrap().code(), Some(INTERRUPTED), "{sent}");
        assert!(
            job.run(&name, &[])
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        job.check(&name);
    }
}

#[test]
fn an_output_keeps_the_mode_of_the_file_that_it_replaces() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(5));
    let run = |output: &str, umask: &str| {
        let args = [
            "run",
            "in.jsonl",
            "--fresh",
            "--format",
            "csv",
            "--model",
            tiny(),
            "-o",
            output,
        ];
        let mut command = after(&format!("umask {umask}"), &bench.shoal(args));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
    };
    for (umask, new) in [("022", 0o644), ("077", 0o600), ("002", 0o664)] {
        run("new.csv", umask);
        assert_eq!(mode(&bench.path("new.csv")), new, "umask {umask}");
        std::fs::remove_file(bench.path("new.csv")).unwrap();
        run("new/", umask);
        assert_eq!(
            mode(&bench.path("new")),
            new | (new >> 2 & 0o111),
            "umask {umask}"
        );
        assert_eq!(
            mode(&bench.path("new/part-00000000.csv")),
            new,
            "umask {umask}"
        );
        std::fs::remove_dir_all(bench.path("new")).unwrap();
    }
    for old in [0o640, 0o600, 0o666, 0o755] {
        let path = bench.write("old.csv", "x");
        std::fs::set_permissions(&path, Permissions::from_mode(old)).unwrap();
        symlink("old.csv", bench.path("link.csv")).unwrap();
        let owner = path.metadata().unwrap().uid();
        for output in ["old.csv", "link.csv"] {
            run(output, "022");
            assert_eq!(mode(&path), old, "{output}");
            assert_eq!(path.metadata().unwrap().uid(), owner);
            assert!(bench.text("old.csv").starts_with("id,label"), "{output}");
        }
        assert!(bench.path("link.csv").is_symlink());
        std::fs::remove_file(bench.path("link.csv")).unwrap();
    }
    std::fs::create_dir(bench.path("parts")).unwrap();
    std::fs::set_permissions(bench.path("parts"), Permissions::from_mode(0o770)).unwrap();
    run("parts", "022");
    assert_eq!(mode(&bench.path("parts")), 0o770);
    // A link whose target is missing, elsewhere.
    std::fs::create_dir(bench.path("elsewhere")).unwrap();
    symlink("elsewhere/target.csv", bench.path("dangling.csv")).unwrap();
    run("dangling.csv", "022");
    assert!(bench.path("dangling.csv").is_symlink());
    assert!(bench.text("elsewhere/target.csv").starts_with("id,label"));
}

#[test]
fn run_directories_are_private() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(5));
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--model",
        tiny(),
        "--fresh",
    ];
    bench.ok([&args[..], &["--run-dir", "above/run"]].concat());
    assert_eq!(mode(&bench.path("above/run")), 0o700);
    bench.ok(args);
    let runs = std::fs::read_dir(bench.path("data/shoal/runs")).unwrap();
    let runs: Vec<_> = runs.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(runs.len(), 1);
    assert_eq!(mode(&runs[0]), 0o700);
    // A folder that the user made stays as it is.
    std::fs::create_dir(bench.path("own")).unwrap();
    std::fs::set_permissions(bench.path("own"), Permissions::from_mode(0o750)).unwrap();
    bench.ok([&args[..], &["--run-dir", "own"]].concat());
    assert_eq!(mode(&bench.path("own")), 0o750);
}

/// The data folder cannot be made below a file, whoever runs this test.
#[test]
fn standard_input_is_copied_to_the_run_directory() {
    let bench = Bench::new();
    let args = ["run", "-", "-o", "out.csv", "--run-dir", "run", "--model"];
    let run = |input: &str| homeless(&bench, &[&args[..], &[tiny()]].concat(), input);
    let input = jsonl(30);
    for _ in 0..2 {
        let output = run(&input);
        assert!(output.status.success(), "{}", describe(&output));
        assert_eq!(bench.text("out.csv").lines().count(), 31);
        assert!(!bench.path("run/spool").exists());
    }
    // A folder with other files gets none.
    std::fs::remove_dir_all(bench.path("run")).unwrap();
    bench.write("run/mine.txt", "x");
    let output = run(&input);
    assert_eq!(output.status.code(), Some(USAGE), "{}", describe(&output));
    assert_eq!(std::fs::read_dir(bench.path("run")).unwrap().count(), 1);
}

/// The command with `input` as standard input, and without a home that can be written.
fn homeless(bench: &Bench, args: &[&str], input: &str) -> Output {
    let nowhere = bench.write("file", "").join("home");
    let mut command = bench.shoal(args);
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
        command.env(name, &nowhere);
    }
    bench.write("stdin", input);
    std::fs::create_dir_all(bench.path("tmp")).unwrap();
    command
        .env("TMPDIR", bench.path("tmp"))
        .stdin(File::open(bench.path("stdin")).unwrap())
        .output()
        .unwrap()
}

#[test]
fn commands_that_start_no_run_copy_standard_input_to_a_temporary_folder() {
    let bench = Bench::new();
    let input = jsonl(30);
    for args in [
        &["plan", "-", "--backend", "local", "--machine", "desk=0:2"][..],
        &["compare", "-", "--batch-sizes", "10,20"],
        &["compare", "-", "--batch-sizes", "10,20", "--simulate"],
        &["doctor", "-", "--run-dir", "run"],
        &["pack", "-o", "x.shoal", "--check", "-"],
    ] {
        let model: &[&str] = match args[0] {
            "pack" => &["--", tiny()],
            _ => &["--model", tiny()],
        };
        let args = [args, model].concat();
        let output = homeless(&bench, &args, &input);
        assert!(output.status.success(), "{args:?}: {}", describe(&output));
        let left = std::fs::read_dir(bench.path("tmp")).unwrap().count();
        assert_eq!(left, 0, "{args:?}");
    }
}

#[test]
fn names_that_are_not_text_are_named_or_work() {
    let bench = Bench::new();
    let odd = OsStr::from_bytes(b"caf\xe9");
    let with = |prefix: &[u8], suffix: &[u8]| {
        let name = [prefix, odd.as_bytes(), suffix].concat();
        OsStr::from_bytes(&name).to_owned()
    };
    bench.write("in.jsonl", jsonl(3));
    let file = with(b"", b".jsonl");
    std::fs::write(bench.path(".").join(&file), jsonl(3)).unwrap();
    std::fs::write(bench.path("cafe.jsonl"), jsonl(3)).unwrap();
    let out = with(b"", b".csv");
    let args = |input: &OsStr, output: &OsStr, more: &[&OsStr]| {
        let mut args = vec![OsStr::new("run"), input, OsStr::new("-o"), output];
        args.extend(["--fresh", "--model", tiny()].map(OsStr::new));
        args.extend(more);
        args.into_iter().map(OsStr::to_owned).collect::<Vec<_>>()
    };
    let plain = OsStr::new("in.jsonl");
    let csv = OsStr::new("out.csv");
    let check = |args: Vec<_>| {
        let output = bench.shoal(args).output().unwrap();
        let message = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(!output.status.success(), "{}", describe(&output));
        assert!(message.contains("caf\\xE9"), "{message}");
        assert!(message.contains("UTF-8"), "{message}");
        assert!(!bench.path("out.csv").exists());
    };
    check(args(&file, csv, &[]));
    check(args(OsStr::new("caf*.jsonl"), csv, &[]));
    check(args(plain, &out, &[]));
    check(args(plain, csv, &[OsStr::new("--run-dir"), odd]));
    let mut with_model = args(plain, csv, &[]);
    let at = with_model.iter().position(|arg| arg == tiny()).unwrap();
    with_model[at] = odd.to_owned();
    check(with_model);
    let left: Vec<_> = std::fs::read_dir(bench.path("."))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        !left.contains(&out) && !left.contains(&odd.to_owned()),
        "{left:?}"
    );

    // The working folder: names that are relative to it are in it.
    let inside = bench.path(".").join(odd);
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(inside.join("in.jsonl"), jsonl(3)).unwrap();
    let output = bench
        .shoal(args(plain, csv, &[]))
        .current_dir(&inside)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("caf\\xE9") && message.contains("UTF-8"),
        "{message}"
    );

    // Texts in a folder: ids are escaped, so that they stay apart.
    for (name, text) in [(&b"a\xe9"[..], "good"), (b"a\xea", "bad"), (b"b", "film")] {
        let path = bench
            .path("texts")
            .join(OsStr::from_bytes(&[name, b".txt"].concat()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    bench.ok(args(OsStr::new("texts"), csv, &[]));
    let output = bench.text("out.csv");
    let ids: Vec<_> = output
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(ids, ["a\\xE9", "a\\xEA", "b"], "{output}");
}

#[test]
fn a_changed_option_is_named_by_its_flag() {
    let job = ManyBatches::new(400, 5);
    let mut child = job
        .run("run", &["--concurrency", "1"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for_receipts(&mut child, &job.bench.path("run"));
    signal("KILL", &child);
    child.wait().unwrap();
    job.bench.write("other.csv", "");
    for (option, flags) in [
        (&["--format", "jsonl", "-o", "run.jsonl"][..], "(--format)"),
        (&["--batch-size", "7"], "(--batch-size)"),
        (&["--scores"], "(--scores)"),
        (&["--text-column", "id"], "(--text-column)"),
        (&["--keep-columns", "stars"], "(--keep-columns)"),
        (
            &["--max-tokens", "9", "--precision", "int8"],
            "--max-tokens",
        ),
        (&["--input-format", "jsonl"], "(--input-format)"),
    ] {
        let mut args = vec!["run", "input.jsonl", "--run-dir", "run", "--model", tiny()];
        if !option.contains(&"-o") {
            args.extend(["-o", "run.csv"]);
        }
        let output = job.bench.shoal(args.iter().chain(option)).output().unwrap();
        let message = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(
            output.status.code(),
            Some(6),
            "{option:?}: {}",
            describe(&output)
        );
        assert!(
            message.contains(flags),
            "{option:?}: {flags} is not in {message}"
        );
    }
}

/// Runs a command on a terminal of 40 columns, which becomes wider and narrower, and prints what it writes.
const ON_TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
def resize(columns):
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
child, screen = pty.fork()
if child == 0:
    os.read(0, 1)
    os.execv(sys.argv[1], sys.argv[1:])
resize(40)
os.write(screen, b"\n")
shown = b""
while shown.count(b"left") < 3 * 8:
    resize([40, 100, 40][min(2, shown.count(b"left") // 8)])
    shown += os.read(screen, 65536)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
sys.stdout.buffer.write(shown)
"#;

#[test]
fn the_progress_line_fits_the_terminal_and_moves_within_a_batch() {
    let bench = Bench::new();
    bench.write("in.jsonl", jsonl(100_000));
    // All records are one batch, which takes long.
    let command = bench.shoal([
        "run",
        "in.jsonl",
        "-o",
        "out.csv",
        "--batch-size",
        "100000",
        "--concurrency",
        "1",
        "--isa",
        "portable",
        "--precision",
        "f32",
    ]);
    let mut python = Command::new("python3");
    python.args(["-c", ON_TERMINAL]).arg(command.get_program());
    python.args(command.get_args());
    python.current_dir(command.get_current_dir().unwrap());
    let variables = command.get_envs();
    python.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    // What is drawn between two erasures, without what is printed.
    let drawn = text
        .split("\r\u{1b}[J")
        .filter(|line| line.contains(" left"));
    let lines: Vec<_> = drawn
        .map(|line| line.split('\u{1b}').next().unwrap())
        .collect();
    let narrow = lines.iter().filter(|line| line.chars().count() < 40);
    assert!(narrow.clone().count() >= 8, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.chars().count() < 100),
        "{lines:#?}"
    );
    assert!(lines.iter().all(|line| line.contains(" %, ")), "{lines:#?}");
    // The records inside the only batch count.
    assert!(
        lines
            .iter()
            .any(|line| line.contains("/s, 1 batch in flight")),
        "{lines:#?}"
    );
}
