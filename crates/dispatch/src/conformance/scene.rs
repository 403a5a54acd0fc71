//! A run in a folder of its own, and what is done with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters};
use shoal_job::plan::{Request, plan};
use shoal_job::run_dir::FAILED;
use shoal_job::spec::Parameters;
use shoal_job::{Batch, Cancel, CompletedRanges, Event, Job, Receipts, RunDir};
use tempfile::TempDir;

use super::function::{CALLS, Function, parse_call};
use super::told::Told;
use super::{HashLabels, InMemory, Rule, Stand, script};
use crate::{
    Backend, Budget, DispatchError, Ledger, Plan, Processed, RetryPolicy, process_batches,
};

/// Records of the input.
pub(super) const RECORDS: u64 = 60;
/// The record that is not one.
pub(super) const BAD_RECORD: u64 = 33;
/// Attempts at a batch.
pub(super) const ATTEMPTS: u32 = 3;

/// What a call costs where there is a budget; no sum of it is exact.
pub(super) const CALL_USD: f64 = 0.1;

/// Waits are short, since nothing that they wait for takes time here.
const RETRY: RetryPolicy = RetryPolicy {
    attempts: ATTEMPTS,
    delay: Duration::from_millis(1),
    longest_delay: Duration::from_millis(5),
    time: Duration::from_secs(600),
    grace: Duration::from_millis(500),
};

/// The inputs of all cases, and what comes of them undisturbed.
pub(super) struct Input {
    folder: TempDir,
    good: Output,
    bad: Output,
}

/// What a run comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) results: Vec<u8>,
    pub(super) dead_letters: Option<Vec<u8>>,
}

impl Output {
    /// Compares byte by byte, and shows the first line that differs.
    fn assert_is(&self, expected: &Self) {
        let same = |what: &str, is: &[u8], expected: &[u8]| {
            let mut lines = is.split(|b| *b == b'\n');
            for (number, expected) in expected.split(|b| *b == b'\n').enumerate() {
                let is = lines.next().map(String::from_utf8_lossy);
                let expected = Some(String::from_utf8_lossy(expected));
                assert_eq!(is, expected, "line {} of the {what}", number + 1);
            }
            assert_eq!(lines.next(), None, "a line too many in the {what}");
        };
        same("output", &self.results, &expected.results);
        let letters = |output: &Self| output.dead_letters.clone().unwrap_or_default();
        same("dead letters", &letters(self), &letters(expected));
        assert_eq!(self, expected);
    }
}

impl Input {
    /// Writes the inputs, and works them off in memory.
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        for is_bad in [false, true] {
            let lines = (0..RECORDS).map(|record| {
                if is_bad && record == BAD_RECORD {
                    "{\"id\": 33, \"text\": \n".to_owned()
                } else {
                    // Lines of many lengths, one of them with what CSV quotes.
                    let text = "fine, or so; ".repeat(record as usize % 5);
                    format!("{{\"id\": {record}, \"text\": \"{record} {text}\"}}\n")
                }
            });
            std::fs::write(path(folder.path(), is_bad), lines.collect::<String>())
                .expect("the folder can be written");
        }
        let undisturbed = |is_bad| {
            let settings = Settings {
                batch_size: 10,
                is_bad,
                rules: &[],
            };
            let scene = Scene::new(&InMemory, folder.path(), settings);
            let start = scene.start(&InMemory, Options::default());
            scene.output(&start.end.expect("nothing is in the way").receipts)
        };
        let (good, bad) = (undisturbed(false), undisturbed(true));
        Self { folder, good, bad }
    }
}

fn path(folder: &Path, is_bad: bool) -> PathBuf {
    folder.join(if is_bad { "bad.jsonl" } else { "good.jsonl" })
}

/// What a case is run with.
pub(super) struct Setting<'a> {
    pub(super) stand: &'a dyn Stand,
    pub(super) input: &'a Input,
}

impl Setting<'_> {
    /// A planned run of the stand.
    pub(super) fn scene(&self, settings: Settings<'_>) -> Scene {
        Scene::new(self.stand, self.input.folder.path(), settings)
    }

    /// Starts the run or goes on with it.
    pub(super) fn start(&self, scene: &Scene, options: Options) -> Start {
        scene.start(self.stand, options)
    }

    /// Goes on with the run, which must come to its end, and its output be the right one.
    pub(super) fn finish(&self, scene: &Scene) -> Finished {
        self.finish_with(scene, Options::default())
    }

    /// The same with other options than usual.
    pub(super) fn finish_with(&self, scene: &Scene, options: Options) -> Finished {
        let Start { end, told } = self.start(scene, options);
        let processed = end.expect("the run comes to its end");
        let expected = if scene.is_bad {
            &self.input.bad
        } else {
            &self.input.good
        };
        scene.output(&processed.receipts).assert_is(expected);
        let finished = processed.receipts.finished_batches();
        assert_eq!(finished, scene.batches.len() as u64);
        assert_eq!(processed.receipts.records(), RECORDS);
        Finished { processed, told }
    }
}

