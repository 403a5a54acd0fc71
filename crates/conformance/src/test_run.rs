//! A run in its own folder, with inputs, faults and expected output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shoal_function::Runner;
use shoal_job::collect::{Destination, collect, collect_dead_letters};
use shoal_job::plan::{Request, plan};
use shoal_job::run_dir::FAILED;
use shoal_job::spec::Parameters;
use shoal_job::{Cancel, CompletedRanges, Event, Receipts};
use tempfile::TempDir;

use crate::event_log::EventLog;
use crate::faults::{self, FaultRule};
use crate::function::{CALLS, parse_call};
use crate::harness::{BackendHarness, TestRun};
use crate::memory::InMemory;
use crate::runner::HashLabels;
use shoal_dispatch::{Backend, Budget, DispatchError, Ledger, Plan, Processed, process_batches};

/// Records in the input.
pub(crate) const RECORDS: u64 = 60;
/// The malformed record of the bad input.
pub(crate) const BAD_RECORD: u64 = 33;

/// The cost of a call, chosen so that its sums have rounding errors.
pub(crate) const CALL_USD: f64 = 0.1;

/// The malformed records of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// None.
    None,
    /// [`BAD_RECORD`].
    One,
    /// Those before [`BAD_RECORD`].
    First,
}

impl Malformed {
    const ALL: [Self; 3] = [Self::None, Self::One, Self::First];

    fn includes(self, record: u64) -> bool {
        match self {
            Self::None => false,
            Self::One => record == BAD_RECORD,
            Self::First => record < BAD_RECORD,
        }
    }
}

/// The inputs of all cases, with their expected output.
pub(crate) struct Input {
    folder: TempDir,
    /// For each input, without and with the column `error`.
    expected: Vec<(Malformed, bool, Output)>,
}

/// The output of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) results: Vec<u8>,
    pub(crate) dead_letters: Option<Vec<u8>>,
}

impl Output {
    /// Compares byte by byte and shows the first line that differs.
    fn assert_is(&self, expected: &Self) {
        let same = |what: &str, is: &[u8], expected: &[u8]| {
            let mut lines = is.split(|b| *b == b'\n');
            for (number, expected) in expected.split(|b| *b == b'\n').enumerate() {
                let is = lines.next().map(String::from_utf8_lossy);
                let expected = Some(String::from_utf8_lossy(expected));
                assert_eq!(is, expected, "line {} of the {what}", number + 1);
            }
            assert_eq!(lines.next(), None, "the {what} has too many lines");
        };
        same("output", &self.results, &expected.results);
        let letters = |output: &Self| output.dead_letters.clone().unwrap_or_default();
        same("dead letters", &letters(self), &letters(expected));
        assert_eq!(self, expected);
    }
}

impl Input {
    /// Writes the inputs and processes them in memory.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        for malformed in Malformed::ALL {
            let lines = (0..RECORDS).map(|record| {
                if malformed.includes(record) {
                    format!("{{\"id\": {record}, \"text\": \n")
                } else {
                    // Lines of different lengths; most have a comma, which CSV must quote.
                    let text = "fine, or so; ".repeat(record as usize % 5);
                    format!("{{\"id\": {record}, \"text\": \"{record} {text}\"}}\n")
                }
            });
            std::fs::write(path(folder.path(), malformed), lines.collect::<String>())
                .expect("the folder can be written");
        }
        let undisturbed = |malformed, error_column| {
            let settings = RunSettings {
                batch_size: 10,
                malformed,
                error_column,
                rules: &[],
            };
            let run = TestRun::new(&InMemory, folder.path(), settings);
            let start = run.start(&InMemory, StartOptions::default());
            run.output(&start.end.expect("the run has no faults").receipts)
        };
        let all = Malformed::ALL.iter();
        let all = all.flat_map(|malformed| [(*malformed, false), (*malformed, true)]);
        let expected = all.map(|(malformed, error_column)| {
            (
                malformed,
                error_column,
                undisturbed(malformed, error_column),
            )
        });
        Self {
            expected: expected.collect(),
            folder,
        }
    }
}

fn path(folder: &Path, malformed: Malformed) -> PathBuf {
    folder.join(format!("{malformed:?}.jsonl"))
}

/// The environment of a case.
pub(crate) struct TestContext<'a> {
    pub(crate) harness: &'a dyn BackendHarness,
    pub(crate) input: &'a Input,
}

