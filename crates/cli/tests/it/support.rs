//! A temporary folder for each test, in which the command runs.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use tempfile::TempDir;

/// The working folder of a test. It also contains the runs that have no explicit run directory.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// The command with only the settings of the test.
    pub(crate) fn shoal<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_DATA_HOME", self.path("data"))
            .env("HF_HOME", self.path("hub"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the command, which must succeed.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        let output = self.shoal(args).output().unwrap();
        assert!(output.status.success(), "{}", describe(&output));
        output
    }

    /// Runs the command, which must fail with this exit code, and returns its message.
    pub(crate) fn fails<S: AsRef<OsStr>>(
        &self,
        code: i32,
        args: impl IntoIterator<Item = S>,
    ) -> String {
        let output = self.shoal(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", describe(&output));
        String::from_utf8(output.stderr).unwrap()
    }
}

pub(crate) fn describe(output: &Output) -> String {
    format!(
        "{}\nstdout: {}\nstderr: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Copies the command. Another process does it: a file that this one has open for writing cannot be started, and processes that
/// other tests start meanwhile hold it open for a moment.
pub(crate) fn copy_shoal(to: &Path) {
    let from = env!("CARGO_BIN_EXE_shoal");
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Sends SIGINT, as Ctrl-C does. Uses the shell, because not every system has `kill` as a program.
pub(crate) fn interrupt(child: &Child) {
    signal("INT", child);
}

/// Sends the signal with this name.
pub(crate) fn signal(name: &str, child: &Child) {
    let command = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(status.success());
}

/// A file of the repository.
pub(crate) fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(name)
}

/// A small random model with two labels and 64 tokens, for tests that are not about labels.
pub(crate) fn tiny_model() -> PathBuf {
    repository("crates/encoder/tests/fixtures/distilbert-f32")
}

/// The path of [`tiny_model`] as text.
pub(crate) fn tiny() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| tiny_model().display().to_string());
    &PATH
}

/// `count` records as JSON Lines, with texts of 1 to 40 words.
pub(crate) fn jsonl(count: usize) -> String {
    let words = [
        "good", "bad", "film", "plot", "the", "a", "not", "ending", "slow", "loved",
    ];
    let mut random = Random::new(7);
    let mut text = String::new();
    for row in 0..count {
        write!(text, "{{\"id\":\"r{row}\",\"text\":\"").unwrap();
        for _ in 0..=random.below(40) {
            write!(text, "{} ", words[random.below(words.len())]).unwrap();
        }
        writeln!(text, "\",\"stars\":{}}}", random.below(10)).unwrap();
    }
    text
}

/// A deterministic random number generator (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// Sends SIGTERM, as service managers do.
pub(crate) fn terminate(child: &Child) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", child.id())])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Runs a command, which must succeed, and returns the summary that it prints.
pub(crate) fn summary(mut command: Command) -> serde_json::Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", describe(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The number of complete files in a folder. A file that is still being written has a `#` in its name.
pub(crate) fn files_in(folder: &Path) -> usize {
    let is_whole = |file: &std::fs::DirEntry| !file.file_name().to_string_lossy().contains('#');
    std::fs::read_dir(folder).map_or(0, |files| {
        files
            .filter(|file| file.as_ref().is_ok_and(is_whole))
            .count()
    })
}

/// Waits until the run that `child` processes has two receipts. The process must not exit before.
pub(crate) fn wait_for_receipts(child: &mut Child, run: &Path) {
    while files_in(&run.join("receipts")) < 2 {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the command exited too early"
        );
        std::thread::yield_now();
    }
}

/// The failed attempts in the event log of a run: the kind, and whether the batch was retried.
pub(crate) fn failures(run: &Path) -> Vec<(String, bool)> {
    let log = std::fs::read_to_string(run.join("events.jsonl")).unwrap();
    log.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|event| event["event"] == "failed")
        .map(|event| {
            let kind = event["kind"].as_str().unwrap().to_owned();
            (kind, event["retry"].as_bool().unwrap())
        })
        .collect()
}

/// A job of many small batches with a tiny model. Other backends must write the output of the local one.
pub(crate) struct ManyBatches {
    pub(crate) bench: Bench,
    /// The output of the local backend.
    pub(crate) expected: Vec<u8>,
}

impl ManyBatches {
    /// A job with `records` valid and two bad records, in batches of `batch_size`.
    pub(crate) fn new(records: usize, batch_size: usize) -> Self {
        let bench = Bench::new();
        let mut input = jsonl(records);
        input.push_str("{\"id\":\"bad\"}\nnot json\n");
        bench.write("input.jsonl", input);
        bench.write("shoal.toml", format!("batch-size = {batch_size}\n"));
        let mut this = Self {
            bench,
            expected: Vec::new(),
        };
        summary(this.run("local", &[]));
        this.expected = this.bench.read("local.csv");
        this
    }

    /// The command that runs the job in the run directory `name` and writes `name.csv`.
    pub(crate) fn run(&self, name: &str, options: &[&str]) -> Command {
        let output = format!("{name}.csv");
        let mut command = self.bench.shoal(["run", "input.jsonl", "-o", &output]);
        command.args(["--run-dir", name, "--json", "--quiet", "--model"]);
        command.arg(tiny_model()).args(options);
        command
    }

    /// The texts of the records that have at least three words, which appear nowhere else.
    pub(crate) fn texts(&self) -> Vec<String> {
        let records = self.bench.text("input.jsonl");
        let records = records
            .lines()
            .map(serde_json::from_str::<serde_json::Value>);
        let texts = records.filter_map(|record| Some(record.ok()?["text"].as_str()?.to_owned()));
        let texts: Vec<_> = texts
            .filter(|text| text.split_whitespace().count() > 2)
            .collect();
        assert!(texts.len() > 10);
        texts
    }

    /// Checks that `name.csv` equals the output of the local backend.
    pub(crate) fn check(&self, name: &str) {
        let output = self.bench.read(&format!("{name}.csv"));
        assert!(output == self.expected, "{name} differs");
    }
}