/// How a run is planned, and what happens to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings<'a> {
    pub(super) batch_size: u64,
    /// One line of the input is no record.
    pub(super) is_bad: bool,
    pub(super) rules: &'a [Rule],
}

/// How a run is started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// After this many answers the user asks for the end.
    pub(super) cancel_after: Option<usize>,
    pub(super) stop_on_bad_record: bool,
    pub(super) timeout: Option<Duration>,
    /// The budget pays for so many calls.
    pub(super) most_calls: Option<u32>,
}

/// What a start came to.
pub(super) struct Start {
    pub(super) end: Result<Processed, DispatchError>,
    pub(super) told: Told,
}

/// A start that came to its end.
pub(super) struct Finished {
    pub(super) processed: Processed,
    pub(super) told: Told,
}

/// A planned run in a folder of its own, with the script of what happens to it.
#[derive(Debug)]
pub struct Scene {
    folder: TempDir,
    run: RunDir,
    job: Job,
    batches: Vec<Batch>,
    is_bad: bool,
}

impl Scene {
    fn new(stand: &dyn Stand, inputs: &Path, settings: Settings<'_>) -> Self {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        std::fs::create_dir(folder.path().join(CALLS)).expect("the folder can be written");
        script::save(folder.path(), settings.rules);
        let run = stand.run_dir(folder.path());
        let request = Request {
            inputs: &[path(inputs, settings.is_bad).display().to_string()],
            spool: None,
            function: HashLabels::default().spec().clone(),
            parameters: Parameters {
                batch_size: settings.batch_size,
                columns: [("text".into(), "text".into())].into(),
                id_column: Some("id".into()),
                keep_columns: vec!["text".into()],
                ..Parameters::default()
            },
            output: "-",
            version: env!("CARGO_PKG_VERSION"),
            inputs_at: None,
        };
        let job =
            plan(&request, &run, &Cancel::new(), &mut |_| {}).expect("the input can be planned");
        let batches = run.batches(&job).expect("it was just planned");
        Self {
            folder,
            run,
            job,
            batches,
            is_bad: settings.is_bad,
        }
    }

    /// The run directory.
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The scene's own folder; the script lies there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All batches.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The scripted function of this run.
    pub fn function(&self) -> Function {
        Function::new(self.run.clone(), self.folder())
    }

    /// The settings for `batches` of this run, as workers that find their share by themselves need them.
    pub fn plan<'a>(&'a self, batches: &'a [Batch]) -> Plan<'a> {
        Plan {
            run: &self.run,
            job: &self.job,
            listed: None,
            batches,
            timeout: None,
            retry: RETRY,
            stop_on_bad_record: false,
            speculation: None,
            budget: None,
        }
    }

    /// Has something else happen from now on.
    pub(super) fn rewrite(&self, rules: &[Rule]) {
        script::save(self.folder(), rules);
    }

    fn start(&self, stand: &dyn Stand, options: Options) -> Start {
        let backend: Box<dyn Backend + '_> = stand.backend(self);
        let cancel = Cancel::new();
        let budget = options.most_calls.map(|calls| Budget {
            max_usd: f64::from(calls) * CALL_USD,
            most_per_call_usd: CALL_USD,
            cost: Box::new(|_, _| CALL_USD),
            ledger: Ledger::default(),
        });
        let plan = Plan {
            timeout: options.timeout,
            stop_on_bad_record: options.stop_on_bad_record,
            budget: budget.as_ref(),
            ..self.plan(&self.batches)
        };
        let mut events = Vec::new();
        let mut answers = 0;
        let end = process_batches(&plan, &*backend, &cancel, &mut |event| {
            answers += usize::from(matches!(event, Event::Finished { .. }));
            if options.cancel_after == Some(answers) {
                cancel.cancel();
            }
            events.push(event);
        });
        let told = Told::new(events, stand.tells_attempts(), backend.concurrency());
        Start { end, told }
    }

    /// Joins what was made.
    pub(super) fn output(&self, receipts: &Receipts) -> Output {
        let file = self.folder().join("out.csv");
        let destination = Destination::File(file.clone());
        let ranges = CompletedRanges::of(receipts);
        collect(&self.run, &self.job, &ranges, &destination, &mut |_| {})
            .expect("the parts can be joined");
        collect_dead_letters(&self.run, &ranges).expect("the dead letters can be joined");
        let dead_letters = self.run.get(FAILED).expect("the run can be read");
        Output {
            results: std::fs::read(file).expect("the output is there"),
            dead_letters: dead_letters.map(|letters| letters.to_vec()),
        }
    }

    /// How often the function was called, by batch and offset.
    pub(super) fn calls(&self) -> BTreeMap<(u64, u64), u32> {
        let mut calls = BTreeMap::new();
        let folder = self.folder().join(CALLS);
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let name = entry.expect("the folder can be read").file_name();
            let range = name.to_str().and_then(parse_call);
            *calls.entry(range.expect("a call's file")).or_default() += 1;
        }
        calls
    }
}