impl TestContext<'_> {
    /// Plans a run.
    pub(crate) fn new_run(&self, settings: RunSettings<'_>) -> TestRun {
        TestRun::new(self.harness, self.input.folder.path(), settings)
    }

    /// Starts or resumes the run.
    pub(crate) fn start(&self, run: &TestRun, options: StartOptions) -> Start {
        run.start(self.harness, options)
    }

    /// Starts or resumes the run and checks that it completes with the expected output.
    pub(crate) fn finish(&self, run: &TestRun) -> Finished {
        self.finish_with(run, StartOptions::default())
    }

    /// Like [`finish`](Self::finish), with options.
    pub(crate) fn finish_with(&self, run: &TestRun, options: StartOptions) -> Finished {
        let Start { end, events } = self.start(run, options);
        let processed = end.expect("the run completes");
        let error_column = run.job.parameters.error_column;
        let mut expected = self.input.expected.iter();
        let expected = expected.find(|(malformed, has_errors, _)| {
            (*malformed, *has_errors) == (run.malformed, error_column)
        });
        let (_, _, expected) = expected.expect("every input has an expected output");
        run.output(&processed.receipts).assert_is(expected);
        let finished = processed.receipts.finished_batches();
        assert_eq!(finished, run.batches.len() as u64);
        assert_eq!(processed.receipts.records(), RECORDS);
        Finished { processed, events }
    }
}

/// How a run is planned, and its faults.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunSettings<'a> {
    pub(crate) batch_size: u64,
    pub(crate) malformed: Malformed,
    /// Whether bad records are in the output.
    pub(crate) error_column: bool,
    pub(crate) rules: &'a [FaultRule],
}

/// How a run is started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StartOptions {
    /// The user cancels after this many answers.
    pub(crate) cancel_after: Option<usize>,
    pub(crate) stop_on_bad_record: bool,
    pub(crate) first_records: Option<u64>,
    pub(crate) timeout: Option<Duration>,
    /// The budget covers this many calls.
    pub(crate) max_calls: Option<u32>,
}

/// The result of a start.
pub(crate) struct Start {
    pub(crate) end: Result<Processed, DispatchError>,
    pub(crate) events: EventLog,
}

/// The result of a start that completed.
pub(crate) struct Finished {
    pub(crate) processed: Processed,
    pub(crate) events: EventLog,
}

impl TestRun {
    fn new(harness: &dyn BackendHarness, inputs: &Path, settings: RunSettings<'_>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be created");
        std::fs::create_dir(folder.path().join(CALLS)).expect("the folder can be written");
        faults::save(folder.path(), settings.rules);
        let run = harness.run_dir(folder.path());
        let request = Request {
            inputs: &[path(inputs, settings.malformed).display().to_string()],
            spool: None,
            function: HashLabels::default().spec().clone(),
            parameters: Parameters {
                batch_size: settings.batch_size,
                columns: [("text".into(), "text".into())].into(),
                id_column: Some("id".into()),
                keep_columns: vec!["text".into()],
                error_column: settings.error_column,
                ..Parameters::default()
            },
            output: "-",
            version: env!("CARGO_PKG_VERSION"),
            inputs_at: None,
        };
        let job =
            plan(&request, &run, &Cancel::new(), &mut |_| {}).expect("the input can be planned");
        let batches = run.batches(&job).expect("the batch table was just written");
        Self {
            folder,
            run,
            job,
            batches,
            malformed: settings.malformed,
        }
    }

    fn start(&self, harness: &dyn BackendHarness, options: StartOptions) -> Start {
        let backend: Box<dyn Backend + '_> = harness.backend(self);
        let cancel = Cancel::new();
        let budget = options.max_calls.map(|calls| Budget {
            max_usd: f64::from(calls) * CALL_USD,
            most_per_call_usd: CALL_USD,
            cost: Box::new(|_, _| CALL_USD),
            ledger: Ledger::default(),
        });
        let plan = Plan {
            timeout: options.timeout,
            stop_on_bad_record: options.stop_on_bad_record,
            first_records: options.first_records,
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
        let events = EventLog::new(events, harness.reports_attempts(), backend.concurrency());
        Start { end, events }
    }

    /// Collects the output.
    pub(crate) fn output(&self, receipts: &Receipts) -> Output {
        let file = self.folder().join("out.csv");
        let destination = Destination::File(file.clone());
        let ranges = CompletedRanges::of(receipts);
        collect(&self.run, &self.job, &ranges, &destination, &mut |_| {})
            .expect("the parts can be joined");
        collect_dead_letters(&self.run, &ranges).expect("the dead letters can be joined");
        let dead_letters = self.run.get(FAILED).expect("the run can be read");
        Output {
            results: std::fs::read(file).expect("the output exists"),
            dead_letters: dead_letters.map(|letters| letters.to_vec()),
        }
    }

    /// The number of calls for each batch and offset.
    pub(crate) fn calls(&self) -> BTreeMap<(u64, u64), u32> {
        let mut calls = BTreeMap::new();
        let folder = self.folder().join(CALLS);
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let name = entry.expect("the folder can be read").file_name();
            let range = name.to_str().and_then(parse_call);
            *calls
                .entry(range.expect("the file is named after a call"))
                .or_default() += 1;
        }
        calls
    }
}
